//! The parts that a statement's rows are cut into. Every row is in exactly one.

use hub_plugin_api::{Error, Result, Value};
use serde::{Deserialize, Serialize};

use super::shape::Shape;
use crate::{
    sql::read::{BoundValue, Selection, compare, inner_column, null_condition},
    types::ServerType,
};

/// One part: rows behind `after` and up to `through`, whose first column is above `from` and up to `to`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// The columns that the bounds are of; empty: all rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The whole tuple, not in the range itself, unless ties are read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<String>>,
    /// The whole tuple, in the range itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Vec<String>>,
    /// Of the first column, not in the range itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Of the first column, in the range itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Instead: the rows that have null in one of the columns.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nulls: bool,
    /// Instead: no row. It stands for a table without any, whose columns are wanted all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty: bool,
}

impl Range {
    /// The range as a split holds it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn to_opaque(&self) -> Result<Value> {
        Ok(serde_json::to_value(self)?)
    }

    /// The range of a split.
    ///
    /// # Errors
    /// When the split is not one of ours.
    pub fn from_opaque(opaque: &Value) -> Result<Self> {
        Ok(serde_json::from_value(opaque.clone())?)
    }

    /// What to ask the server for. `ordered` where positions are wanted, `inclusive` where ties are read again.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] when the statement has lost one of the columns.
    pub fn selection(&self, shape: &Shape, ordered: bool, inclusive: bool) -> Result<Selection> {
        let place = |name: &String| {
            let missing =
                || Error::config("statement", format!("The statement has no column `{name}` any more"));
            shape.position(name).ok_or_else(missing)
        };
        let places = self.columns.iter().map(place).collect::<Result<Vec<_>>>()?;
        if self.empty {
            return Ok(Selection { condition: vec!["FALSE".into()], order: Vec::new() });
        }
        if self.nulls {
            return Ok(Selection { condition: vec![null_condition(&places)], order: Vec::new() });
        }
        let tuple = |values: &[String], operator, or_equal| {
            let values: Vec<_> =
                places.iter().zip(values).map(|(place, text)| bound(shape, *place, text)).collect();
            compare(&places, operator, or_equal, &values)
        };
        let first = |value: &String, operator, or_equal| {
            compare(&places[..1], operator, or_equal, &[bound(shape, places[0], value)])
        };
        let mut selection = Selection::default();
        let after = self.after.as_ref().map(|after| tuple(after, '>', inclusive));
        let through = self.through.as_ref().map(|through| tuple(through, '<', true));
        let from = self.from.as_ref().map(|from| first(from, '>', false));
        let to = self.to.as_ref().map(|to| first(to, '<', true));
        selection.condition.extend([after, through, from, to].into_iter().flatten());
        if ordered {
            selection.order = places.iter().map(|place| inner_column(*place)).collect();
        }
        Ok(selection)
    }
}

/// A value of a bound, as what its column is compared with.
fn bound<'a>(shape: &Shape, place: usize, text: &'a str) -> BoundValue<'a> {
    let number = matches!(
        shape.columns[place].server_type,
        ServerType::Integer { .. } | ServerType::Decimal { .. } | ServerType::Year
    );
    BoundValue { text, number }
}

/// Bounds that cut the whole numbers from `least` to `greatest` into at most `parts` ranges of the same width.
pub fn whole_number_bounds(least: i128, greatest: i128, parts: u32) -> Vec<String> {
    let width = greatest.saturating_sub(least);
    let parts = i128::from(parts).min(width + 1);
    (1..parts).map(|part| (least + width * part / parts).to_string()).collect()
}

/// Cuts a range at bounds of its first column: one range more than bounds.
pub fn cut(whole: &Range, bounds: &[String]) -> Vec<Range> {
    let edges: Vec<_> = std::iter::once(None).chain(bounds.iter().cloned().map(Some)).chain([None]).collect();
    edges
        .windows(2)
        .map(|edge| Range { from: edge[0].clone(), to: edge[1].clone(), ..whole.clone() })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_key_is_in_exactly_one_range(least in -1000i128..1000, width in 0i128..5000, parts in 1u32..20) {
            let bounds = whole_number_bounds(least, least + width, parts);
            let ranges = cut(&Range { columns: vec!["id".into()], ..Range::default() }, &bounds);
            prop_assert!(ranges.len() <= parts as usize);
            let edge = |edge: &Option<String>| edge.as_ref().map(|edge| edge.parse::<i128>().unwrap());
            for key in least - 3..=least + width + 3 {
                let holding = ranges.iter().filter(|range| {
                    edge(&range.from).is_none_or(|from| key > from) && edge(&range.to).is_none_or(|to| key <= to)
                });
                prop_assert_eq!(holding.count(), 1);
            }
        }
    }
}
