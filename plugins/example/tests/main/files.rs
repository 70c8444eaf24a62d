//! What files bring, and how the errors about them read.

use std::{fs, sync::Arc, time::Duration};

use connector_example::Ndjson;
use hub_plugin_api::{
    Config, Error, ErrorKind, Event, OpenRequest, PlanRequest, Position, Result,
    ffi::loopback,
    json,
    testing::{TestContext, block_on, lines},
    types::{LogicalType, columns_of},
};

/// Reads a file with this text: types and rows.
fn read(text: &str, options: Config, position: Option<Position>) -> Result<(Vec<String>, Vec<String>)> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("x.ndjson"), text).unwrap();
    let config = Config::new().with("directory", directory.path().to_string_lossy());
    let connector = loopback(Arc::new(Ndjson))?;
    let connection = block_on(connector.connect(&config, &Arc::new(TestContext::new()).context()))?;
    let file = options.text("file").unwrap_or("x.ndjson").to_owned();
    let request: PlanRequest = serde_json::from_value(json!({
        "pipeline": "p", "generation": 1, "run": 1, "strategy": "query", "parallel": 1,
        "options": options.with("file", file),
    }))?;
    let plan = block_on(connection.plan(&request))?;
    let split = plan.description().splits.remove(0);
    let open = OpenRequest { split, position, budgets: Default::default(), peek: false };
    let mut reader = block_on(plan.open(&open))?;
    let (mut columns, mut rows) = (Vec::new(), Vec::new());
    loop {
        match block_on(reader.next(Duration::from_millis(100)))? {
            Event::Schema(schema) => columns = columns_of(&schema.arrow)?,
            Event::Rows(batch) => {
                let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
                rows.extend(lines(&batch.batch, &names)?);
            }
            Event::End => break,
            _ => {}
        }
    }
    let kind = |logical: &LogicalType| match logical {
        LogicalType::DecimalText { .. } => "number".to_owned(),
        logical => format!("{logical:?}").to_lowercase(),
    };
    Ok((columns.iter().map(|column| format!("{}:{}", column.name, kind(&column.logical))).collect(), rows))
}

fn guessed(text: &str) -> Result<(Vec<String>, Vec<String>)> {
    read(text, Config::new(), None)
}

fn refused(text: &str) -> Error {
    guessed(text).unwrap_err()
}

#[test]
fn columns_come_in_the_order_of_the_lines_and_numbers_keep_their_digits() {
    let (columns, rows) = guessed(
        "{\"z\":1,\"amount\":12345678901234567890.10,\"ok\":true}\n\n{\"z\":-2,\"doc\":{\"b\": [1,2]},\"none\":null}\n",
    )
    .unwrap();
    assert_eq!(columns, ["z:int64", "amount:number", "ok:boolean", "doc:json", "none:text"]);
    assert_eq!(
        rows,
        [
            "number 1 | number 12345678901234567890.1 | boolean true | null | null",
            "number -2 | null | null | json {\"b\":[1,2]} | null",
        ]
    );
}

#[test]
fn declared_columns_are_the_ones_that_are_read() {
    let options = Config::new().with("columns", json!(["b:text", "a:number"]));
    let (columns, rows) = read("{\"a\":1e2,\"b\":\"x\",\"c\":[]}\n", options, None).unwrap();
    assert_eq!(columns, ["b:text", "a:number"]);
    assert_eq!(rows, ["text x | number 100"]);
    let options = Config::new().with("columns", json!(["a:float"]));
    let error = read("", options, None).unwrap_err();
    assert_eq!(error.message, "`a:float` has no type among boolean, integer, number, text and json");
    assert_eq!(error.field.as_deref(), Some("columns"));
}

#[test]
fn what_is_wrong_with_a_line_is_said_with_its_number() {
    let head = "{\"a\":1}\n".repeat(1000);
    for (text, expected) in [
        (
            "{\"a\":1}\n{\"a\":",
            "Line 2 of `x.ndjson` is not a JSON object that can be read: EOF while parsing a value, at column 5",
        ),
        (
            "[1]\n",
            "Line 1 of `x.ndjson` is not a JSON object that can be read: invalid type: sequence, expected an object, at column 0",
        ),
        (
            "{\"a\":1,\"a\":2}\n",
            "Line 1 of `x.ndjson` is not a JSON object that can be read: field `a` is there twice, at column 13",
        ),
        (
            &format!("{head}{{\"a\":9223372036854775808}}\n"),
            "Line 1001 of `x.ndjson` has `9223372036854775808` in column `a`, which is an integer from -2^63 to 2^63 - 1",
        ),
        (
            &format!("{head}{{\"b\":1}}\n"),
            "Line 1001 of `x.ndjson` has a field `b`, which the first lines have not",
        ),
        (
            &format!("{head}{{\"a\":\"1\"}}\n"),
            "Line 1001 of `x.ndjson` has `\"1\"` in column `a`, which is an integer from -2^63 to 2^63 - 1",
        ),
    ] {
        let error = refused(text);
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::InvalidData, expected));
    }
    assert!(refused("").message.ends_with("x.ndjson` has no lines to tell its columns from"));
}

#[test]
fn a_file_outside_the_directory_is_not_opened() {
    for file in ["../x.ndjson", "/etc/passwd", "..", "sub/x.ndjson", "x.ndjson/"] {
        let error = read("{\"a\":1}", Config::new().with("file", file), None).unwrap_err();
        assert_eq!(error.message, format!("`{file}` is not the name of a file in the directory"));
    }
}

#[test]
fn a_file_that_became_shorter_has_lost_the_position() {
    let position = Position::from(json!({ "v": 1, "byte": 1000, "line": 100 }));
    assert_eq!(read("{\"a\":1}\n", Config::new(), Some(position)).unwrap_err().kind, ErrorKind::PositionLost);
}
