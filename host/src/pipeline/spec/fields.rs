//! Reads the fields of a map: wrong types, missing and unknown fields become problems, and reading goes on.

use super::{
    problem::{Place, Problem},
    tree::{Entry, Node, NodeValue, join},
};

/// The fields of one map of the file.
pub(super) struct Fields<'a> {
    path: String,
    place: Place,
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    /// The fields of `node`, which must be a map with none but the `known` ones.
    pub fn of(node: &'a Node, path: &str, known: &[&str], problems: &mut Vec<Problem>) -> Option<Self> {
        let NodeValue::Map(entries) = &node.value else {
            let what = if path.is_empty() { "The file" } else { "It" };
            problems.push(Problem::new(
                node.place,
                path,
                format!("{what} must be a map of fields, not {}", node.kind()),
            ));
            return None;
        };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            problems.push(
                Problem::new(
                    entry.place,
                    join(path, &entry.key),
                    format!("There is no field `{}` here", entry.key),
                )
                .with_hint(suggestion(&entry.key, known)),
            );
        }
        Some(Self { path: path.to_owned(), place: node.place, entries })
    }

    /// Whether `node` is a map, whatever its fields are.
    pub fn of_any(node: &Node, path: &str, problems: &mut Vec<Problem>) -> bool {
        let is_map = matches!(node.value, NodeValue::Map(_));
        if !is_map {
            let message = format!("It must be a map of parameters, not {}", node.kind());
            problems.push(Problem::new(node.place, path, message));
        }
        is_map
    }

    /// A field's value; null counts as absent.
    pub fn get(&self, name: &str) -> Option<&'a Node> {
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        (!matches!(entry.node.value, NodeValue::Null)).then_some(&entry.node)
    }

    /// A field's value, which must be there.
    pub fn required(&self, name: &str, example: &str, problems: &mut Vec<Problem>) -> Option<&'a Node> {
        let node = self.get(name);
        if node.is_none() {
            let place =
                self.entries.iter().find(|entry| entry.key == name).map_or(self.place, |entry| entry.place);
            problems.push(
                Problem::new(place, self.path_of(name), format!("`{name}` is required"))
                    .with_hint(format!("For example: `{example}`")),
            );
        }
        node
    }

    /// The path of a field of this map.
    pub fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Whether a field is true; absent is no.
    pub fn boolean(&self, name: &str, problems: &mut Vec<Problem>) -> bool {
        match self.get(name).map(|node| &node.value) {
            None => false,
            Some(NodeValue::Boolean(value)) => *value,
            Some(_) => {
                self.wrong_type(name, "true or false", problems);
                false
            }
        }
    }

    /// A whole number, at least 1.
    pub fn count(&self, name: &str, default: u64, max: u64, problems: &mut Vec<Problem>) -> u64 {
        let Some(node) = self.get(name) else { return default };
        let number = match &node.value {
            NodeValue::Number(number) => number.as_u64().filter(|number| (1..=max).contains(number)),
            _ => None,
        };
        number.unwrap_or_else(|| {
            let range = if max == u64::MAX { "of at least 1".into() } else { format!("from 1 to {max}") };
            self.wrong_type(name, &format!("a whole number {range}"), problems);
            default
        })
    }

    /// One of several words.
    pub fn choice<T: Copy + Default>(
        &self,
        name: &str,
        words: &[(&str, T)],
        problems: &mut Vec<Problem>,
    ) -> T {
        let Some(node) = self.get(name) else { return T::default() };
        let given = match &node.value {
            NodeValue::Text(given) => words.iter().find(|(word, _)| word == given),
            _ => None,
        };
        given.map_or_else(
            || {
                let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                self.wrong_type(name, &format!("one of {}", known.join(", ")), problems);
                T::default()
            },
            |(_, value)| *value,
        )
    }

    /// A quantity with a unit, read by `parse`.
    pub fn quantity(
        &self,
        name: &str,
        default: u64,
        parse: impl Fn(&str) -> Result<u64, String>,
        problems: &mut Vec<Problem>,
    ) -> u64 {
        let Some(node) = self.get(name) else { return default };
        let text = match &node.value {
            NodeValue::Text(text) => text.clone(),
            NodeValue::Number(number) => number.to_string(),
            _ => {
                self.wrong_type(name, "a whole number and a unit", problems);
                return default;
            }
        };
        parse(&text).unwrap_or_else(|message| {
            problems.push(Problem::new(node.place, self.path_of(name), message));
            default
        })
    }

    fn wrong_type(&self, name: &str, expected: &str, problems: &mut Vec<Problem>) {
        let Some(node) = self.get(name) else { return };
        let given = match &node.value {
            NodeValue::Text(text) => format!("`{text}`"),
            NodeValue::Number(number) => format!("`{number}`"),
            NodeValue::Boolean(value) => format!("`{value}`"),
            _ => node.kind().to_owned(),
        };
        let message = format!("`{name}` must be {expected}, not {given}");
        problems.push(Problem::new(node.place, self.path_of(name), message));
    }
}

/// A text that is not secret, from a node of the file.
pub(super) fn text<'a>(node: &'a Node, path: &str, problems: &mut Vec<Problem>) -> Option<&'a str> {
    match &node.value {
        NodeValue::Text(text) if !text.is_empty() => Some(text),
        NodeValue::Text(_) => {
            problems.push(Problem::new(node.place, path, "It must not be empty"));
            None
        }
        _ => {
            let problem = Problem::new(node.place, path, format!("It must be text, not {}", node.kind()));
            problems.push(match &node.value {
                NodeValue::Number(_) | NodeValue::Boolean(_) => problem.with_hint("Put the value in quotes"),
                _ => problem,
            });
            None
        }
    }
}

/// What to write instead of an unknown name.
pub(super) fn suggestion(given: &str, known: &[&str]) -> String {
    match closest(given, known) {
        Some(close) => format!("Did you mean `{close}`?"),
        None => format!("There are: {}", known.join(", ")),
    }
}

/// The known name that a mistyped one is nearest to, when it is near enough.
fn closest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (strsim::osa_distance(given, name), *name))
        .filter(|(edits, name)| *edits <= (name.chars().count() / 3).clamp(1, 3))
        .min()
        .map(|(_, name)| name)
}
