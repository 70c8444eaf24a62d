use hub_plugin_api::Config;

use crate::{
    Outcome,
    rounds::{Plan, Result, compare},
    server::Server,
    source::{Source, Total, options},
};

const LINEITEM: &str = "select * from lineitem";

/// One reader against one `psql`.
pub(crate) fn one(plan: Plan) -> Outcome<Result> {
    let server = Server::get()?;
    server.make_lineitem()?;
    let expected = expected(&server, "lineitem", "l_orderkey")?;
    against(&server, plan, &options(LINEITEM, None), 1, &[LINEITEM.into()], expected)
}

/// Two splits against two of `psql`, side by side, each with half of the keys.
pub(crate) fn two(plan: Plan) -> Outcome<Result> {
    let server = Server::get()?;
    server.make_lineitem()?;
    let expected = expected(&server, "lineitem", "l_orderkey")?;
    let middle =
        server.ask("select percentile_disc(0.5) within group (order by l_orderkey) from lineitem")?;
    let halves = ["<=", ">"].map(|side| format!("{LINEITEM} where l_orderkey {side} {middle}"));
    let options = options(LINEITEM, None).with("splits", 2);
    against(&server, plan, &options, 2, &halves, expected)
}

const WIDE_ROWS: u64 = 100_000;

/// Many types, a hundred thousand rows.
pub(crate) fn wide(plan: Plan) -> Outcome<Result> {
    let server = Server::get()?;
    server.ask(&format!(
        "drop table if exists wide;
         create table wide as select
           n::bigint as id, n % 2 = 0 as flag, (n % 30000)::smallint as small, (n * 0.25)::real as single,
           n / 7.0::double precision as double, (n * 1.000001)::numeric(38,10) as amount,
           (n * 3.14159)::numeric as free, date '1992-01-01' + n % 9000 as day,
           time '00:00' + n * interval '77 milliseconds' as clock,
           timestamp '1992-01-01' + n * interval '13 seconds' as moment,
           timestamptz '1992-01-01 00:00+00' + n * interval '17 seconds' as instant,
           n * interval '1 hour 7 seconds' as span, md5(n::text)::uuid as identity,
           jsonb_build_object('n', n, 'list', jsonb_build_array(n, n + 1)) as document,
           decode(md5(n::text), 'hex') as bytes, repeat('ünïcode ', n % 5) as words,
           case when n % 10 = 0 then null else 'value ' || n end as sometimes,
           array[n, n + 1, null, n + 3] as numbers, array['a' || n, null, 'c'] as texts,
           ('10.0.0.0'::inet + n) as address
         from generate_series(1, {WIDE_ROWS}) n;
         alter table wide add primary key (id)"
    ))?;
    server.ask("vacuum (analyze, freeze) wide")?;
    let expected = expected(&server, "wide", "id")?;
    let statement = "select * from wide";
    against(&server, plan, &options(statement, None), 1, &[statement.into()], expected)
}

/// What a table holds, as the server counts it.
fn expected(server: &Server, table: &str, key: &str) -> Outcome<Total> {
    let columns = server.ask(&format!(
        "select string_agg(format('count(%I)', attname), ' + ') from pg_attribute
         where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped"
    ))?;
    let answer = server.ask(&format!("select count(*), sum({key}), {columns} from {table}"))?;
    let numbers = answer.split(',').map(str::parse::<i64>).collect::<std::result::Result<Vec<_>, _>>()?;
    match numbers.as_slice() {
        [rows, keys, values] => {
            Ok(Total { rows: u64::try_from(*rows)?, keys: *keys, values: u64::try_from(*values)? })
        }
        _ => Err(format!("`{answer}` is no count").into()),
    }
}

fn against(
    server: &Server,
    plan: Plan,
    options: &Config,
    splits: u32,
    queries: &[String],
    expected: Total,
) -> Outcome<Result> {
    let source = Source::loaded(server)?;
    let ours = || {
        let (ours, total) = source.read(options.clone(), splits)?;
        if total == expected { Ok(ours) } else { Err(format!("{total:?} instead of {expected:?}").into()) }
    };
    compare(plan, ours, || server.time_to_nowhere(queries))
}
