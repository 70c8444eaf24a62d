//! A YAML document in which every key and every value knows its place.

use std::fmt;

use hub_plugin_api::Value;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number};
use serde_saphyr::{DuplicateKeyPolicy, MessageFormatter, Spanned, UserMessageFormatter};

use super::problem::{Place, Problem};

/// A value and where it begins. Not `Debug`: it may be a password.
#[derive(Clone)]
pub(super) struct Node {
    pub place: Place,
    pub value: NodeValue,
}

#[derive(Clone)]
pub(super) enum NodeValue {
    Null,
    Boolean(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a map, and its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub key: String,
    pub place: Place,
    pub node: Node,
}

impl Node {
    /// Reads a document. Keys may be there twice: [`Node::duplicates`] finds them with their path.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let options = serde_saphyr::options! {
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            strict_booleans: true,
            leading_zero_numbers_as_strings: true,
            underscored_numbers_as_strings: true,
            with_snippet: false,
        };
        serde_saphyr::from_str_with_options::<Self>(text, options).map_err(|error| {
            if let Some(problem) = tab_in_indentation(text) {
                return problem;
            }
            let place = error
                .location()
                .map_or(Place::START, |location| Place::new(location.line(), location.column()));
            let reason = UserMessageFormatter.format_message(&error).into_owned();
            Problem::new(place, "", format!("The file is not valid YAML: {}", reason.trim_end_matches('.')))
        })
    }

    /// What it is, for messages that must not show the value.
    pub fn kind(&self) -> &'static str {
        match self.value {
            NodeValue::Null => "nothing",
            NodeValue::Boolean(_) => "true or false",
            NodeValue::Number(_) => "a number",
            NodeValue::Text(_) => "text",
            NodeValue::List(_) => "a list",
            NodeValue::Map(_) => "a map",
        }
    }

    /// The value as JSON.
    pub fn to_json(&self) -> Value {
        match &self.value {
            NodeValue::Null => Value::Null,
            NodeValue::Boolean(value) => Value::Bool(*value),
            NodeValue::Number(value) => Value::Number(value.clone()),
            NodeValue::Text(value) => Value::String(value.clone()),
            NodeValue::List(items) => items.iter().map(Self::to_json).collect(),
            NodeValue::Map(entries) => Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// Reports every key that is twice in one map.
    pub fn duplicates(&self, path: &str, problems: &mut Vec<Problem>) {
        match &self.value {
            NodeValue::Map(entries) => {
                for (index, entry) in entries.iter().enumerate() {
                    let path = join(path, &entry.key);
                    if let Some(first) = entries[..index].iter().find(|one| one.key == entry.key) {
                        problems.push(
                            Problem::new(entry.place, &path, format!("`{}` is there twice", entry.key))
                                .with_hint(format!(
                                    "The first one is on line {}; keep one of them",
                                    first.place.line
                                )),
                        );
                    }
                    entry.node.duplicates(&path, problems);
                }
            }
            NodeValue::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.duplicates(&format!("{path}[{index}]"), problems);
                }
            }
            _ => {}
        }
    }

    /// Calls `visit` with every text in the value and its path.
    pub fn each_text<'a>(&'a self, path: &str, visit: &mut dyn FnMut(&str, Place, &'a str)) {
        match &self.value {
            NodeValue::Text(text) => visit(path, self.place, text),
            NodeValue::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.each_text(&format!("{path}[{index}]"), visit);
                }
            }
            NodeValue::Map(entries) => {
                for entry in entries {
                    entry.node.each_text(&join(path, &entry.key), visit);
                }
            }
            _ => {}
        }
    }
}

/// The parser tells a tab where the value before it begins, which may be lines above. Only looked for in what is not
/// valid anyway: a text of several lines may hold tabs.
fn tab_in_indentation(text: &str) -> Option<Problem> {
    let indented = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let (index, line) = text
        .lines()
        .enumerate()
        .find(|(_, line)| line[..indented(line)].contains('\t') && !line.trim().is_empty())?;
    let column = line.find('\t').unwrap_or_default() as u64 + 1;
    let problem = Problem::new(
        Place::new(index as u64 + 1, column),
        "",
        "The file is not valid YAML: a tab in an indentation",
    );
    Some(problem.with_hint("Indent with spaces"))
}

/// The path of a field inside a map.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<NodeValue>::deserialize(deserializer)?;
        let place = Place::new(spanned.referenced.line(), spanned.referenced.column());
        Ok(Self { place, value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for NodeValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = NodeValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<NodeValue, E> {
        Ok(NodeValue::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<NodeValue, E> {
        Ok(NodeValue::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<NodeValue, D::Error> {
        NodeValue::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<NodeValue, E> {
        Ok(NodeValue::Boolean(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<NodeValue, E> {
        Ok(NodeValue::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<NodeValue, E> {
        Ok(NodeValue::Number(value.into()))
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<NodeValue, E> {
        Err(E::custom("A whole number has more than 64 bits"))
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<NodeValue, E> {
        Err(E::custom("A whole number has more than 64 bits"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<NodeValue, E> {
        // A whole number beyond 64 bits also arrives here, already rounded.
        if value.fract() == 0.0 && value.abs() >= 9_007_199_254_740_992.0 {
            return Err(E::custom("A number has more digits than can be kept; put it in quotes"));
        }
        Number::from_f64(value).map(NodeValue::Number).ok_or_else(|| E::custom("A number is not finite"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<NodeValue, E> {
        Ok(NodeValue::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<NodeValue, E> {
        Ok(NodeValue::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<NodeValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(NodeValue::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NodeValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let place = Place::new(key.referenced.line(), key.referenced.column());
            entries.push(Entry { key: key.value, place, node: map.next_value()? });
        }
        Ok(NodeValue::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(node: &Node) -> &[Entry] {
        match &node.value {
            NodeValue::Map(entries) => entries,
            _ => panic!("a map was expected, not {}", node.kind()),
        }
    }

    #[test]
    fn keys_and_values_know_their_line_and_column() {
        let node = Node::parse("a: 1\nb:\n  c: [x, true]\n  d: \"${env:X}\"\n").unwrap();
        let b = &map(&node)[1];
        assert_eq!((b.place, map(&b.node)[0].place), (Place::new(2, 1), Place::new(3, 3)));
        let NodeValue::List(items) = &map(&b.node)[0].node.value else { panic!("a list was expected") };
        assert_eq!(items[1].place, Place::new(3, 10));
        assert_eq!(map(&b.node)[1].node.place, Place::new(4, 6));
        assert_eq!(node.to_json(), hub_plugin_api::json!({"a": 1, "b": {"c": ["x", true], "d": "${env:X}"}}));
    }

    #[test]
    fn plain_words_of_old_yaml_stay_text() {
        let node = Node::parse("[yes, no, on, off, 0123, 1_000, ~, 1.5, -7]").unwrap();
        assert_eq!(
            node.to_json(),
            hub_plugin_api::json!(["yes", "no", "on", "off", "0123", "1_000", null, 1.5, -7])
        );
    }

    #[test]
    fn keys_that_are_there_twice_are_found_with_their_path() {
        let node = Node::parse("a: 1\nb:\n  - c: 1\n    c: 2\na: 3\n").unwrap();
        let mut problems = Vec::new();
        node.duplicates("", &mut problems);
        let found: Vec<_> =
            problems.iter().map(|one| (one.field.as_str(), one.place.unwrap().line)).collect();
        assert_eq!(found, [("b[0].c", 4), ("a", 5)]);
    }

    #[test]
    fn numbers_that_would_be_rounded_are_refused() {
        assert!(Node::parse("a: 123456789012345678901234567890").err().is_some());
    }
}
