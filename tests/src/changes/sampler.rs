use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;

use super::{
    dialect::{Failure, Session, Store},
    ledger::{Ledger, join},
    workload::{LEDGER, connect},
};

/// What was seen of the destination at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The commit token.
    pub token: Value,
    /// The last transaction of the ledger as it had arrived.
    pub tx: u64,
    /// The state that the arrived ledger names for it.
    pub written: String,
    /// What the tables really held.
    pub found: String,
}

impl Sample {
    /// The changes that the reader had counted at the token's position.
    pub fn counted(&self) -> Option<u64> {
        let splits = self.token.get("splits")?.as_object()?;
        splits.values().find_map(|split| split.pointer("/position/seq")?.as_u64())
    }

    /// What is wrong with it, compared with the source's own ledger. `counts`: the reader began before the first
    /// change, so its count must be the ledger's.
    pub fn problem(&self, ledger: &Ledger, counts: bool) -> Option<String> {
        let Some(entry) = ledger.get(&self.tx) else {
            return Some(format!("Transaction {} was never made", self.tx));
        };
        if self.written != entry.state {
            return Some(format!("The ledger's row {} is not as it was written", self.tx));
        }
        if self.found != entry.state {
            return Some(format!(
                "After transaction {} the tables hold {} instead of {}",
                self.tx, self.found, entry.state
            ));
        }
        let counted = self.counted();
        (counts && counted != Some(entry.changes)).then(|| {
            format!(
                "The token's position has counted {counted:?} changes, and transaction {} is the {}th",
                self.tx, entry.changes
            )
        })
    }
}

/// Looks at the destination again and again.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    last: Arc<AtomicU64>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Sampler {
    /// Begins; a destination that is away is waited for.
    pub fn start(store: Arc<dyn Store>, pipeline: String, tables: Vec<String>, every: Duration) -> Self {
        let (stop, count, last) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let thread = thread::spawn({
            let (stop, count): (_, Arc<AtomicU64>) = (Arc::clone(&stop), Arc::clone(&count));
            let last: Arc<AtomicU64> = Arc::clone(&last);
            move || {
                let mut samples = Vec::new();
                let mut session = connect(&*store);
                while !stop.load(Ordering::Relaxed) {
                    match sample(&mut *session, &*store, &pipeline, &tables) {
                        Ok(Some(sample)) => {
                            last.store(sample.tx, Ordering::Relaxed);
                            samples.push(sample);
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(None) => {}
                        Err(failure) if failure.is_lost => session = connect(&*store),
                        Err(failure) => panic!("The destination refuses to be looked at: {failure}"),
                    }
                    thread::sleep(every);
                }
                samples
            }
        });
        Self { stop, count, last, thread }
    }

    /// How many times it has seen something.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The last transaction that it has seen.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Ends it, and returns what it saw.
    ///
    /// # Panics
    /// When it panicked.
    pub fn stop(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(samples) => samples,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// One look, in one snapshot; nothing before all tables have arrived.
fn sample(
    session: &mut dyn Session,
    store: &dyn Store,
    pipeline: &str,
    tables: &[String],
) -> Result<Option<Sample>, Failure> {
    let dialect = store.dialect();
    let mut all = tables.to_vec();
    all.extend([LEDGER, "__hub_commits"].map(String::from));
    for table in &all {
        if session.run(&dialect.exists(table))?.is_empty() {
            return Ok(None);
        }
    }
    session.run(dialect.begin_snapshot())?;
    let held = dialect.hold(&all).map_or(Ok(Vec::new()), |hold| session.run(&hold));
    let seen = held.and_then(|_| look(session, store, pipeline, tables));
    session.run("rollback")?;
    seen
}

fn look(
    session: &mut dyn Session,
    store: &dyn Store,
    pipeline: &str,
    tables: &[String],
) -> Result<Option<Sample>, Failure> {
    let dialect = store.dialect();
    let token = one(session.run(&dialect.token(pipeline))?);
    let Some(token) = token.and_then(|token| serde_json::from_str(&token).ok()) else { return Ok(None) };
    let last = session.run(&format!("select tx, state from {LEDGER} order by tx desc limit 1"))?;
    let Some([Some(tx), Some(written)]) = last.first().map(Vec::as_slice) else { return Ok(None) };
    let mut states = Vec::with_capacity(tables.len());
    for table in tables {
        states.push(one(session.run(&dialect.state(table))?).unwrap_or_default());
    }
    let tx = tx.parse().unwrap_or_default();
    Ok(Some(Sample { token, tx, written: written.clone(), found: join(states) }))
}

fn one(rows: Vec<Vec<Option<String>>>) -> Option<String> {
    rows.into_iter().next()?.into_iter().next()?
}
