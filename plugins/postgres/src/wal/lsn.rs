use std::{fmt, str::FromStr};

use hub_plugin_api::{Error, ErrorKind};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A place in the WAL: bytes since its beginning, written as PostgreSQL does, `16/B374D848`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let half = |digits: &str| match digits.len() {
            1..=8 if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                u64::from_str_radix(digits, 16).ok()
            }
            _ => None,
        };
        let parse = || {
            let (high, low) = text.split_once('/')?;
            Some(Self(half(high)? << 32 | half(low)?))
        };
        parse()
            .ok_or_else(|| Error::new(ErrorKind::InvalidData, format!("`{text}` is not a place in the WAL")))
    }
}

impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| de::Error::custom(error.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written_and_ordered_as_numbers() {
        for number in [0, 1, 0x16_B374_D848, u64::MAX] {
            assert_eq!(Lsn(number).to_string().parse::<Lsn>().unwrap(), Lsn(number));
        }
        assert_eq!(Lsn(0x16_B374_D848).to_string(), "16/B374D848");
        assert!("9/F".parse::<Lsn>().unwrap() < "A/0".parse::<Lsn>().unwrap());
        for wrong in ["", "/", "1", "1/", "x/1", "123456789/0", "1/2/3", "+1/2"] {
            assert!(wrong.parse::<Lsn>().is_err(), "{wrong}");
        }
    }
}
