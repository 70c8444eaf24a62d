//! The commands that are sent, as pure functions. Arguments are counted bytes on the wire, so no name or value can be
//! taken for anything else; only a pattern has characters of its own.

use redis::{Cmd, Pipeline};

use crate::types::Kind;

/// `SCAN cursor [MATCH pattern] COUNT count [TYPE type]`.
pub fn scan(cursor: u64, pattern: Option<&[u8]>, count: u64, kind: Option<&str>) -> Cmd {
    let mut command = redis::cmd("SCAN");
    command.arg(cursor);
    if let Some(pattern) = pattern {
        command.arg("MATCH").arg(pattern);
    }
    command.arg("COUNT").arg(count);
    if let Some(kind) = kind {
        command.arg("TYPE").arg(kind);
    }
    command
}

/// Asks how many elements a collection has.
pub fn length(pipeline: &mut Pipeline, kind: &Kind, key: &[u8]) {
    let name = match kind {
        Kind::Hash => "HLEN",
        Kind::List => "LLEN",
        Kind::Set => "SCARD",
        Kind::SortedSet => "ZCARD",
        Kind::Stream => "XLEN",
        Kind::String | Kind::Json | Kind::Other(_) => "STRLEN",
    };
    pipeline.cmd(name).arg(key);
}

/// Asks for a whole value.
pub fn whole(pipeline: &mut Pipeline, kind: &Kind, key: &[u8]) {
    match kind {
        Kind::Hash => pipeline.cmd("HGETALL").arg(key),
        Kind::List => pipeline.cmd("LRANGE").arg(key).arg(0).arg(-1),
        Kind::Set => pipeline.cmd("SMEMBERS").arg(key),
        Kind::SortedSet => pipeline.cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES"),
        Kind::Stream => pipeline.cmd("XRANGE").arg(key).arg("-").arg("+"),
        Kind::Json => pipeline.cmd("JSON.GET").arg(key),
        Kind::String | Kind::Other(_) => pipeline.cmd("GET").arg(key),
    };
}

/// Whether a pattern matches a text, as the server decides it (Redis manual, command KEYS).
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut here) = (0, 0);
    // Where to go on when what follows the last `*` does not match.
    let mut again: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(at) {
            Some(b'*') => {
                again = Some((at + 1, here));
                at += 1;
                continue;
            }
            None if here == text.len() => return true,
            None => None,
            Some(_) => text.get(here).and_then(|byte| one(&pattern[at..], *byte)),
        };
        match (step, again) {
            (Some(length), _) => (at, here) = (at + length, here + 1),
            (None, Some((pattern_at, text_at))) if text_at < text.len() => {
                again = Some((pattern_at, text_at + 1));
                (at, here) = (pattern_at, text_at + 1);
            }
            _ => return false,
        }
    }
}

/// How much of the pattern matches one byte; nothing where it does not.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern[0] {
        b'?' => Some(1),
        b'\\' if pattern.len() > 1 => (pattern[1] == byte).then_some(2),
        b'[' => {
            let mut at = 1;
            let negated = pattern.get(at) == Some(&b'^');
            at += usize::from(negated);
            let mut found = false;
            loop {
                match pattern.get(at) {
                    // The server takes an open class to end with the pattern.
                    None => break,
                    Some(b']') => {
                        at += 1;
                        break;
                    }
                    Some(b'\\') if pattern.len() > at + 1 => {
                        found |= pattern[at + 1] == byte;
                        at += 2;
                    }
                    Some(first) if pattern.len() > at + 2 && pattern[at + 1] == b'-' => {
                        let last = pattern[at + 2];
                        let (low, high) = (*first.min(&last), *first.max(&last));
                        found |= (low..=high).contains(&byte);
                        at += 3;
                    }
                    Some(single) => {
                        found |= *single == byte;
                        at += 1;
                    }
                }
            }
            (found != negated).then_some(at)
        }
        single => (single == byte).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(command: &Cmd) -> String {
        String::from_utf8_lossy(&command.get_packed_command()).replace("\r\n", " ")
    }

    #[test]
    fn names_are_counted_bytes() {
        insta::assert_snapshot!(shown(&scan(7, Some(b"a b\r\nFLUSHALL*"), 10, Some("hash"))));
        insta::assert_snapshot!(shown(&scan(0, None, 1000, None)));
    }

    #[test]
    fn patterns_match_as_the_server_says() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("user:*", "user:1", true),
            ("user:*", "user", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("*a*b*c", "xxaxxbxxbxc", true),
            ("*a*b*c", "xxaxxbxxbx", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("**", "anything", true),
            ("a[\\]]b", "a]b", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
