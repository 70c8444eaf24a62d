//! Reads NDJSON files over HTTP: a whole connector as a WebAssembly component. One JSON object a line, one file a stream.
//!
//! Reaches the host and port of its parameter `url`, and nothing else.

mod http;
mod lines;
mod values;

use std::fmt::Write;

use hub_connector::{Batches, Budgets, Connector, Error, Result, Step, export_connector};
use serde_json::{Map, Value, json};

use crate::{http::Url, lines::Lines};

export_connector!(WebLines);

/// A connection: here no more than an address.
struct WebLines {
    folder: Url,
}

impl Connector for WebLines {
    fn spec() -> (&'static str, &'static str, Value) {
        let columns = "Each as `name:type`; the types are boolean, integer, number, text and json. Without it the \
                       first 1,000 lines decide, and a later line that does not fit them is an error";
        let spec = json!({
            "id": "web-lines",
            "label": "NDJSON files over HTTP",
            "kind": "file",
            "network": ["{url}"],
            "parameters": [{
                "id": "url", "label": "URL", "kind": "text", "required": true,
                "description": "The folder that the files lie in: `http://HOST:PORT/FOLDER`",
            }],
            "strategies": [{
                "id": "query", "label": "By Query", "role": "source", "mode": "batch", "guarantee": "at-least-once",
                "options": [
                    { "id": "file", "label": "File", "kind": "text", "required": true },
                    { "id": "columns", "label": "Columns", "kind": "list", "group": "advanced", "description": columns },
                ],
            }],
        });
        ("web-lines", env!("CARGO_PKG_VERSION"), spec)
    }

    fn connect(config: &Map<String, Value>) -> Result<Self> {
        let url = config.get("url").and_then(Value::as_str).unwrap_or_default();
        Ok(Self { folder: Url::parse(url)? })
    }

    fn identity(&self) -> Result<String> {
        Ok(format!("folder {}", self.folder))
    }

    fn check(&self, options: &Map<String, Value>, report: &mut dyn FnMut(Step)) -> Result<()> {
        if let Err(error) = self.folder.connect() {
            report(Step::failed("network", &error.with_field("url")));
            report(Step::skipped("file", "There is no server to ask"));
            return Ok(());
        }
        report(Step::passed("network", format!("The server at {} answers", self.folder.authority())));
        report(match self.lines(options, None, NO_LIMITS) {
            Ok(lines) => Step::passed("file", format!("The file has {} columns", lines.columns())),
            Err(error) => Step::failed("file", &error),
        });
        Ok(())
    }

    fn stream(&self, options: &Map<String, Value>) -> Result<String> {
        Ok(file(options)?.to_owned())
    }

    fn open(
        &self,
        options: &Map<String, Value>,
        position: Option<Value>,
        budgets: Budgets,
    ) -> Result<Box<dyn Batches>> {
        Ok(Box::new(self.lines(options, position, budgets)?))
    }
}

const NO_LIMITS: Budgets =
    Budgets { max_batch_bytes: u64::MAX, max_batch_rows: u64::MAX, max_value_bytes: 256 << 20 };

impl WebLines {
    fn lines(
        &self,
        options: &Map<String, Value>,
        position: Option<Value>,
        budgets: Budgets,
    ) -> Result<Lines> {
        let name = file(options)?;
        if name.contains('/') {
            return Err(Error::config("file", format!("`{name}` is not the name of a file in the folder")));
        }
        let columns = options.get("columns").and_then(Value::as_array).into_iter().flatten();
        let columns: Vec<&str> = columns.filter_map(Value::as_str).collect();
        let lines = Lines::open(self.folder.join(&encoded(name)), name, &columns, position, budgets);
        lines.map_err(|error| if error.field.is_none() { error.with_field("file") } else { error })
    }
}

fn file(options: &Map<String, Value>) -> Result<&str> {
    let file = options.get("file").and_then(Value::as_str);
    file.ok_or_else(|| Error::config("file", "`file` is required"))
}

/// A name as a part of an address: all bytes but letters, digits and `-._~` as `%XX` (RFC 3986, section 2).
fn encoded(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
