use std::sync::{Arc, PoisonError, RwLock};

use hub_plugin_api::{CheckStep, Error, Secret};

/// What stands in for a secret.
const MASK: &str = "***";

/// Below this many bytes a secret is masked only where it stands as a word of its own: a password `e` must not turn
/// every message into asterisks, and says nothing where it is part of a longer word.
const MIN_ANYWHERE: usize = 4;

/// The secrets of a run or a connection, and the text that comes back without them. Clones share their secrets.
#[derive(Clone, Default)]
pub(crate) struct Masks(Arc<RwLock<Vec<String>>>);

impl Masks {
    /// Masks one more secret from now on: as it is, and as URLs and JSON write it.
    pub(crate) fn add(&self, secret: &Secret) {
        let value = secret.expose();
        let mut secrets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let json = serde_json::Value::from(value).to_string();
        let forms = [value, &json[1..json.len() - 1], &percent_encoded(value), value.trim()];
        for form in forms {
            if !form.is_empty() && !secrets.iter().any(|known| known == form) {
                secrets.push(form.to_owned());
            }
        }
        // A secret that holds another one must go first.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    pub(crate) fn text(&self, text: &str) -> String {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().fold(text.to_owned(), |text, secret| {
            if !text.contains(secret.as_str()) {
                text
            } else if secret.len() >= MIN_ANYWHERE {
                text.replace(secret.as_str(), MASK)
            } else {
                replace_word(&text, secret)
            }
        })
    }

    pub(crate) fn error(&self, mut error: Error) -> Error {
        error.message = self.text(&error.message);
        for text in
            [&mut error.field, &mut error.hint, &mut error.code, &mut error.source].into_iter().flatten()
        {
            *text = self.text(text);
        }
        for (_, value) in &mut error.context {
            *value = self.text(value);
        }
        error
    }

    pub(crate) fn step(&self, mut step: CheckStep) -> CheckStep {
        step.message = self.text(&step.message);
        for text in [&mut step.hint, &mut step.fix].into_iter().flatten() {
            *text = self.text(text);
        }
        step
    }
}

fn percent_encoded(value: &str) -> String {
    value.bytes().fold(String::with_capacity(value.len()), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte))
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

fn replace_word(text: &str, word: &str) -> String {
    let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        let last = before.chars().next_back().or_else(|| result.chars().next_back());
        result.push_str(before);
        result.push_str(if is_part(last) || is_part(after.chars().next()) { word } else { MASK });
        rest = after;
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub_plugin_api::ErrorKind;

    fn masks(secrets: &[&str]) -> Masks {
        let masks = Masks::default();
        secrets.iter().for_each(|secret| masks.add(&Secret::new(*secret)));
        masks
    }

    #[test]
    fn secret_is_masked_wherever_an_error_may_hold_it() {
        let masks = masks(&["p@ss\"word"]);
        let error = Error::new(ErrorKind::Authentication, "No entry with p@ss\"word")
            .with_hint("postgres://u:p%40ss%22word@h")
            .with_context("config", "{\"password\":\"p@ss\\\"word\"}");
        let shown = format!("{:?}", masks.error(error));
        assert!(!shown.contains("p@ss") && !shown.contains("p%40ss"), "{shown}");
        assert_eq!(masks.text("x p@ss\"word y"), "x *** y");
        assert_eq!(masks.text("postgres://u:p%40ss%22word@h"), "postgres://u:***@h");
        assert_eq!(masks.text(r#"{"a":"p@ss\"word"}"#), r#"{"a":"***"}"#);
    }

    #[test]
    fn longer_secret_is_masked_before_the_one_it_holds() {
        assert_eq!(masks(&["abcd", "abcdefgh"]).text("abcdefgh abcd"), "*** ***");
    }

    #[test]
    fn short_secret_is_masked_as_a_word_only() {
        assert_eq!(masks(&["e"]).text("e: the key `e` is e"), "***: the key `***` is ***");
    }
}
