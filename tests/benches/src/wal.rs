use std::{
    cell::RefCell,
    process::Stdio,
    time::{Duration, Instant},
};

use hub_plugin_api::Config;
use serde_json::json;

use crate::{
    Outcome,
    rounds::{Ours, Plan, Result, compare},
    server::Server,
    source::Source,
};

/// Transactions of a round, and the changes of each.
const TRANSACTIONS: u64 = 2_000;
const CHANGES_PER_TRANSACTION: u64 = 100;
const CHANGES: u64 = TRANSACTIONS * CHANGES_PER_TRANSACTION;
/// Rows of the one transaction that memory is measured with.
const LARGE_TRANSACTION: u64 = 1_000_000;
const PUBLICATION: &str = "bench";

/// What both are to follow: a slot each, made before the changes.
const SLOTS: [&str; 2] = ["bench_ours", "bench_theirs"];

/// A stream's rows through the loaded plugin against `pg_recvlogical`, both with the same plugin of the server's.
pub(crate) fn run(plan: Plan) -> Outcome<Result> {
    let server = Server::get()?;
    make_table(&server)?;
    let source = Source::loaded(&server)?;
    let prepared = RefCell::new(Prepared { server: &server, used: [true; 2], end: String::new() });
    let ours = || {
        prepared.borrow_mut().take(0)?;
        drain(&source, CHANGES)
    };
    let reference = || {
        let end = prepared.borrow_mut().take(1)?;
        let start = Instant::now();
        let status = server
            .program("pg_recvlogical")
            .args(["--dbname", server.url(), "--slot", SLOTS[1], "--start", "--no-loop", "--file=/dev/null"])
            .args(["--option=proto_version=1", "--option=binary=true"])
            .arg(format!("--option=publication_names={PUBLICATION}"))
            .arg(format!("--endpos={end}"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        let elapsed = start.elapsed();
        if status.success() { Ok(elapsed) } else { Err(format!("pg_recvlogical ended with {status}").into()) }
    };
    let result = compare(plan, ours, reference)?;
    let large = large_transaction(&server, &source)?;
    println!(
        "one transaction of {LARGE_TRANSACTION} rows: {:.3} s, {:.1} MiB",
        large.elapsed.as_secs_f64(),
        large.peak_mib
    );
    Ok(Result { peak_mib: result.peak_mib.max(large.peak_mib), ..result })
}

fn make_table(server: &Server) -> Outcome {
    drop_slots(server)?;
    server.ask(&format!("drop publication if exists {PUBLICATION}"))?;
    server.ask(
        "drop table if exists changing;
         create table changing (
           id bigint primary key, account integer not null, amount numeric(12,2) not null,
           day date not null, moment timestamptz not null, status text not null, comment text
         )",
    )?;
    server.ask(&format!("create publication {PUBLICATION} for table changing")).map(drop)
}

fn drop_slots(server: &Server) -> Outcome {
    let names = SLOTS.map(|slot| format!("'{slot}'")).join(", ");
    // The server takes a moment to notice that a reader has gone.
    server.ask(&format!(
        "do $$ begin
           for attempt in 1..100 loop
             exit when not exists (
               select from pg_replication_slots where active and slot_name in ({names})
             );
             perform pg_sleep(0.05);
           end loop;
         end $$"
    ))?;
    server
        .ask(&format!(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name in ({names})"
        ))
        .map(drop)
}

/// Changes that wait in both slots, once for each side.
struct Prepared<'a> {
    server: &'a Server,
    used: [bool; 2],
    /// Where the changes end in the log.
    end: String,
}

impl Prepared<'_> {
    /// Where they end; new ones are made when this side has followed the last.
    fn take(&mut self, side: usize) -> Outcome<String> {
        if self.used[side] {
            drop_slots(self.server)?;
            self.server.ask("truncate changing")?;
            make_slots(self.server, &SLOTS)?;
            self.end = make_changes(self.server)?;
            self.used = [false; 2];
        }
        self.used[side] = true;
        Ok(self.end.clone())
    }
}

fn make_slots(server: &Server, slots: &[&str]) -> Outcome {
    for slot in slots {
        server.ask(&format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')"))?;
    }
    Ok(())
}

/// Half inserts, four of ten updates, one of ten deletes.
fn make_changes(server: &Server) -> Outcome<String> {
    server.ask(&format!(
        "do $$ begin
           for part in 0..{last} loop
             insert into changing select part * 50 + n, n, n * 1.25, date '2020-01-01' + n, now(), 'open',
               'comment of row ' || n from generate_series(1, 50) n;
             update changing set status = 'paid', amount = amount + 1 where id > part * 50 and id <= part * 50 + 40;
             delete from changing where id > part * 50 + 40 and id <= part * 50 + 50;
             commit;
           end loop;
         end $$",
        last = TRANSACTIONS - 1,
    ))?;
    server.ask("select pg_current_wal_flush_lsn()")
}

fn large_transaction(server: &Server, source: &Source) -> Outcome<Ours> {
    drop_slots(server)?;
    server.ask("truncate changing")?;
    make_slots(server, &SLOTS[..1])?;
    server.ask(&format!(
        "insert into changing select n, n % 1000, n * 0.25, date '2020-01-01' + n % 9000, now(), 'open',
           'comment of row ' || n from generate_series(1, {LARGE_TRANSACTION}) n"
    ))?;
    let ours = drain(source, LARGE_TRANSACTION)?;
    drop_slots(server)?;
    Ok(ours)
}

fn drain(source: &Source, changes: u64) -> Outcome<Ours> {
    let options = Config::new()
        .with("tables", json!(["public.changing"]))
        .with("capture", "stream-only")
        .with("slot", SLOTS[0])
        .with("publication", PUBLICATION);
    source.follow(options, changes, Duration::from_secs(120))
}
