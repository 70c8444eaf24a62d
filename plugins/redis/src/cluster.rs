//! What a cluster looks like: its masters, and which of them has a key.
//! Source of the facts: Redis cluster specification, "Key distribution model" and "Hash tags".

use hub_plugin_api::{Error, ErrorKind, Result};

use crate::{
    connection::{Address, Session},
    reply,
};

/// How many slots a cluster has.
pub const SLOTS: u16 = 16_384;

/// A node that keys are written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// The cluster's name of the node, which outlives its address; empty outside a cluster.
    pub id: String,
    /// Where it is.
    pub address: Address,
    /// Its slots: first and last.
    pub slots: Vec<(u16, u16)>,
}

impl Master {
    /// A server that is no part of a cluster.
    pub fn of_all_slots(address: Address) -> Self {
        Self { id: String::new(), address, slots: vec![(0, SLOTS - 1)] }
    }

    /// Whether it has a slot.
    pub fn has(&self, slot: u16) -> bool {
        self.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }
}

/// Asks a node for every master, by their first slot. A node that does not know its own address is at `host`.
///
/// # Errors
/// When it cannot be asked, or is no part of a cluster that has all slots.
pub async fn masters(session: &mut Session, host: &str) -> Result<Vec<Master>> {
    const DOING: &str = "Could not ask for the cluster's nodes";
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    let answer = session.call(DOING, &command).await.map_err(|error| match error.source.as_deref() {
        Some(text) if text.contains("cluster support disabled") => {
            error.with_field("deployment").with_hint("The server is no part of a cluster: use `single-node`")
        }
        _ => error,
    })?;
    let mut masters: Vec<Master> = Vec::new();
    let mut covered: u32 = 0;
    for range in reply::items(DOING, answer)? {
        let mut range = reply::items(DOING, range)?.into_iter();
        let mut next = || range.next().unwrap_or(redis::Value::Nil);
        let slot = |value| {
            u16::try_from(reply::integer(DOING, value)?)
                .map_err(|_| Error::new(ErrorKind::Protocol, "A slot of the cluster is out of range"))
        };
        let (first, last) = (slot(next())?, slot(next())?);
        let mut node = reply::items(DOING, next())?.into_iter();
        let mut part = || node.next().unwrap_or(redis::Value::Nil);
        let name = reply::text(DOING, part())?;
        let port = u16::try_from(reply::integer(DOING, part())?)
            .map_err(|_| Error::new(ErrorKind::Protocol, "A port of the cluster is out of range"))?;
        let id = reply::text(DOING, part())?;
        let name = if name.is_empty() || name == "?" { host.to_owned() } else { name };
        covered += u32::from(last - first) + 1;
        match masters.iter_mut().find(|master| master.id == id) {
            Some(master) => master.slots.push((first, last)),
            None => masters.push(Master { id, address: (name, port), slots: vec![(first, last)] }),
        }
    }
    if covered != u32::from(SLOTS) {
        let message = format!("Only {covered} of the cluster's {SLOTS} slots have a master");
        return Err(Error::new(ErrorKind::Unavailable, message)
            .with_hint("`redis-cli --cluster check` says which are missing"));
    }
    masters.sort_by_key(|master| master.slots.iter().map(|(first, _)| *first).min());
    Ok(masters)
}

/// The slot of a key: CRC16 (XMODEM) of the key, or of what stands in its first pair of braces.
pub fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    let mut crc: u16 = 0;
    for byte in tag.unwrap_or(key) {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
    }
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // Of the specification's own check value, and of CLUSTER KEYSLOT.
        assert_eq!(slot_of(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"{foo}.bar"), 12_182);
        assert_eq!(slot_of(b"a{foo}{bar}"), 12_182);
        assert_ne!(slot_of(b"{}foo"), slot_of(b"foo"));
        assert_ne!(slot_of(b"{foo"), slot_of(b"foo"));
    }
}
