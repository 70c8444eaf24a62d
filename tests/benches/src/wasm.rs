use std::{
    env,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use connector_hub::functions::{Function, Limits, Module, Sandbox, Start};
use hub_plugin_api::{
    Budgets, Config, Connection, Connector, Event, OpenRequest, PlanRequest, Reader, StreamId,
    arrow::array::{Array, AsArray, RecordBatch},
    arrow::datatypes::Int64Type,
    ffi,
    testing::TestContext,
    types::schema_of,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Outcome,
    rounds::{Ours, Plan, Result, compare},
    wasm_native::{MadeUp, Rows, columns},
};

/// Rows of one run.
const ROWS: i64 = 2_000_000;

/// Rows of a run of what is far slower.
const FEW_ROWS: i64 = 400_000;

/// Rows a batch.
const BATCH_ROWS: i64 = 16_384;

/// Rows through an encoding against the same rows that a native plugin builds value by value.
pub(crate) fn rows(plan: Plan) -> Outcome<Result> {
    encoding(plan, "rows", FEW_ROWS)
}

/// As [`rows`].
pub(crate) fn columns_flat(plan: Plan) -> Outcome<Result> {
    encoding(plan, "columns", ROWS)
}

/// As [`rows`]; before that, what crossing the boundary costs a native plugin.
pub(crate) fn ipc(plan: Plan) -> Outcome<Result> {
    crossing()?;
    encoding(plan, "arrow-ipc", ROWS)
}

/// As [`rows`], with a program that prints JSON lines.
pub(crate) fn ndjson(plan: Plan) -> Outcome<Result> {
    let place = Place::new()?;
    let function = place.function("bench-lines")?;
    against_native(plan, &function, &json!({ "rows": FEW_ROWS }), FEW_ROWS)
}

fn encoding(plan: Plan, encoding: &str, rows: i64) -> Outcome<Result> {
    let place = Place::new()?;
    let function = place.function("bench")?;
    let arguments = json!({ "rows": rows, "batch_rows": BATCH_ROWS, "encoding": encoding });
    against_native(plan, &function, &arguments, rows)
}

fn against_native(plan: Plan, function: &Function, arguments: &Value, rows: i64) -> Outcome<Result> {
    let native = Native::new(Rows::ValueByValue)?;
    let expected = Total::of(rows);
    let ours = || -> Outcome<Ours> {
        let memory = hub_tests::PeakMemory::of(std::process::id());
        let begun = Instant::now();
        let total = drain(function.start(start(arguments.clone()))?)?;
        expected.check(&total)?;
        Ok(Ours { elapsed: begun.elapsed(), rows: total.rows, peak_mib: memory.mib() })
    };
    let theirs = |native: &Native| -> Outcome<Duration> {
        let (elapsed, total) = native.read(rows)?;
        expected.check(&total)?;
        Ok(elapsed)
    };
    let result = compare(plan, ours, || theirs(&native))?;
    let faster = Native::new(Rows::FastDigits)?;
    let mut ratios = (0..5)
        .map(|_| Ok(theirs(&faster)?.as_secs_f64() / ours()?.elapsed.as_secs_f64()))
        .collect::<Outcome<Vec<_>>>()?;
    ratios.sort_by(f64::total_cmp);
    println!("beside a native plugin that writes its digits as the guest does: {:.3}", ratios[2]);
    Ok(result)
}

/// The time from a file to an instance, whose code was compiled before, against the aim of 10 ms.
pub(crate) fn start_up(plan: Plan) -> Outcome<Result> {
    let place = Place::new()?;
    let mut slowest = Vec::new();
    for name in ["orders-rust", "orders-c", "orders-go", "orders-python", "orders-js"] {
        let Some(path) = place.guest(name) else {
            println!("{name}: not built on this machine");
            continue;
        };
        let once = || -> Outcome<f64> {
            // A sandbox of its own: nothing is there but what lies in the cache.
            let sandbox = Sandbox::new(place.cache.path());
            let begun = Instant::now();
            let module = Module::read(&path)?;
            let function = Function::new(&sandbox, &module)?;
            function.try_out(Limits::default(), &Arc::new(TestContext::new()).context())?;
            Ok(begun.elapsed().as_secs_f64() * 1e3)
        };
        let cold = once()?;
        let mut warm = (0..5).map(|_| once()).collect::<Outcome<Vec<_>>>()?;
        warm.sort_by(f64::total_cmp);
        println!("{name}: first {cold:.1} ms, then from the cache {:.2} ms", warm[2]);
        if ["orders-rust", "orders-c"].contains(&name) {
            slowest.push(path);
        }
    }
    let aim = Duration::from_millis(10);
    compare(
        plan,
        || {
            let memory = hub_tests::PeakMemory::of(std::process::id());
            let mut longest = Duration::ZERO;
            for path in &slowest {
                let sandbox = Sandbox::new(place.cache.path());
                let begun = Instant::now();
                let function = Function::new(&sandbox, &Module::read(path)?)?;
                function.try_out(Limits::default(), &Arc::new(TestContext::new()).context())?;
                longest = longest.max(begun.elapsed());
            }
            if slowest.is_empty() {
                return Err("Neither the Rust nor the C guest was built".into());
            }
            Ok(Ours { elapsed: longest, rows: 1, peak_mib: memory.mib() })
        },
        || Ok(aim),
    )
}

/// What the same made-up batch costs more behind the glue than in front of it.
fn crossing() -> Outcome {
    let (direct, through) = (Native::direct(Rows::MadeOnce), Native::new(Rows::MadeOnce)?);
    let rows = 20_000_000;
    let mut costs = Vec::new();
    for _ in 0..5 {
        let (without, _) = direct.read(rows)?;
        let (with, total) = through.read(rows)?;
        let nanoseconds = with.saturating_sub(without).as_secs_f64() * 1e9;
        costs.push(nanoseconds / total.rows as f64);
    }
    costs.sort_by(f64::total_cmp);
    println!("Arrow C Data of a native plugin: {:.2} ns a row (aim: below 3)", costs[2]);
    Ok(())
}

/// Where the guests are, and a cache for what is compiled.
struct Place {
    guests: PathBuf,
    cache: TempDir,
}

impl Place {
    fn new() -> Outcome<Self> {
        let guests = env::var_os("HUB_TEST_GUESTS").ok_or("There are no guests: run `cargo xtask bench`")?;
        Ok(Self { guests: guests.into(), cache: tempfile::tempdir()? })
    }

    fn guest(&self, name: &str) -> Option<PathBuf> {
        Some(self.guests.join(format!("{name}.wasm"))).filter(|path| path.is_file())
    }

    fn function(&self, name: &str) -> Outcome<Function> {
        let path = self.guest(name).ok_or_else(|| format!("The guest `{name}` was not built"))?;
        Ok(Function::new(&Sandbox::new(self.cache.path()), &Module::read(&path)?)?)
    }
}

fn start(arguments: Value) -> Start {
    let context = Arc::new(TestContext::new()).context();
    Start {
        connection: Arc::new(MadeUp::connection(Rows::MadeOnce)),
        context,
        limits: Limits::default(),
        stream: StreamId::named("made-up"),
        arguments,
        columns: Vec::new(),
        identity: "made-up".into(),
        position: None,
    }
}

/// The rows of a plugin, with the glue of a library around it or without.
struct Native {
    connector: Arc<dyn Connector>,
}

impl Native {
    fn new(rows: Rows) -> Outcome<Self> {
        Ok(Self { connector: ffi::loopback(Arc::new(MadeUp(rows)))? })
    }

    fn direct(rows: Rows) -> Self {
        Self { connector: Arc::new(MadeUp(rows)) }
    }

    fn read(&self, rows: i64) -> Outcome<(Duration, Total)> {
        let context = Arc::new(TestContext::new()).context();
        let connection: Box<dyn Connection> = wait(self.connector.connect(&Config::new(), &context))?;
        let request = PlanRequest {
            pipeline: "bench".into(),
            generation: 1,
            run: 1,
            strategy: "query".into(),
            options: Config::new().with("rows", rows).with("batch_rows", BATCH_ROWS),
            parallel: 1,
            start_at: None,
            carry: None,
            interrupted: None,
            peek: false,
        };
        let plan = wait(connection.plan(&request))?;
        let split = plan.description().splits.remove(0);
        let begun = Instant::now();
        let budgets = Budgets::default();
        let reader = wait(plan.open(&OpenRequest { split, position: None, budgets, peek: false }))?;
        let total = drain(reader)?;
        Ok((begun.elapsed(), total))
    }
}

/// Calls are done at their first poll, or wait on a runtime of their own.
fn wait<T>(call: impl Future<Output = hub_plugin_api::Result<T>>) -> hub_plugin_api::Result<T> {
    hub_plugin_api::testing::block_on(call)
}

fn drain(mut reader: Box<dyn Reader>) -> Outcome<Total> {
    let mut total = Total::default();
    loop {
        match wait(reader.next(Duration::from_secs(1)))? {
            Event::Rows(rows) => total.add(&rows.batch)?,
            Event::End => return Ok(total),
            _ => {}
        }
    }
}

/// What was read, for comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Total {
    rows: u64,
    keys: i64,
    text_bytes: u64,
}

impl Total {
    /// What the made-up rows amount to.
    fn of(rows: i64) -> Self {
        let digits = |i: i64| i.checked_ilog10().unwrap_or(0) + 1;
        Self {
            rows: rows.unsigned_abs(),
            keys: (0..rows).map(|i| 4 * i).sum(),
            text_bytes: (0..rows).map(|i| u64::from(digits(i)) + 8).sum(),
        }
    }

    fn add(&mut self, batch: &RecordBatch) -> Outcome {
        if batch.num_columns() != schema_of(&columns()).fields().len() {
            return Err(format!("{} columns", batch.num_columns()).into());
        }
        self.rows += batch.num_rows() as u64;
        self.keys += batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>();
        let texts = batch.column(7).as_string::<i32>();
        let ends = texts.offsets();
        self.text_bytes += u64::try_from(ends[texts.len()] - ends[0])?;
        Ok(())
    }

    fn check(&self, found: &Self) -> Outcome {
        if self == found { Ok(()) } else { Err(format!("{found:?} instead of {self:?}").into()) }
    }
}
