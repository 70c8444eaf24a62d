use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Watches the memory of a process and its descendants: the highest sum of their `VmHWM`.
#[derive(Debug)]
pub struct PeakMemory {
    peak_bytes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PeakMemory {
    /// Begins to watch.
    pub fn of(process: u32) -> Self {
        let peak_bytes = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (peak_bytes, stop) = (Arc::clone(&peak_bytes), Arc::clone(&stop));
            move || {
                // To look for descendants takes a look at every process of the machine: done each time, it would
                // slow down what is measured. A process keeps its peak, so one that is found late counts in full.
                let mut tree = tree(process);
                for round in 1.. {
                    peak_bytes.fetch_max(tree.iter().copied().map(peak_bytes_of).sum(), Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    thread::sleep(Duration::from_millis(10));
                    if round % LOOKS_PER_SEARCH == 0 {
                        tree = self::tree(process);
                    }
                }
            }
        });
        Self { peak_bytes, stop, thread: Some(thread) }
    }

    /// The highest so far, in MiB; 0 where the system does not tell.
    pub fn mib(&self) -> f64 {
        self.peak_bytes.load(Ordering::Relaxed) as f64 / 1_048_576.0
    }
}

impl Drop for PeakMemory {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It only reads and sleeps; if it panicked, the peak so far stands.
            drop(thread.join());
        }
    }
}

/// How often known processes are looked at before others are looked for.
const LOOKS_PER_SEARCH: u64 = 20;

/// A process and its descendants.
fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(parent) = parent(process) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(process) = tree.get(next) {
        tree.extend(children.get(process).into_iter().flatten());
        next += 1;
    }
    tree
}

fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold anything; behind it come state and parent.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn peak_bytes_of(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_touched_and_freed_is_counted() {
        let watch = PeakMemory::of(std::process::id());
        let touched = vec![1_u8; 64 << 20];
        assert_eq!(touched.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 64 << 20);
        drop(touched);
        thread::sleep(Duration::from_millis(50));
        assert!(watch.mib() > 64.0, "{}", watch.mib());
    }
}
