use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    dialect::Store,
    faults::{Fault, Faults},
    random::Random,
    sampler::{Sample, Sampler},
    workload::{LEDGER, Workload, WorkloadEnd, connect},
};
use crate::{Hub, Running};

/// How long the rest may take to arrive once the workload is over.
const REST: Duration = Duration::from_secs(240);

/// What is to be shown.
pub struct Equivalence<'a> {
    /// The program.
    pub hub: &'a Hub,
    /// The pipeline from source to destination.
    pub file: &'a Path,
    /// Its name.
    pub pipeline: &'a str,
    /// Where changes are made.
    pub source: Arc<dyn Store>,
    /// Where they arrive.
    pub destination: Arc<dyn Store>,
    /// How many.
    pub changes: u64,
    /// How many times the program is killed.
    pub kills: u32,
    /// What else goes wrong.
    pub faults: Vec<Fault<'a>>,
    /// How many times the destination is looked at, at least.
    pub samples: u64,
}

/// What was shown.
#[derive(Debug)]
pub struct Outcome {
    /// Changes that were made.
    pub changes: u64,
    /// Times that the destination was looked at.
    pub samples: usize,
    /// Different states among them.
    pub states: usize,
    /// Times that the program was started.
    pub starts: u32,
    /// Faults that struck when the workload was over.
    pub late: u32,
}

/// Runs a workload and a pipeline side by side, with faults, and compares.
///
/// # Panics
/// When something is lost, doubled or seen in parts.
pub fn equivalence(mut it: Equivalence<'_>) -> Outcome {
    let (mut random, seed) = Random::from_environment();
    println!("HUB_TEST_SEED={seed}");
    let workload = Workload::new(Arc::clone(&it.source), Random::new(seed ^ 0x5eed));
    let (tables, pace, wanted) = (workload.tables(), workload.pace(), it.changes);
    let mut runner = Runner { hub: it.hub, file: it.file, running: None, starts: 0 };
    runner.keep_running();
    // The stream begins before the first change: all of them are counted.
    wait_for_plan(&mut runner);
    let sampler = Sampler::start(
        Arc::clone(&it.destination),
        it.pipeline.to_owned(),
        tables.clone(),
        Duration::from_millis(40),
    );
    let worker = thread::spawn(move || workload.run(wanted));
    let kill = it.faults.len();
    it.faults.push(Fault::new("the program was killed", it.kills, || {}));
    let moments = Faults::spread(&it.faults, &mut random).moments;
    // Less than lies between two faults on average: otherwise the workload would be over before the last ones.
    let slack = (wanted / 50).min(wanted / (2 * moments.len().max(1) as u64)) + 1;
    let mut late = 0;
    let mut next = moments.iter().peekable();
    // What had arrived when the last fault struck.
    let mut before: Option<u64> = None;
    // How many changes there were by then: there must be more, or nothing could arrive.
    let mut struck = 0;
    while !worker.is_finished() || next.peek().is_some() {
        let at = next.peek().map_or(u64::MAX, |(at, _)| at * wanted / 1000);
        // The workload goes on while a fault strikes, and waits for the program to get over it.
        pace.allowed.store(at.max(struck).saturating_add(slack), Ordering::Relaxed);
        let is_time =
            pace.done.load(Ordering::Relaxed) >= at && before.is_none_or(|before| sampler.last() > before);
        if let Some((_, index)) = next.next_if(|_| is_time || worker.is_finished()) {
            println!("{} after {} changes", it.faults[*index].name, pace.done.load(Ordering::Relaxed));
            late += u32::from(!is_time);
            before = Some(sampler.last());
            struck = pace.done.load(Ordering::Relaxed);
            if *index == kill {
                runner.running = None;
            } else {
                (it.faults[*index].strike)();
            }
        }
        runner.keep_running();
        thread::sleep(Duration::from_millis(10));
    }
    let end = match worker.join() {
        Ok(end) => end,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    wait_for_rest(&mut runner, &it, &end, &sampler);
    let samples = sampler.stop();
    let states = check(&samples, &end);
    runner.end();
    compare(&*it.source, &*it.destination, &end);
    Outcome { changes: end.changes, samples: samples.len(), states, starts: runner.starts, late }
}

/// Starts the program again whenever it has ended: a fault may be longer than its patience.
struct Runner<'a> {
    hub: &'a Hub,
    file: &'a Path,
    running: Option<Running>,
    starts: u32,
}

impl Runner<'_> {
    fn keep_running(&mut self) {
        if let Some(running) = &mut self.running {
            if !running.has_ended() {
                return;
            }
            println!("The program ended:\n{}", running.log());
        }
        self.running = Some(self.hub.spawn(self.file));
        self.starts += 1;
        assert!(self.starts < 200, "The program ends again and again");
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

fn wait_for_plan(runner: &mut Runner<'_>) {
    let since = Instant::now();
    loop {
        runner.keep_running();
        if runner.running.as_ref().is_some_and(|running| running.out().contains("\"opened\"")) {
            return;
        }
        assert!(since.elapsed() < REST, "The stream does not begin");
        thread::sleep(Duration::from_millis(20));
    }
}

fn wait_for_rest(runner: &mut Runner<'_>, it: &Equivalence<'_>, end: &WorkloadEnd, sampler: &Sampler) {
    let Some((last, _)) = end.ledger.last_key_value() else { panic!("The workload did nothing") };
    let since = Instant::now();
    let query = format!("select tx from {LEDGER} where tx = {last}");
    let mut session = connect(&*it.destination);
    loop {
        runner.keep_running();
        match session.run(&query) {
            Ok(rows) if !rows.is_empty() && sampler.count() >= it.samples => return,
            Ok(_) => {}
            // The table may not be there yet.
            Err(failure) if failure.is_lost => session = connect(&*it.destination),
            Err(_) => {}
        }
        let log = runner.running.as_ref().map(Running::log).unwrap_or_default();
        assert!(since.elapsed() < REST, "Transaction {last} does not arrive\n{log}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Every sample is a state that the source had, whole; returns how many different ones there are.
fn check(samples: &[Sample], end: &WorkloadEnd) -> usize {
    let mut transactions: Vec<_> = samples.iter().map(|sample| sample.tx).collect();
    assert!(transactions.is_sorted(), "The destination went back in time: {transactions:?}");
    for sample in samples {
        if let Some(problem) = sample.problem(&end.ledger, true) {
            panic!("{problem}\n{}", sample.token);
        }
    }
    transactions.dedup();
    transactions.len()
}

fn compare(source: &dyn Store, destination: &dyn Store, end: &WorkloadEnd) {
    let (mut from, mut to) = (connect(source), connect(destination));
    let ledger = (LEDGER.to_owned(), ["tx", "state", "changes"].map(String::from).to_vec());
    for (table, columns) in end.tables.iter().chain([&ledger]) {
        let expected = from.run(&source.dialect().digest(table, columns));
        let found = to.run(&destination.dialect().digest(table, columns));
        match (expected, found) {
            (Ok(expected), Ok(found)) => assert_eq!(found, expected, "Table `{table}` differs"),
            (expected, found) => panic!("Table `{table}` cannot be read: {expected:?}, {found:?}"),
        }
    }
}
