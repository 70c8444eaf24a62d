//! Which keys were handed over: SCAN may bring a key twice when the server shrinks its table of keys.
//!
//! Of each key 128 bits are kept, so two keys are taken for one with a chance of 10⁻²⁶ among a trillion pairs. Above
//! [`MEMORY_BYTES`] they go to disk as sorted runs.

use std::{
    collections::HashSet,
    fs::File,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::PathBuf,
};

use hub_plugin_api::{Context, Error, ErrorKind, Result, Spill};

/// How much memory the hashes may take.
pub const MEMORY_BYTES: usize = 64 << 20;
/// A table of hashes doubles when it is 7/8 full, and takes 17 bytes a place: this many fill the largest one below
/// the limit.
const MEMORY_HASHES: usize = (MEMORY_BYTES / 17).next_power_of_two() / 2 / 8 * 7;
/// Hashes of a block that is read at once.
const BLOCK: usize = 256;
const HASH_BYTES: usize = 16;
/// So many runs are merged into one: each is looked into for every key.
const MAX_RUNS: usize = 8;

/// The keys seen.
pub struct Seen {
    hashers: [RandomState; 2],
    memory: HashSet<u128, BuildHasherDefault<LowBits>>,
    limit: usize,
    context: Context,
    spill: Option<Spill>,
    runs: Vec<Run>,
    files: u64,
}

/// The hashes are as good as random: their lower half need not be hashed again.
#[derive(Default)]
struct LowBits(u64);

impl Hasher for LowBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }
}

/// Sorted hashes in a file.
struct Run {
    path: PathBuf,
    file: File,
    hashes: usize,
    /// The first hash of each block.
    fences: Vec<u128>,
}

impl Seen {
    /// None yet.
    pub fn new(context: &Context) -> Self {
        Self::with_limit(context, MEMORY_HASHES)
    }

    fn with_limit(context: &Context, limit: usize) -> Self {
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            memory: HashSet::default(),
            limit,
            context: context.clone(),
            spill: None,
            runs: Vec::new(),
            files: 0,
        }
    }

    /// Notes a key; whether it is new.
    ///
    /// # Errors
    /// When what does not fit into memory cannot be written to disk, or is more than the host allows.
    pub fn insert(&mut self, key: &[u8]) -> Result<bool> {
        let [high, low] = [0, 1].map(|half| u128::from(self.hashers[half].hash_one(key)));
        let hash = high << 64 | low;
        if self.memory.contains(&hash) {
            return Ok(false);
        }
        for run in &mut self.runs {
            if run.contains(hash).map_err(|error| unreadable(&error))? {
                return Ok(false);
            }
        }
        if self.memory.len() >= self.limit {
            self.spill_memory()?;
        }
        Ok(self.memory.insert(hash))
    }

    fn spill_memory(&mut self) -> Result<()> {
        let mut sorted: Vec<u128> = self.memory.drain().collect();
        sorted.sort_unstable();
        let path = self.next_file(sorted.len())?;
        let run = Run::write(path, sorted.into_iter().map(Ok)).map_err(|error| unreadable(&error))?;
        self.runs.push(run);
        if self.runs.len() > MAX_RUNS {
            self.merge()?;
        }
        Ok(())
    }

    fn merge(&mut self) -> Result<()> {
        let hashes = self.runs.iter().map(|run| run.hashes).sum();
        let path = self.next_file(hashes)?;
        let merged = Merge::of(&self.runs).and_then(|merge| Run::write(path, merge));
        let merged = merged.map_err(|error| unreadable(&error))?;
        for run in std::mem::replace(&mut self.runs, vec![merged]) {
            // What stays is removed with the directory.
            drop(std::fs::remove_file(&run.path));
        }
        Ok(())
    }

    /// A new file for so many hashes more.
    fn next_file(&mut self, hashes: usize) -> Result<PathBuf> {
        if self.spill.is_none() {
            self.spill = Some(self.context.host().spill()?);
        }
        let Some(spill) = &self.spill else { return Err(Error::internal("There is no directory")) };
        let bytes = (self.runs.iter().map(|run| run.hashes).sum::<usize>() + hashes) * HASH_BYTES;
        if bytes as u64 > spill.quota_bytes {
            let message =
                format!("The keys seen take {bytes} bytes on disk; the host allows {}", spill.quota_bytes);
            return Err(Error::new(ErrorKind::ResourceExhausted, message)
                .with_field("unique_keys")
                .with_hint(
                    "Turn `unique_keys` off: a key may then come twice, which an upsert does not mind",
                ));
        }
        self.files += 1;
        Ok(spill.directory.join(format!("seen-{}", self.files)))
    }
}

fn unreadable(error: &io::Error) -> Error {
    Error::new(ErrorKind::ResourceExhausted, "The keys seen cannot be kept on disk").with_source(error)
}

impl Run {
    fn write(path: PathBuf, hashes: impl Iterator<Item = io::Result<u128>>) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        let mut out = BufWriter::with_capacity(1 << 16, file);
        let (mut fences, mut count) = (Vec::new(), 0);
        for hash in hashes {
            let hash = hash?;
            if count % BLOCK == 0 {
                fences.push(hash);
            }
            out.write_all(&hash.to_be_bytes())?;
            count += 1;
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Self { path, file, hashes: count, fences })
    }

    fn contains(&mut self, hash: u128) -> io::Result<bool> {
        let Some(block) = self.fences.partition_point(|fence| *fence <= hash).checked_sub(1) else {
            return Ok(false);
        };
        let mut bytes = [0; BLOCK * HASH_BYTES];
        let length = (self.hashes - block * BLOCK).min(BLOCK) * HASH_BYTES;
        self.file.seek(SeekFrom::Start((block * BLOCK * HASH_BYTES) as u64))?;
        self.file.read_exact(&mut bytes[..length])?;
        let wanted = hash.to_be_bytes();
        let (hashes, _) = bytes[..length].as_chunks::<HASH_BYTES>();
        Ok(hashes.binary_search(&wanted).is_ok())
    }
}

/// Runs in one order.
struct Merge {
    heads: Vec<(Option<u128>, BufReader<File>)>,
}

impl Merge {
    fn of(runs: &[Run]) -> io::Result<Self> {
        let mut heads = Vec::new();
        for run in runs {
            let mut reader = BufReader::with_capacity(1 << 16, File::open(&run.path)?);
            heads.push((next(&mut reader)?, reader));
        }
        Ok(Self { heads })
    }
}

fn next(reader: &mut BufReader<File>) -> io::Result<Option<u128>> {
    let mut bytes = [0; HASH_BYTES];
    match reader.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(u128::from_be_bytes(bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

impl Iterator for Merge {
    type Item = io::Result<u128>;

    fn next(&mut self) -> Option<Self::Item> {
        let least = self.heads.iter_mut().filter(|(head, _)| head.is_some()).min_by_key(|(head, _)| *head)?;
        let hash = least.0?;
        match next(&mut least.1) {
            Ok(following) => {
                least.0 = following;
                Some(Ok(hash))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hub_plugin_api::testing::TestContext;

    use super::*;

    #[test]
    fn a_key_is_new_once_also_when_its_hash_went_to_disk() {
        let host = Arc::new(TestContext::new());
        let mut seen = Seen::with_limit(&host.context(), 100);
        let keys: Vec<String> = (0..2500).map(|number| format!("key:{number}")).collect();
        for key in &keys {
            assert!(seen.insert(key.as_bytes()).unwrap(), "{key}");
        }
        assert!(!seen.runs.is_empty() && seen.runs.len() <= MAX_RUNS + 1);
        assert!(seen.files > MAX_RUNS as u64, "runs were merged");
        for key in &keys {
            assert!(!seen.insert(key.as_bytes()).unwrap(), "{key}");
        }
        assert!(seen.insert(b"another").unwrap());
    }

    #[test]
    fn what_fits_into_memory_stays_below_the_limit() {
        let places = (MEMORY_HASHES * 8 / 7).next_power_of_two();
        assert!(places * 17 <= MEMORY_BYTES && MEMORY_HASHES > 1_000_000);
    }
}
