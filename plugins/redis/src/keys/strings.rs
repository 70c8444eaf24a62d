//! Strings that SCAN found, many with one command.
//!
//! Of strings of 100 bytes the server hands over one in 0.56 µs with MGET, in 0.85 µs with GETRANGE, and in 1.10 µs where
//! PTTL stands beside it. But MGET has no limit of bytes, and the server keeps what we have not read. So it is used only
//! while strings are small. SCAN goes through keys by their hashes, therefore what comes next is a sample of the same as
//! what came: after [`SAMPLE`] small strings in a row a page of large ones is out of the question, and the first large
//! one ends it until there is another such row.
//!
//! Likewise a server on which no key expires need not be asked for each key's time to live: `INFO keyspace` behind the
//! values, in the same pipeline, counts the keys that do.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hub_plugin_api::{Error, ErrorKind, Result};
use redis::{Pipeline, Value};

use super::fetch::{Content, Entry};
use crate::{connection::Session, reply, types::Kind};

const DOING: &str = "Could not read the values";

/// So many small strings in a row tell that there are hardly any others.
const SAMPLE: usize = 1000;
/// A small string has fewer bytes.
const SMALL_BYTES: usize = 4 << 10;
/// One in so many keys may be no string before SCAN is told the type again.
const FEW_OTHERS: usize = 8;
/// Keys of one command, during which the server answers nobody else.
const AT_ONCE: usize = 128;

/// What is known of the strings of a database.
#[derive(Debug)]
pub struct Together {
    database_index: u8,
    small_in_a_row: AtomicUsize,
    expiring: AtomicBool,
    refused: AtomicBool,
    asked: AtomicUsize,
    absent: AtomicUsize,
}

impl Together {
    /// Nothing is known yet.
    pub fn new(database_index: u8) -> Self {
        Self {
            database_index,
            small_in_a_row: AtomicUsize::new(0),
            expiring: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            absent: AtomicUsize::new(0),
        }
    }

    /// Whether [`Together::fetch`] may be used.
    pub fn is_likely_small(&self) -> bool {
        self.small_in_a_row.load(Ordering::Relaxed) >= SAMPLE && !self.refused.load(Ordering::Relaxed)
    }

    /// Learns from strings that came.
    pub fn note(&self, entries: &[Entry]) {
        let from_the_end = entries.iter().rev();
        let small = from_the_end.take_while(|entry| entry.content.bytes() < SMALL_BYTES).count();
        if small == entries.len() {
            self.small_in_a_row.fetch_add(small, Ordering::Relaxed);
        } else {
            self.small_in_a_row.store(small, Ordering::Relaxed);
        }
    }

    /// Whether SCAN needs to be told the type, because there are other keys among the strings: those have no value for
    /// MGET, which costs less than the server's look at every key's type while there are few of them.
    pub fn are_others_many(&self) -> bool {
        let (asked, absent) = (self.asked.load(Ordering::Relaxed), self.absent.load(Ordering::Relaxed));
        !self.is_likely_small() || absent * FEW_OTHERS > asked
    }

    /// Reads strings; what is gone or of another type is left out. Nothing where the user may not do that; then the keys
    /// are as they were.
    ///
    /// # Errors
    /// When the session broke or the server refuses.
    pub async fn fetch(
        &self,
        session: &mut Session,
        keys: &mut Vec<Vec<u8>>,
        ttl: bool,
    ) -> Result<Option<Vec<Entry>>> {
        loop {
            let each_ttl = ttl && self.expiring.load(Ordering::Relaxed);
            let mut pipeline = Pipeline::new();
            for part in keys.chunks(AT_ONCE) {
                for key in part.iter().filter(|_| each_ttl) {
                    pipeline.cmd("PTTL").arg(key);
                }
                pipeline.cmd("MGET").arg(part);
            }
            if ttl && !each_ttl {
                pipeline.cmd("INFO").arg("keyspace");
            }
            let mut answers = session.pipeline(DOING, &[], &pipeline).await?;
            if ttl && !each_ttl && !is_without_expiry(answers.pop(), self.database_index) {
                // All of the page once more, so that a key's time to live belongs to its value.
                self.expiring.store(true, Ordering::Relaxed);
                continue;
            }
            let mut answers = answers.into_iter();
            let (mut ttls, mut values) = (Vec::new(), Vec::with_capacity(keys.len()));
            for part in keys.chunks(AT_ONCE) {
                for _ in part.iter().filter(|_| each_ttl) {
                    ttls.push(reply::integer(DOING, answers.next().unwrap_or(Value::Nil))?);
                }
                match answers.next().unwrap_or(Value::Nil) {
                    Value::ServerError(refusal) if refusal.code() == "NOPERM" => {
                        self.refused.store(true, Ordering::Relaxed);
                        return Ok(None);
                    }
                    answer => values.append(&mut reply::items(DOING, answer)?),
                }
            }
            if values.len() != keys.len() {
                return Err(Error::new(
                    ErrorKind::Protocol,
                    format!("{DOING}: {} values came for {} keys", values.len(), keys.len()),
                ));
            }
            let asked = keys.len();
            let mut entries = Vec::with_capacity(asked);
            for (place, (key, value)) in std::mem::take(keys).into_iter().zip(values).enumerate() {
                let ttl = ttls.get(place).copied().unwrap_or(-1);
                let Some(bytes) = reply::bytes(DOING, value)?.filter(|_| ttl != GONE) else { continue };
                entries.push(Entry {
                    key,
                    kind: Kind::String,
                    ttl_ms: (ttl >= 0).then_some(ttl),
                    content: Content::Bytes(bytes),
                });
            }
            self.asked.fetch_add(asked, Ordering::Relaxed);
            self.absent.fetch_add(asked - entries.len(), Ordering::Relaxed);
            self.note(&entries);
            return Ok(Some(entries));
        }
    }
}

/// What PTTL says of a key that is not there.
const GONE: i64 = -2;

/// Whether `INFO keyspace` says that no key of the database has a time to live.
fn is_without_expiry(info: Option<Value>, database_index: u8) -> bool {
    let Some(Ok(info)) = info.map(|info| reply::text(DOING, info)) else { return false };
    let database = format!("db{database_index}:");
    match info.lines().find_map(|line| line.strip_prefix(&database)) {
        Some(counts) => counts.trim_end().split(',').any(|count| count == "expires=0"),
        // A database without keys has no line.
        None => info.contains("# Keyspace"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: usize) -> Entry {
        let content = Content::Bytes(vec![b'x'; bytes]);
        Entry { key: b"k".to_vec(), kind: Kind::String, ttl_ms: None, content }
    }

    #[test]
    fn a_large_string_ends_reading_many_at_once_until_there_is_another_row_of_small_ones() {
        let together = Together::new(0);
        together.note(&vec![entry(1); SAMPLE - 1]);
        assert!(!together.is_likely_small());
        together.note(&[entry(1)]);
        assert!(together.is_likely_small());
        together.note(&[entry(1), entry(SMALL_BYTES), entry(1), entry(1)]);
        assert!(!together.is_likely_small());
        together.note(&vec![entry(1); SAMPLE - 2]);
        assert!(together.is_likely_small());
    }

    #[test]
    fn the_server_is_told_the_type_until_strings_are_small_and_where_others_are_many() {
        let together = Together::new(0);
        assert!(together.are_others_many());
        together.note(&vec![entry(1); SAMPLE]);
        assert!(!together.are_others_many());
        together.asked.store(800, Ordering::Relaxed);
        together.absent.store(100, Ordering::Relaxed);
        assert!(!together.are_others_many());
        together.absent.store(101, Ordering::Relaxed);
        assert!(together.are_others_many());
    }

    #[test]
    fn only_what_the_server_says_of_this_database_counts() {
        let info = |text: &str| Some(Value::BulkString(text.as_bytes().to_vec()));
        let both = "# Keyspace\r\ndb0:keys=9,expires=3,avg_ttl=0\r\ndb1:keys=2,expires=0,avg_ttl=0\r\n";
        assert!(!is_without_expiry(info(both), 0) && is_without_expiry(info(both), 1));
        assert!(is_without_expiry(info(both), 2), "it is empty");
        assert!(!is_without_expiry(info("# Keyspace\r\ndb0:keys=9\r\n"), 0));
        assert!(!is_without_expiry(info(""), 0) && !is_without_expiry(Some(Value::Nil), 0));
        assert!(!is_without_expiry(None, 0));
    }
}
