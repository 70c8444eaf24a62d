//! One command, as custom functions ask for it: its answer as rows.

use std::sync::Arc;

use hub_plugin_api::{
    Error, ErrorKind, Position, Reader, Result, StreamId, Value,
    arrow::{
        array::{ArrayRef, RecordBatch},
        datatypes::SchemaRef,
    },
    async_trait,
    simple::{BatchSource, batch_reader},
    types::schema_of,
};
use redis::{Cmd, Value as Answer};

use crate::{
    connection::{Server, Session},
    error, reply,
    text::TextColumn,
    types::{Cell, ColumnBuilder, FieldType},
};

const DOING: &str = "The server refuses the command";

/// Commands that would leave the session in another state, or wait for others.
const FORBIDDEN: [&str; 27] = [
    "asking",
    "auth",
    "blmove",
    "blmpop",
    "blpop",
    "brpop",
    "brpoplpush",
    "bzmpop",
    "bzpopmax",
    "bzpopmin",
    "client",
    "discard",
    "exec",
    "hello",
    "monitor",
    "multi",
    "psubscribe",
    "psync",
    "quit",
    "readonly",
    "reset",
    "select",
    "shutdown",
    "ssubscribe",
    "subscribe",
    "unwatch",
    "watch",
];

/// Runs a command. `$1`, `$2` … as a whole argument stands for a parameter, which is sent as it is.
///
/// Rows have one column, `value`: a list's items are rows, everything else is one row. Whole numbers are Int64, strings
/// text, or bytes where one of them is not UTF-8; an item that is a list itself makes the column JSON.
///
/// # Errors
/// When it is no command, may not be run, or the server refuses it.
pub async fn run(
    server: &Server,
    command: &[Value],
    parameters: Option<RecordBatch>,
) -> Result<Box<dyn Reader>> {
    let command = build(command, parameters.as_ref())?;
    let name = name_of(&command);
    if FORBIDDEN.contains(&name.as_str()) {
        return Err(invalid(format!("Command `{name}` waits, or changes the session")));
    }
    let mut session = server.session().await?;
    if !server.context().queries_may_write() {
        refuse_writes(&mut session, &command, &name).await?;
    }
    let answer = session.call(DOING, &command).await?;
    let items = match answer {
        Answer::Array(items) | Answer::Set(items) => items,
        Answer::Map(pairs) => pairs.into_iter().flat_map(|(key, value)| [key, value]).collect(),
        other => vec![other],
    };
    let (schema, column) = column(items)?;
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column])?;
    Ok(batch_reader(StreamId::named("query"), Once { schema, batch: Some(batch) }))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidStatement, message).with_field("statement")
}

fn build(command: &[Value], parameters: Option<&RecordBatch>) -> Result<Cmd> {
    let mut built = Cmd::new();
    if !command.first().is_some_and(Value::is_string) {
        return Err(invalid("A command is a list that begins with its name"));
    }
    for argument in command {
        match argument {
            Value::String(text) => {
                match text.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok()) {
                    Some(number) => built.arg(parameter(parameters, number)?),
                    None => built.arg(text),
                }
            }
            Value::Number(_) | Value::Bool(_) => built.arg(argument.to_string()),
            other => {
                return Err(invalid(format!("`{other}` is no argument: texts and numbers are"))
                    .with_hint("Bytes are sent as a parameter: write `$1` in their place"));
            }
        };
    }
    Ok(built)
}

fn parameter(parameters: Option<&RecordBatch>, number: usize) -> Result<Vec<u8>> {
    let batch =
        parameters.filter(|batch| batch.num_rows() == 1 && (1..=batch.num_columns()).contains(&number));
    let batch = batch.ok_or_else(|| invalid(format!("There is no parameter for `${number}`")))?;
    let column = TextColumn::of(batch.schema().field(number - 1))?;
    let bytes = column.bytes(batch.column(number - 1).as_ref(), 0)?;
    bytes.ok_or_else(|| invalid(format!("Parameter `${number}` is null, which Redis does not have")))
}

fn name_of(command: &Cmd) -> String {
    let first = command.args_iter().find_map(|argument| match argument {
        redis::Arg::Simple(bytes) => Some(String::from_utf8_lossy(bytes).to_ascii_lowercase()),
        _ => None,
    });
    first.unwrap_or_default()
}

/// A session cannot be read-only: the server tells of each command and subcommand whether it writes.
async fn refuse_writes(session: &mut Session, command: &Cmd, name: &str) -> Result<()> {
    let mut ask = redis::cmd("COMMAND");
    ask.arg("INFO").arg(name);
    if let Some(redis::Arg::Simple(sub)) = command.args_iter().nth(1) {
        ask.arg([name.as_bytes(), b"|", sub.to_ascii_lowercase().as_slice()].concat());
    }
    let answer = session.call(DOING, &ask).await?;
    // What the server does not know it refuses by itself.
    for known in reply::items(DOING, answer)?.into_iter().filter(|known| *known != Answer::Nil) {
        let flags = reply::items(DOING, known)?.into_iter().nth(2).unwrap_or(Answer::Nil);
        let flags = reply::items(DOING, flags)?.into_iter();
        let flags = flags.map(|flag| reply::text(DOING, flag)).collect::<Result<Vec<_>>>()?;
        let changes = ["write", "admin", "noscript", "pubsub", "blocking"];
        if let Some(flag) = flags.iter().find(|flag| changes.contains(&flag.as_str())) {
            let message = format!("Command `{name}` is not run, for it is `{flag}`");
            return Err(Error::new(ErrorKind::PermissionDenied, message)
                .with_hint("Queries only read unless the connection grants `write`"));
        }
    }
    Ok(())
}

fn column(items: Vec<Answer>) -> Result<(SchemaRef, ArrayRef)> {
    let nested = |item: &Answer| matches!(item, Answer::Array(_) | Answer::Map(_) | Answer::Set(_));
    let integer = |item: &Answer| matches!(item, Answer::Int(_) | Answer::Nil);
    let field = if items.iter().any(nested) {
        FieldType::Json
    } else if items.iter().all(integer) && !items.is_empty() && items.iter().any(|item| *item != Answer::Nil)
    {
        FieldType::Int64
    } else {
        let is_bytes =
            |item: &Answer| matches!(item, Answer::BulkString(bytes) if std::str::from_utf8(bytes).is_err());
        if items.iter().any(is_bytes) { FieldType::Binary } else { FieldType::Text }
    };
    let mut builder = ColumnBuilder::new(field);
    for item in items {
        match (field, item) {
            (_, Answer::Nil) => builder.push(&Cell::Null),
            (FieldType::Json, item) => builder.push(&Cell::Owned(json(item)?.to_string())),
            (FieldType::Int64, item) => builder.push(&Cell::Integer(reply::integer(DOING, item)?)),
            (FieldType::Binary, item) => {
                builder.push(&Cell::Bytes(&reply::bytes(DOING, item)?.unwrap_or_default()));
            }
            (_, item) => builder.push(&Cell::Owned(reply::text(DOING, item)?)),
        }
    }
    Ok((schema_of(&[field.column("value")]), builder.finish()))
}

fn json(item: Answer) -> Result<Value> {
    Ok(match item {
        Answer::Nil => Value::Null,
        Answer::Int(number) => number.into(),
        Answer::Boolean(value) => value.into(),
        Answer::Double(number) => number.into(),
        Answer::Array(items) | Answer::Set(items) => {
            Value::Array(items.into_iter().map(json).collect::<Result<_>>()?)
        }
        Answer::Map(pairs) => {
            let pairs =
                pairs.into_iter().map(|(key, value)| Ok(Value::Array(vec![json(key)?, json(value)?])));
            Value::Array(pairs.collect::<Result<_>>()?)
        }
        Answer::ServerError(refusal) => return Err(error::from_answer(DOING, &refusal)),
        other => {
            let bytes = reply::bytes(DOING, other)?.unwrap_or_default();
            Value::String(String::from_utf8(bytes).map_err(|_| {
                Error::new(
                    ErrorKind::InvalidData,
                    "Column `value`: a list in the answer holds bytes that are no text",
                )
                .with_hint("Ask for one value at a time: bytes at the top come as they are")
            })?)
        }
    })
}

struct Once {
    schema: SchemaRef,
    batch: Option<RecordBatch>,
}

#[async_trait]
impl BatchSource for Once {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn next_batch(&mut self) -> Result<Option<(RecordBatch, Option<Position>)>> {
        Ok(self.batch.take().filter(|batch| batch.num_rows() > 0).map(|batch| (batch, None)))
    }
}
