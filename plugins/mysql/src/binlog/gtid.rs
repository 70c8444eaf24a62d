//! Global transaction ids: MySQL's sets, MariaDB's positions.
//!
//! Source: MySQL manual "GTID Format and Storage" (tags since 8.3); MariaDB knowledge base "Global Transaction ID".

use std::{collections::BTreeMap, fmt, str::FromStr};

use hub_plugin_api::{Error, ErrorKind, Result};

/// The transactions that were seen, as each of the two servers counts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gtids {
    /// Every number of every source.
    MySql(GtidSet),
    /// The last number of every domain.
    MariaDb(GtidPosition),
}

impl Gtids {
    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::MySql(set) => set.sources.is_empty(),
            Self::MariaDb(position) => position.domains.is_empty(),
        }
    }
}

impl fmt::Display for Gtids {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql(set) => set.fmt(formatter),
            Self::MariaDb(position) => position.fmt(formatter),
        }
    }
}

/// A source of MySQL's: a server's UUID, with a tag or an empty one.
pub type Source = ([u8; 16], String);

/// MySQL's set: for each source, ranges of numbers, both ends included, in order and apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet {
    sources: BTreeMap<Source, Vec<(u64, u64)>>,
}

impl GtidSet {
    /// Adds a transaction.
    pub fn add(&mut self, source: Source, number: u64) {
        self.add_range(source, number, number);
    }

    fn add_range(&mut self, source: Source, first: u64, last: u64) {
        let ranges = self.sources.entry(source).or_default();
        // The usual case: the next number of the last range.
        if let Some(range) = ranges.last_mut()
            && range.1.checked_add(1) == Some(first)
        {
            range.1 = last;
            return;
        }
        ranges.push((first, last));
        ranges.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges.drain(..) {
            match merged.last_mut() {
                Some(range) if first <= range.1.saturating_add(1) => range.1 = range.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        *ranges = merged;
    }

    /// Whether every transaction of `other` is in the set.
    pub fn contains_all(&self, other: &Self) -> bool {
        other.sources.iter().all(|(source, wanted)| {
            let ranges = self.sources.get(source).map_or(&[][..], Vec::as_slice);
            wanted.iter().all(|want| ranges.iter().any(|range| range.0 <= want.0 && want.1 <= range.1))
        })
    }

    /// Sources and their ranges, both ends included.
    pub fn sources(&self) -> impl Iterator<Item = (&Source, &[(u64, u64)])> {
        self.sources.iter().map(|(source, ranges)| (source, ranges.as_slice()))
    }
}

impl FromStr for GtidSet {
    type Err = Error;

    /// Reads `uuid:1-3:5:tag:1-2,uuid:…`; blanks and line breaks are left out, as servers write them.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || malformed("GTID set", text);
        let mut set = Self::default();
        let text: String = text.chars().filter(|one| !one.is_whitespace()).collect();
        for source in text.split(',').filter(|part| !part.is_empty()) {
            let mut parts = source.split(':');
            let uuid = parse_uuid(parts.next().unwrap_or_default()).ok_or_else(wrong)?;
            let mut tag = String::new();
            for part in parts {
                if part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
                    tag = part.to_ascii_lowercase();
                    continue;
                }
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let first = first.parse().map_err(|_| wrong())?;
                let last = last.parse().map_err(|_| wrong())?;
                if first == 0 || last < first {
                    return Err(wrong());
                }
                set.add_range((uuid, tag.clone()), first, last);
            }
        }
        Ok(set)
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ((uuid, tag), ranges)) in self.sources.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(formatter, "{comma}{}", uuid_text(uuid))?;
            if !tag.is_empty() {
                write!(formatter, ":{tag}")?;
            }
            for (first, last) in ranges {
                write!(formatter, ":{first}")?;
                if last > first {
                    write!(formatter, "-{last}")?;
                }
            }
        }
        Ok(())
    }
}

/// A transaction of MariaDB's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MariaDbGtid {
    /// The stream of transactions that it belongs to.
    pub domain: u32,
    /// The server that it was first committed on.
    pub server: u32,
    /// Counts up in the domain.
    pub sequence: u64,
}

impl fmt::Display for MariaDbGtid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}-{}", self.domain, self.server, self.sequence)
    }
}

/// MariaDB's position: the last transaction of each domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidPosition {
    domains: BTreeMap<u32, (u32, u64)>,
}

impl GtidPosition {
    /// Takes a transaction as the last of its domain.
    pub fn set(&mut self, gtid: MariaDbGtid) {
        self.domains.insert(gtid.domain, (gtid.server, gtid.sequence));
    }

    /// The last transaction of each domain.
    pub fn gtids(&self) -> impl Iterator<Item = MariaDbGtid> {
        self.domains.iter().map(|(domain, (server, sequence))| MariaDbGtid {
            domain: *domain,
            server: *server,
            sequence: *sequence,
        })
    }
}

impl FromStr for GtidPosition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut position = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let mut numbers = part.splitn(3, '-');
            let mut next = || numbers.next().unwrap_or_default();
            let wrong = |_| malformed("GTID position", text);
            let domain = next().parse().map_err(wrong)?;
            let server = next().parse().map_err(wrong)?;
            let sequence = next().parse().map_err(wrong)?;
            position.set(MariaDbGtid { domain, server, sequence });
        }
        Ok(position)
    }
}

impl fmt::Display for GtidPosition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, gtid) in self.gtids().enumerate() {
            write!(formatter, "{}{gtid}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

fn malformed(what: &str, text: &str) -> Error {
    Error::new(ErrorKind::PositionLost, format!("`{text}` is no {what}"))
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    if digits.len() != 32 {
        return None;
    }
    let mut uuid = [0; 16];
    for (byte, pair) in uuid.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(uuid)
}

/// A server's UUID as it is written.
pub fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn sets_are_read_and_written_as_the_server_does() {
        let text = format!("{A}:1-3:5-7,{A}:blue:1-2");
        let set: GtidSet = format!("{A}:1-3:5-7:blue:1:2").parse().unwrap();
        assert_eq!(set.to_string(), text);
        assert_eq!(text.parse::<GtidSet>().unwrap(), set);
        assert_eq!(format!("{A}:1-3:\n 4").parse::<GtidSet>().unwrap().to_string(), format!("{A}:1-4"));
        for wrong in ["x:1", &format!("{A}:0"), &format!("{A}:3-1"), &format!("{A}:1-x")] {
            assert_eq!(wrong.parse::<GtidSet>().unwrap_err().kind, ErrorKind::PositionLost);
        }
    }

    #[test]
    fn one_set_holds_another_only_with_every_number() {
        let set: GtidSet = format!("{A}:1-10:20").parse().unwrap();
        for (other, expected) in [("1-10", true), ("3:20", true), ("10-11", false), ("20-21", false)] {
            assert_eq!(set.contains_all(&format!("{A}:{other}").parse().unwrap()), expected, "{other}");
        }
        assert!(!set.contains_all(&format!("{A}:red:1").parse().unwrap()));
    }

    #[test]
    fn positions_keep_the_last_of_each_domain() {
        let mut position: GtidPosition = "0-1-100,5-2-7".parse().unwrap();
        position.set(MariaDbGtid { domain: 0, server: 3, sequence: 101 });
        assert_eq!(position.to_string(), "0-3-101,5-2-7");
        assert!("0-1".parse::<GtidPosition>().is_err());
    }

    proptest! {
        #[test]
        fn the_order_of_adding_does_not_matter(mut numbers in prop::collection::vec(1u64..60, 0..60)) {
            let uuid = parse_uuid(A).unwrap();
            let build = |numbers: &[u64]| {
                let mut set = GtidSet::default();
                numbers.iter().for_each(|number| set.add((uuid, String::new()), *number));
                set
            };
            let shuffled = build(&numbers);
            for number in 1..60 {
                let mut one = GtidSet::default();
                one.add((uuid, String::new()), number);
                prop_assert_eq!(shuffled.contains_all(&one), numbers.contains(&number));
            }
            numbers.sort_unstable();
            prop_assert_eq!(&build(&numbers), &shuffled);
            prop_assert_eq!(shuffled.to_string().parse::<GtidSet>().unwrap(), shuffled);
        }
    }
}
