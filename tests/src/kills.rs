use std::{
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{Hub, Run};

/// What a series of kills looks like.
#[derive(Clone, Copy, Debug)]
pub struct Kills {
    /// How many times the process is killed.
    pub times: u32,
    /// All rows of the table.
    pub rows: u64,
}

/// Runs a pipeline and kills it `times` times, each after a further random 5 to 15 % of the rows is durable, as the
/// destination itself says; then lets it run to its end. Returns how many rows were durable at each kill, and the
/// last run.
///
/// # Panics
/// When a kill comes too late to lie inside the table, or a restart lost durable rows.
pub fn kill_until_done(hub: &Hub, file: &Path, kills: Kills, durable: impl Fn() -> u64) -> (Vec<u64>, Run) {
    let mut random = Random::new();
    let mut at = Vec::new();
    let mut last = 0;
    for _ in 0..kills.times {
        // So many kills must fit into the table, however many are wanted.
        let further = kills.rows * random.between(5, 15.min(90 / u64::from(kills.times)).max(6)) / 100;
        let started = Instant::now();
        let mut running = hub.spawn(file);
        let mut now = durable();
        while now < last + further {
            if running.has_ended() {
                let run = running.wait();
                panic!("The run ended with {} of {} rows\n{}", now, kills.rows, run.stderr);
            }
            assert!(started.elapsed() < Duration::from_secs(300), "Only {now} rows are durable");
            thread::sleep(Duration::from_millis(1));
            now = durable();
        }
        drop(running);
        // What was on its way when the process died may still arrive.
        let now = settled(&durable);
        assert!(now < kills.rows, "The run was through before it was killed: {now} rows");
        assert!(now >= last, "Durable rows are gone: {last}, then {now}");
        last = now;
        at.push(now);
    }
    (at, hub.run(file))
}

/// The server may still end the killed client's last transaction.
fn settled(durable: &impl Fn() -> u64) -> u64 {
    let mut before = durable();
    loop {
        thread::sleep(Duration::from_millis(150));
        let now = durable();
        if now == before {
            return now;
        }
        before = now;
    }
}

/// Xorshift, seeded by the clock: which numbers come is of no importance, that they differ is.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seed = since.subsec_nanos();
        println!("seed of the kills: {seed}");
        Self(u64::from(seed) | 1 << 40)
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        low + self.0 % (high - low + 1)
    }
}
