//! Redis: By Keys and By Write Operation against what `redis-benchmark` does on the same server.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use connector_hub::plugins::{PluginFolder, Registry, RegistryOptions};
use hub_plugin_api::{
    Budgets, CommitToken, Config, Connection, Connector, Event, OpenRequest, PlanRequest, Rows, StreamId,
    StreamSchema, WriterRequest,
    arrow::array::{RecordBatch, StringArray},
    testing::TestContext,
    types::{Column, LogicalType, schema_of},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    Outcome,
    rounds::{Ours, Plan, Result, compare},
};

const KEYS: u64 = 500_000;
const VALUE_BYTES: usize = 100;
/// Keys of `redis-benchmark` are twelve digits behind this.
const PREFIX: &str = "key:";
/// Rows of one commit: what the host would make of 64 MiB.
const COMMIT_ROWS: u64 = 100_000;

/// The launched server, and the connector as a loaded library.
struct Bench {
    login: [String; 4],
    connector: Arc<dyn Connector>,
    runtime: Runtime,
    _cache: TempDir,
}

impl Bench {
    fn new() -> Outcome<Self> {
        let url =
            env::var("HUB_TEST_REDIS_URL").map_err(|_| "There is no server: run `cargo xtask bench`")?;
        let parts = || {
            let rest = url.strip_prefix("redis://")?;
            let (login, place) = rest.rsplit_once('@')?;
            let (user, password) = login.split_once(':')?;
            let (host, port) = place.split_once(':')?;
            Some([user, password, host, port].map(str::to_owned))
        };
        let login = parts().ok_or("The server's address is not `redis://user:password@host:port`")?;
        let folder =
            env::var_os("HUB_TEST_PLUGINS").ok_or("There are no plugins: run `cargo xtask bench`")?;
        let cache = tempfile::tempdir()?;
        let folders = vec![PluginFolder::given(PathBuf::from(folder))];
        let registry = Registry::open(RegistryOptions::new(folders, cache.path()));
        let connector = registry.find("redis")?.connector;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { login, connector, runtime, _cache: cache })
    }

    fn connection(&self) -> Outcome<Box<dyn Connection>> {
        let [user, password, host, port] = &self.login;
        let config = Config::new()
            .with("host", host.as_str())
            .with("port", port.parse::<u16>()?)
            .with("username", user.as_str());
        let config = self.connector.spec().validate(&config, None)?;
        let context = Arc::new(TestContext::new().with_secret("password", password.as_str())).context();
        Ok(self.runtime.block_on(self.connector.connect(&config, &context))?)
    }

    fn program(&self, name: &str) -> Command {
        let folder = env::var_os("HUB_TEST_REDIS_BIN").map(PathBuf::from).unwrap_or_default();
        let [user, password, host, port] = &self.login;
        let mut command = Command::new(folder.join(name));
        command.args(["-h", host, "-p", port, "--user", user, "-a", password]);
        if let Ok(libraries) = env::var("HUB_TEST_REDIS_LIBRARIES") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Sends a command with the server's own client; what it prints.
    fn ask(&self, command: &[&str]) -> Outcome<String> {
        let output = self.program("redis-cli").args(command).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// A hundred commands at a time, one for each key in turn, from one client.
    fn benchmark(&self, command: &[&str]) -> Outcome<Duration> {
        let start = Instant::now();
        let count = KEYS.to_string();
        let status = self
            .program("redis-benchmark")
            .args(["-n", &count, "-r", &count, "-P", "100", "-d", &VALUE_BYTES.to_string(), "-q"])
            .args(command)
            .stdout(Stdio::null())
            .status()?;
        if status.success() { Ok(start.elapsed()) } else { Err("redis-benchmark failed".into()) }
    }

    /// Strings as `redis-benchmark` reads them.
    fn fill(&self) -> Outcome {
        self.ask(&["FLUSHALL"])?;
        self.write()?;
        Ok(())
    }

    fn read(&self, options: &Config) -> Outcome<(Ours, usize)> {
        let memory = hub_tests::PeakMemory::of(std::process::id());
        let connection = self.connection()?;
        let spec = self.connector.spec();
        let request = PlanRequest {
            pipeline: "bench".into(),
            generation: 1,
            run: 1,
            strategy: "keys".into(),
            options: spec.find_strategy("keys")?.validate(options)?,
            parallel: 1,
            start_at: None,
            carry: None,
            interrupted: None,
            peek: false,
        };
        let start = Instant::now();
        let plan = self.runtime.block_on(connection.plan(&request))?;
        let (mut rows, mut bytes) = (0, 0);
        for split in plan.description().splits {
            let request = OpenRequest { split, position: None, budgets: Budgets::default(), peek: false };
            let mut reader = self.runtime.block_on(plan.open(&request))?;
            loop {
                match self.runtime.block_on(reader.next(Duration::from_secs(1)))? {
                    Event::Rows(batch) => {
                        rows += batch.batch.num_rows() as u64;
                        bytes += batch.batch.get_array_memory_size();
                    }
                    Event::End => break,
                    _ => {}
                }
            }
        }
        Ok((Ours { elapsed: start.elapsed(), rows, peak_mib: memory.mib() }, bytes))
    }

    fn write(&self) -> Outcome<Ours> {
        let memory = hub_tests::PeakMemory::of(std::process::id());
        let connection = self.connection()?;
        let schema = schema_of(&[
            Column::new("key", LogicalType::Text).not_null().key(0),
            Column::new("value", LogicalType::Text),
        ]);
        let stream = StreamId::named("bench");
        let batches = batches(&schema)?;
        let pipeline = format!("bench-{}", std::process::id());
        let options = Config::new().with("type", "string").with("key", "{{key}}");
        let request = WriterRequest {
            pipeline: pipeline.clone(),
            lane: 0,
            generation: 1,
            run: 1,
            strategy: "write".into(),
            options: self.connector.spec().find_strategy("write")?.validate(&options)?,
        };
        let start = Instant::now();
        let mut writer = self.runtime.block_on(connection.writer(&request))?;
        let mut n = CommitToken::next_n(writer.start().last.as_ref(), 1);
        self.runtime.block_on(writer.schema(&StreamSchema::new(stream.clone(), 0, schema)))?;
        let (mut rows, mut open) = (0, 0);
        for batch in batches {
            let count = batch.num_rows() as u64;
            (rows, open) = (rows + count, open + count);
            self.runtime.block_on(writer.write(Rows { stream: stream.clone(), schema_id: 0, batch }))?;
            if open >= COMMIT_ROWS || rows == KEYS {
                self.runtime.block_on(writer.flush())?;
                let token = CommitToken {
                    pipeline: pipeline.clone(),
                    lane: 0,
                    generation: 1,
                    run: 1,
                    n,
                    splits: Default::default(),
                    applied_seq: None,
                };
                self.runtime.block_on(writer.commit(&token))?;
                (n, open) = (n + 1, 0);
            }
        }
        Ok(Ours { elapsed: start.elapsed(), rows, peak_mib: memory.mib() })
    }

    fn count(&self) -> Outcome<u64> {
        // The lane's own key is no row.
        Ok(self.ask(&["DBSIZE"])?.parse::<u64>()?.saturating_sub(1))
    }
}

fn batches(schema: &hub_plugin_api::arrow::datatypes::SchemaRef) -> Outcome<Vec<RecordBatch>> {
    const ROWS: u64 = 8192;
    let value = "x".repeat(VALUE_BYTES);
    let mut batches = Vec::new();
    let mut from = 0;
    while from < KEYS {
        let to = (from + ROWS).min(KEYS);
        let keys = StringArray::from_iter_values((from..to).map(|number| format!("{PREFIX}{number:012}")));
        let values = StringArray::from_iter_values((from..to).map(|_| &value));
        batches.push(RecordBatch::try_new(Arc::clone(schema), vec![Arc::new(keys), Arc::new(values)])?);
        from = to;
    }
    Ok(batches)
}

/// All strings of a database, against one GET after another; beside it, keys of all types.
pub(crate) fn keys(plan: Plan) -> Outcome<Result> {
    let bench = Bench::new()?;
    bench.fill()?;
    let options = Config::new().with("patterns", json!([format!("{PREFIX}*")])).with("type", "string");
    let ours = || {
        let (ours, bytes) = bench.read(&options)?;
        let expected = KEYS as usize * VALUE_BYTES;
        if ours.rows == KEYS && bytes > expected {
            Ok(ours)
        } else {
            Err(format!("{} keys and {bytes} bytes", ours.rows).into())
        }
    };
    let result = compare(plan, ours, || bench.benchmark(&["GET", "key:__rand_int__"]))?;
    expiring(&bench, &options)?;
    mixed(&bench)?;
    Ok(result)
}

/// For information: the same strings, one of which expires, so that each is asked for its time to live.
fn expiring(bench: &Bench, options: &Config) -> Outcome {
    bench.ask(&["PEXPIRE", &format!("{PREFIX}{:012}", 0), "3600000"])?;
    let (ours, _) = bench.read(options)?;
    let reference = bench.benchmark(&["GET", "key:__rand_int__"])?;
    let (ratio, speed) =
        (reference.as_secs_f64() / ours.elapsed.as_secs_f64(), ours.rows as f64 / ours.elapsed.as_secs_f64());
    println!("where a key expires: {speed:.0} rows/s, {:.1} MiB, ratio {ratio:.3}", ours.peak_mib);
    if ours.rows == KEYS { Ok(()) } else { Err(format!("{} keys", ours.rows).into()) }
}

/// For information: hashes, lists, sets and sorted sets of one element each, with their types and times to live.
fn mixed(bench: &Bench) -> Outcome {
    const MIXED: u64 = 100_000;
    bench.ask(&["FLUSHALL"])?;
    let script = "for i=0,tonumber(ARGV[1])-1 do local k='m:'..i local t=i%5 \
        if t==0 then redis.call('SET',k,i) elseif t==1 then redis.call('HSET',k,'f',i) \
        elseif t==2 then redis.call('RPUSH',k,i) elseif t==3 then redis.call('SADD',k,i) \
        else redis.call('ZADD',k,i,i) end end return 1";
    bench.ask(&["EVAL", script, "0", &MIXED.to_string()])?;
    let (ours, _) = bench.read(&Config::new().with("patterns", json!(["m:*"])))?;
    let speed = ours.rows as f64 / ours.elapsed.as_secs_f64();
    println!("mixed types: {} keys, {speed:.0} rows/s, {:.1} MiB", ours.rows, ours.peak_mib);
    if ours.rows == MIXED { Ok(()) } else { Err(format!("{} mixed keys", ours.rows).into()) }
}

/// Strings, against one SET after another.
pub(crate) fn write(plan: Plan) -> Outcome<Result> {
    let bench = Bench::new()?;
    let ours = || {
        bench.ask(&["FLUSHALL"])?;
        let ours = bench.write()?;
        let count = bench.count()?;
        if count == KEYS { Ok(ours) } else { Err(format!("{count} keys instead of {KEYS}").into()) }
    };
    compare(plan, ours, || {
        bench.ask(&["FLUSHALL"])?;
        bench.benchmark(&["-t", "set"])
    })
}
