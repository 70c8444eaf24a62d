use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An entry's id: milliseconds and a number within them. Greater ones are newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryId {
    milliseconds: u64,
    number: u64,
}

impl EntryId {
    /// Of the bytes that the server sends; nothing for what is no id.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok()?.parse().ok()
    }
}

impl FromStr for EntryId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('-').and_then(|(milliseconds, number)| {
            Some(Self { milliseconds: milliseconds.parse().ok()?, number: number.parse().ok()? })
        });
        parts.ok_or_else(|| format!("`{text}` is no id of an entry"))
    }
}

impl TryFrom<String> for EntryId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<EntryId> for String {
    fn from(id: EntryId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.milliseconds, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_as_numbers() {
        let id = |text: &str| text.parse::<EntryId>().unwrap();
        assert!(id("9-1") < id("10-0") && id("10-9") < id("10-10"));
        assert_eq!(
            id("18446744073709551615-18446744073709551615").to_string(),
            "18446744073709551615-18446744073709551615"
        );
        assert!("1".parse::<EntryId>().is_err() && "a-1".parse::<EntryId>().is_err());
        assert_eq!(serde_json::to_string(&id("5-7")).unwrap(), "\"5-7\"");
    }
}
