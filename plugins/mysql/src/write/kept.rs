//! What a column would change of a value without a word.

use std::{collections::HashSet, sync::Arc};

use hub_plugin_api::types::LogicalType;

use super::fits::Target;
use crate::types::{ServerType, labels};

/// What a column does to values that go into it.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// The texts of an ENUM or SET, where others may come. The servers take a label in another case, and digits as the
    /// place of a label.
    labels: Option<Arc<HashSet<String>>>,
    /// Digits behind the point that a `float(7,4)` or `double(10,3)` rounds to.
    rounds_to: Option<i32>,
    is_set: bool,
    is_year: bool,
}

impl Kept {
    /// For values of a meaning.
    pub(super) fn new(logical: &LogicalType, target: &Target) -> Self {
        let own = match &target.server_type {
            Some(ServerType::Enum(labels)) => Some(labels.clone()),
            Some(ServerType::Set) => labels(target.declared.get(3..).unwrap_or_default()),
            _ => None,
        };
        let known = |label: &String| own.as_ref().is_some_and(|own| own.contains(label));
        let all_known = matches!(logical, LogicalType::Enum(labels) if labels.iter().all(known));
        let is_float = matches!(target.server_type, Some(ServerType::Float | ServerType::Double));
        let scale = || target.declared.split_once(',')?.1.split_once(')')?.0.trim().parse().ok();
        Self {
            is_set: target.server_type == Some(ServerType::Set),
            is_year: target.server_type == Some(ServerType::Year),
            rounds_to: is_float.then(scale).flatten(),
            labels: own.filter(|_| !all_known).map(|labels| Arc::new(labels.into_iter().collect())),
        }
    }

    /// Fails for a text that is none of the labels.
    pub(super) fn check_text(&self, text: &str) -> Result<(), String> {
        let Some(labels) = &self.labels else { return Ok(()) };
        let known = match self.is_set {
            true => text.is_empty() || text.split(',').all(|part| labels.contains(part)),
            false => labels.contains(text),
        };
        if known { Ok(()) } else { Err(format!("is `{text}`, which is no label of the column")) }
    }

    /// Fails for a number that would be rounded, as the servers round (`Field_real::truncate` of both).
    pub(super) fn check_double(&self, value: f64, single: bool) -> Result<(), String> {
        let Some(digits) = self.rounds_to else { return Ok(()) };
        let unit = 10_f64.powi(digits);
        let whole = value.floor();
        let rounded = whole + ((value - whole) * unit).round_ties_even() / unit;
        let kept = if single { rounded as f32 == value as f32 } else { rounded == value };
        if kept { Ok(()) } else { Err("has more digits behind the point than the column".into()) }
    }

    /// Writes out a year. Fails for one that the server would take for one of this century or the last.
    pub(super) fn put_year(&self, digits: &mut String) -> Result<(), String> {
        if !self.is_year || digits.len() >= 4 {
            return Ok(());
        }
        if digits != "0" {
            return Err(format!("is the year {digits}, which the column has not"));
        }
        // One zero of a file is the year 2000.
        digits.push_str("000");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(logical: &LogicalType, declared: &str) -> Kept {
        let server_type = ServerType::of_declared(declared);
        Kept::new(logical, &Target { server_type, declared: declared.into(), ..Target::any() })
    }

    #[test]
    fn texts_are_labels_as_they_are_written() {
        let of_enum = kept(&LogicalType::Text, "enum('abc','','it''s')");
        for (text, known) in [("abc", true), ("", true), ("it's", true), ("ABC", false), ("1", false)] {
            assert_eq!(of_enum.check_text(text).is_ok(), known, "{text}");
        }
        let set = kept(&LogicalType::Text, "set('a','b')");
        for (text, known) in [("b,a", true), ("", true), ("A", false), ("1", false), ("a,", false)] {
            assert_eq!(set.check_text(text).is_ok(), known, "{text}");
        }
        let same = kept(&LogicalType::Enum(vec!["a".into()]), "enum('b','a')");
        assert!(same.labels.is_none(), "nothing is looked up where nothing else can come");
        assert!(kept(&LogicalType::Text, "varchar(9)").check_text("1").is_ok());
    }

    #[test]
    fn numbers_are_kept_to_the_last_digit() {
        let double = kept(&LogicalType::Float64, "double(10,3)");
        assert!(double.check_double(1.125, false).is_ok() && double.check_double(-0.5, false).is_ok());
        assert!(double.check_double(1.0625, false).is_err());
        let float = kept(&LogicalType::Float32, "float(7,4) unsigned");
        assert!(float.check_double(f64::from(2.0625_f32), true).is_ok());
        assert!(float.check_double(f64::from(2.062_512_3_f32), true).is_err());
        assert!(kept(&LogicalType::Float64, "double").check_double(0.1, false).is_ok());
        let year = kept(&LogicalType::Int16, "year(4)");
        let written = |kept: &Kept, digits: &str| {
            let mut text = digits.to_owned();
            kept.put_year(&mut text).map(|()| text)
        };
        assert_eq!(written(&year, "0").as_deref(), Ok("0000"));
        assert_eq!(written(&year, "2155").as_deref(), Ok("2155"));
        assert!(written(&year, "24").is_err());
        let int = kept(&LogicalType::Int16, "int");
        assert_eq!((written(&int, "0"), written(&int, "24")), (Ok("0".into()), Ok("24".into())));
    }
}
