//! Character sets of several bytes a character.
//!
//! The servers read some characters otherwise than the WHATWG Encoding Standard, <https://encoding.spec.whatwg.org>:
//! those differences stand here, as `CONVERT(… USING utf8mb4)` of MySQL 8 and MariaDB tells them. What each application
//! defines for itself in a set is refused.

use std::ops::RangeInclusive;

use encoding_rs::{BIG5, EUC_JP, EUC_KR, Encoding, GB18030, GBK, SHIFT_JIS};

/// A character set of several bytes a character.
#[derive(Debug, PartialEq, Eq)]
pub struct Several {
    encoding: &'static Encoding,
    /// Characters that the servers read otherwise, by their bytes as a number.
    others: &'static [(u32, char)],
    /// Bytes that mean what an application says, where there are such.
    own: Option<RangeInclusive<u32>>,
}

static CP932: Several = Several { encoding: SHIFT_JIS, others: &[], own: None };
static EUCKR: Several = Several { encoding: EUC_KR, others: &[], own: None };
static GBK_: Several = Several { encoding: GBK, others: &[], own: None };
static GB2312: Several =
    Several { encoding: GBK, others: &[(0xa1a4, '\u{30fb}'), (0xa1aa, '\u{2015}')], own: None };
static SJIS: Several = Several {
    encoding: SHIFT_JIS,
    others: &[
        (0x815f, '\\'),
        (0x8160, '\u{301c}'),
        (0x8161, '\u{2016}'),
        (0x817c, '\u{2212}'),
        (0x8191, '\u{a2}'),
        (0x8192, '\u{a3}'),
        (0x81ca, '\u{ac}'),
    ],
    own: None,
};
static UJIS: Several = Several {
    encoding: EUC_JP,
    others: &[
        (0xa1c0, '\\'),
        (0xa1c1, '\u{301c}'),
        (0xa1c2, '\u{2016}'),
        (0xa1dd, '\u{2212}'),
        (0xa1f1, '\u{a2}'),
        (0xa1f2, '\u{a3}'),
        (0xa2cc, '\u{ac}'),
        (0x8f_a2b7, '~'),
    ],
    own: Some(0xf5a1..=0xfefe),
};
static EUCJPMS: Several =
    Several { encoding: EUC_JP, others: &[(0x8f_a2c3, '\u{ffe4}')], own: Some(0xf5a1..=0xfefe) };
static BIG5_: Several = Several {
    encoding: BIG5,
    others: &[
        (0xa145, '\u{2022}'),
        (0xa14e, '\u{ff64}'),
        (0xa15a, '\u{fffd}'),
        (0xa1c2, '\u{203e}'),
        (0xa1c3, '\u{fffd}'),
        (0xa1c5, '\u{fffd}'),
        (0xa1e3, '\u{223c}'),
        (0xa1f2, '\u{2641}'),
        (0xa1f3, '\u{2609}'),
        (0xa1fe, '\u{fffd}'),
        (0xa240, '\u{fffd}'),
        (0xa241, '\u{ff0f}'),
        (0xa242, '\u{ff3c}'),
        (0xa244, '\u{a5}'),
        (0xa246, '\u{a2}'),
        (0xa247, '\u{a3}'),
        (0xa2cc, '\u{fffd}'),
        (0xa2ce, '\u{fffd}'),
    ],
    own: Some(0xc6a1..=0xc8fe),
};
static GB18030_: Several = Several {
    encoding: GB18030,
    others: &[
        (0xa3a0, '\u{e5e5}'),
        (0xa6d9, '\u{e78d}'),
        (0xa6da, '\u{e78e}'),
        (0xa6db, '\u{e78f}'),
        (0xa6dc, '\u{e790}'),
        (0xa6dd, '\u{e791}'),
        (0xa6de, '\u{e792}'),
        (0xa6df, '\u{e793}'),
        (0xa6ec, '\u{e794}'),
        (0xa6ed, '\u{e795}'),
        (0xa6f3, '\u{e796}'),
        (0xfe59, '\u{e81e}'),
        (0xfe61, '\u{e826}'),
        (0xfe66, '\u{e82b}'),
        (0xfe67, '\u{e82c}'),
        (0xfe6d, '\u{e832}'),
        (0xfe7e, '\u{e843}'),
        (0xfe90, '\u{e854}'),
        (0xfea0, '\u{e864}'),
    ],
    own: None,
};

impl Several {
    /// The set that the servers call so.
    pub fn of(name: &str) -> Option<&'static Self> {
        Some(match name {
            "big5" => &BIG5_,
            "cp932" => &CP932,
            "eucjpms" => &EUCJPMS,
            "euckr" => &EUCKR,
            "gb18030" => &GB18030_,
            "gb2312" => &GB2312,
            "gbk" => &GBK_,
            "sjis" => &SJIS,
            "ujis" => &UJIS,
            _ => return None,
        })
    }

    /// Writes text as UTF-8; none when it is not of this set.
    pub fn decode(&self, bytes: &[u8], into: &mut Vec<u8>) -> Option<()> {
        let mut rest = bytes;
        // Characters that the standard reads alike are decoded together.
        let mut alike = 0;
        if !self.others.is_empty() {
            while alike < rest.len() {
                let width = self.width(&rest[alike..]);
                let character = rest.get(alike..alike + width)?;
                let code = character.iter().fold(0, |code, byte| code << 8 | u32::from(*byte));
                if self.own.as_ref().is_some_and(|own| own.contains(&code)) {
                    return None;
                }
                match self.others.iter().find(|(other, _)| *other == code) {
                    None => alike += width,
                    Some((_, character)) => {
                        self.decode_alike(&rest[..alike], into)?;
                        into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                        (rest, alike) = (&rest[alike + width..], 0);
                    }
                }
            }
        }
        self.decode_alike(rest, into)
    }

    fn decode_alike(&self, bytes: &[u8], into: &mut Vec<u8>) -> Option<()> {
        let text = self.encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
        into.extend_from_slice(text.as_bytes());
        Some(())
    }

    /// How many bytes the first character has.
    fn width(&self, bytes: &[u8]) -> usize {
        match bytes {
            [0..=0x80, ..] => 1,
            // Katakana of half a width.
            [0xa0..=0xdf, ..] if self.encoding == SHIFT_JIS => 1,
            [0x8f, ..] if self.encoding == EUC_JP => 3,
            [_, b'0'..=b'9', ..] if self.encoding == GB18030 => 4,
            _ => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_those_of_the_servers() {
        let of = |name: &str, bytes: &[u8]| {
            let mut text = Vec::new();
            Several::of(name).unwrap().decode(bytes, &mut text).map(|()| String::from_utf8(text).unwrap())
        };
        assert_eq!(of("sjis", &[0x93, 0xfa, 0x81, 0x60, 0xb1, b'a']).as_deref(), Some("日〜ｱa"));
        assert_eq!(of("cp932", &[0x93, 0xfa, 0x81, 0x60, 0xb1, b'a']).as_deref(), Some("日～ｱa"));
        assert_eq!(of("eucjpms", &[0x8f, 0xa2, 0xc3, 0x8e, 0xb1]).as_deref(), Some("￤ｱ"));
        assert_eq!(of("gb18030", &[0x81, 0x30, 0x81, 0x30, 0xa6, 0xd9]).as_deref(), Some("\u{80}\u{e78d}"));
        assert_eq!(of("gbk", &[0xc4, 0xe3, b'a']).as_deref(), Some("你a"));
        assert_eq!(of("big5", &[0xa7, 0x41]).as_deref(), Some("你"));
        for (name, bytes) in [
            ("big5", &[0xc6, 0xa1][..]),
            ("ujis", &[0xf9, 0xa1]),
            ("sjis", &[b'a', 0x81]),
            ("gb18030", &[0x81, 0x30]),
        ] {
            assert_eq!(of(name, bytes), None, "{name}");
        }
    }
}
