//! What the rows of one stream become.

use hub_plugin_api::{
    Error, Result, StreamSchema,
    changes::{Op, is_change_schema, row_schema},
    types::LogicalType,
};
use redis::Cmd;

use super::{
    options::{WriteOptions, WriteType},
    restore,
    row::{Batch, Refused},
    template::{self, CommandTemplate, Part, Placeholder, Template},
};
use crate::text::{TextColumn, row_json};

/// What is sent for a row.
#[derive(Debug)]
pub enum Action {
    /// A string is set, for ever: many of them make one command.
    Set {
        /// The key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// Any command.
    Run {
        /// The key that decides where it goes.
        key: Vec<u8>,
        /// The command.
        command: Cmd,
        /// The type that the key must be of, if it is there.
        expects: Option<&'static str>,
    },
}

/// What the rows of one stream become.
pub struct Target {
    /// The number of the shape.
    pub schema_id: u32,
    /// Rows are changes.
    pub changes: bool,
    /// The row's own columns.
    pub columns: Vec<TextColumn>,
    options: WriteOptions,
    commands: Vec<CommandTemplate>,
    key: Template,
    /// A key made of several columns: a joint inside of a value is escaped.
    composite: bool,
    value: Value,
    score: Option<usize>,
    id: Option<usize>,
    ttl: Option<usize>,
    /// The columns that a row is told apart by.
    keys: Vec<usize>,
    restore: Option<restore::Columns>,
}

/// What of a row is stored.
enum Value {
    Column(usize),
    Row,
}

const JOINT: &str = ":";

impl Target {
    /// Looks at a stream's shape.
    ///
    /// # Errors
    /// When it does not fit the options.
    pub fn new(schema: &StreamSchema, options: &WriteOptions, commands: &[CommandTemplate]) -> Result<Self> {
        let rows = row_schema(&schema.arrow);
        let columns = rows.fields().iter().map(|field| TextColumn::of(field)).collect::<Result<Vec<_>>>()?;
        let place = |field: &str, name: &Option<String>| {
            name.as_deref().map(|name| Batch::place(&columns, field, name)).transpose()
        };
        let keys = schema.keys();
        let keys = keys.iter().map(|name| Batch::place(&columns, "key", name)).collect::<Result<Vec<_>>>()?;
        let restore = match options.kind {
            WriteType::FromRows => Some(restore::Columns::of(&columns)?),
            _ => None,
        };
        let (score, id) =
            (place("score_column", &options.score_column)?, place("id_column", &options.id_column)?);
        let ttl = place("ttl_column", &options.ttl_column)?;
        let value = match place("value_column", &options.value_column)? {
            Some(place) => Value::Column(place),
            None => {
                let others: Vec<usize> = (0..columns.len())
                    .filter(|column| !keys.contains(column) && Some(*column) != score && Some(*column) != ttl)
                    .collect();
                // Without a key the only column of a list's row is its value.
                match others.as_slice() {
                    [one] => Value::Column(*one),
                    _ => Value::Row,
                }
            }
        };
        let (key, composite) = match &options.key {
            Some(text) => (template::parse("key", text)?, false),
            None => (default_key(schema, options, &columns, &keys, !commands.is_empty())?, keys.len() > 1),
        };
        for part in key.iter().chain(commands.iter().flat_map(|command| command.arguments.iter().flatten())) {
            if let Part::Column(placeholder) = part {
                let field = if commands.is_empty() { "key" } else { "commands" };
                Batch::place(&columns, field, &placeholder.column)?;
            }
        }
        Ok(Self {
            schema_id: schema.id,
            changes: is_change_schema(&schema.arrow),
            columns,
            options: options.clone(),
            commands: commands.to_vec(),
            key,
            composite,
            value,
            score,
            id,
            ttl,
            keys,
            restore,
        })
    }

    /// What is sent for a row.
    ///
    /// # Errors
    /// Why the row cannot be written; the others can.
    pub fn actions(&self, batch: &Batch<'_>, row: usize, out: &mut Vec<Action>) -> Result<(), Refused> {
        let op = batch.op(row)?;
        if !self.commands.is_empty() {
            return self.own_commands(batch, row, op, out);
        }
        if let Some(columns) = &self.restore {
            return restore::actions(columns, &self.options, batch, row, out);
        }
        let key = self.key_of(batch, row, false)?;
        if op == Op::Delete {
            return self.delete(batch, row, key, out);
        }
        if op == Op::Update {
            let old = self.key_of(batch, row, true)?;
            if old != key && self.options.kind.is_keyed() {
                let keeps = (0..self.columns.len()).any(|column| batch.is_unchanged(column, row));
                if keeps {
                    // What was not sent stays: COPY answers 0 where there is nothing.
                    let mut copy = redis::cmd("COPY");
                    copy.arg(&old).arg(&key).arg("REPLACE");
                    out.push(Action::Run { key: old.clone(), command: copy, expects: None });
                }
                out.push(run("UNLINK", &old, None));
            }
        }
        self.put(batch, row, op, key, out)
    }

    fn own_commands(
        &self,
        batch: &Batch<'_>,
        row: usize,
        op: Op,
        out: &mut Vec<Action>,
    ) -> Result<(), Refused> {
        for template in self.commands.iter().filter(|template| template.on == op) {
            let mut command = redis::cmd(&template.name);
            let mut key = Vec::new();
            for (place, argument) in template.arguments.iter().enumerate() {
                let bytes = batch.fill(argument, row, false)?;
                command.arg(&bytes);
                if place == 0 {
                    key = bytes;
                }
            }
            out.push(Action::Run { key, command, expects: None });
        }
        Ok(())
    }

    /// The row's key; with `old`, the one before the change.
    fn key_of(&self, batch: &Batch<'_>, row: usize, old: bool) -> Result<Vec<u8>, Refused> {
        let mut key = self.options.key_prefix.clone().into_bytes();
        if !self.composite {
            key.extend(batch.fill(&self.key, row, old)?);
            return Ok(key);
        }
        for part in &self.key {
            let bytes = batch.fill(&vec![part.clone()], row, old)?;
            if matches!(part, Part::Text(_)) {
                key.extend(bytes);
                continue;
            }
            for byte in bytes {
                match byte {
                    b':' => key.extend_from_slice(b"%3A"),
                    b'%' => key.extend_from_slice(b"%25"),
                    other => key.push(other),
                }
            }
        }
        Ok(key)
    }

    fn put(
        &self,
        batch: &Batch<'_>,
        row: usize,
        op: Op,
        key: Vec<u8>,
        out: &mut Vec<Action>,
    ) -> Result<(), Refused> {
        let mut lives = match self.options.ttl_ms {
            0 => None,
            ttl => Some(ttl.to_string().into_bytes()),
        };
        if let Some(column) = self.ttl {
            lives = batch.value(column, row)?;
        }
        let mut add = |name: &str, expects, fill: &dyn Fn(&mut Cmd)| {
            let mut command = redis::cmd(name);
            command.arg(&key);
            fill(&mut command);
            out.push(Action::Run { key: key.clone(), command, expects });
        };
        match self.options.kind {
            WriteType::String => {
                let value = self.stored(batch, row)?;
                match &lives {
                    None => {
                        out.push(Action::Set { key, value });
                        return Ok(());
                    }
                    Some(lives) => add("SET", None, &|command| {
                        command.arg(&value).arg("PX").arg(lives);
                    }),
                }
                return Ok(());
            }
            WriteType::Hash => {
                let (mut set, mut gone) = (Vec::new(), Vec::new());
                for (place, column) in self.columns.iter().enumerate() {
                    if batch.is_unchanged(place, row) {
                        continue;
                    }
                    let name = column.column().name.as_bytes();
                    match batch.value(place, row)? {
                        Some(value) => set.push((name, value)),
                        None => gone.push(name),
                    }
                }
                if !gone.is_empty() {
                    add("HDEL", Some("hash"), &|command| {
                        gone.iter().for_each(|name| {
                            command.arg(name);
                        })
                    });
                }
                if set.is_empty() {
                    return Err(Refused::new("Every column of the row is null, and Redis has no empty hash"));
                }
                add("HSET", Some("hash"), &|command| {
                    set.iter().for_each(|(name, value)| {
                        command.arg(name).arg(value);
                    });
                });
            }
            WriteType::Json => {
                let value = self.document(batch, row)?;
                add("JSON.SET", None, &|command| {
                    command.arg("$").arg(&value);
                });
            }
            WriteType::List => {
                let value = self.stored(batch, row)?;
                add("RPUSH", Some("list"), &|command| {
                    command.arg(&value);
                });
            }
            WriteType::Set => {
                let value = self.stored(batch, row)?;
                add("SADD", Some("set"), &|command| {
                    command.arg(&value);
                });
            }
            WriteType::Zset => {
                let (score, value) = (self.score(batch, row)?, self.stored(batch, row)?);
                add("ZADD", Some("zset"), &|command| {
                    command.arg(&score).arg(&value);
                });
            }
            WriteType::Stream => {
                let id = match self.id {
                    Some(column) => {
                        batch.value(column, row)?.ok_or_else(|| Refused::new("The entry's id is null"))?
                    }
                    None => b"*".to_vec(),
                };
                let mut fields = Vec::new();
                if self.changes {
                    fields.push((b"__op".as_slice(), op.as_str().as_bytes().to_vec()));
                }
                for (place, column) in
                    self.columns.iter().enumerate().filter(|(place, _)| Some(*place) != self.id)
                {
                    if let Some(value) = batch.value(place, row)? {
                        fields.push((column.column().name.as_bytes(), value));
                    }
                }
                if fields.is_empty() {
                    return Err(Refused::new(
                        "Every column of the row is null, and Redis has no empty entry",
                    ));
                }
                add("XADD", Some("stream"), &|command| {
                    command.arg(&id);
                    fields.iter().for_each(|(name, value)| {
                        command.arg(name).arg(value);
                    });
                });
            }
            WriteType::FromRows => {}
        }
        match &lives {
            Some(lives) => add("PEXPIRE", None, &|command| {
                command.arg(lives);
            }),
            None if self.ttl.is_some() => add("PERSIST", None, &|_| {}),
            None => {}
        }
        Ok(())
    }

    fn delete(
        &self,
        batch: &Batch<'_>,
        row: usize,
        key: Vec<u8>,
        out: &mut Vec<Action>,
    ) -> Result<(), Refused> {
        let name = match self.options.kind {
            WriteType::Hash | WriteType::String | WriteType::Json | WriteType::FromRows => {
                out.push(run("UNLINK", &key, None));
                return Ok(());
            }
            WriteType::Stream => return self.put(batch, row, Op::Delete, key, out),
            WriteType::Set => "SREM",
            WriteType::Zset => "ZREM",
            WriteType::List => {
                return Err(Refused::new("A list does not tell which of its elements a deleted row was"));
            }
        };
        match self.value {
            Value::Column(column) if self.keys.contains(&column) => {
                let value = self.stored(batch, row)?;
                out.push(run(name, &key, Some(&value)));
                Ok(())
            }
            _ => Err(Refused::new(
                "A delete brings the columns of the key only, and the member is made of others",
            )),
        }
    }

    /// What a string, a list, a set or a sorted set gets.
    fn stored(&self, batch: &Batch<'_>, row: usize) -> Result<Vec<u8>, Refused> {
        match self.value {
            Value::Row => self.whole(batch, row),
            Value::Column(column) => {
                let name = &self.columns[column].column().name;
                if batch.is_unchanged(column, row) {
                    return Err(Refused::new(format!("Column `{name}` was not sent by the source")));
                }
                batch.value(column, row)?.ok_or_else(|| {
                    Refused::new(format!("Column `{name}` is null, which Redis does not have"))
                })
            }
        }
    }

    fn whole(&self, batch: &Batch<'_>, row: usize) -> Result<Vec<u8>, Refused> {
        if let Some(column) = (0..self.columns.len()).find(|column| batch.is_unchanged(*column, row)) {
            let name = &self.columns[column].column().name;
            return Err(Refused::new(format!(
                "Column `{name}` was not sent by the source, so the row is not whole"
            )));
        }
        let columns: Vec<_> =
            self.columns.iter().cloned().enumerate().map(|(place, column)| (column, place)).collect();
        Ok(row_json(&columns, batch.rows, row).to_string().into_bytes())
    }

    fn document(&self, batch: &Batch<'_>, row: usize) -> Result<Vec<u8>, Refused> {
        let stored = self.stored(batch, row)?;
        let is_json = match self.value {
            Value::Row => true,
            Value::Column(column) => matches!(
                self.columns[column].column().logical,
                LogicalType::Json | LogicalType::List(_) | LogicalType::Struct(_) | LogicalType::Map(..)
            ),
        };
        if is_json {
            return Ok(stored);
        }
        let text = String::from_utf8(stored).map_err(|_| Refused::new("The document is not UTF-8 text"))?;
        Ok(hub_plugin_api::Value::String(text).to_string().into_bytes())
    }

    fn score(&self, batch: &Batch<'_>, row: usize) -> Result<Vec<u8>, Refused> {
        let column = self.score.ok_or_else(|| Refused::new("There is no column of the score"))?;
        let name = &self.columns[column].column().name;
        let value = batch.value(column, row)?;
        let value = value.ok_or_else(|| Refused::new(format!("The score in column `{name}` is null")))?;
        let text = String::from_utf8_lossy(&value);
        let score: f64 =
            text.parse().map_err(|_| Refused::new(format!("The score in column `{name}` is no number")))?;
        if score.is_nan() {
            return Err(Refused::new(format!(
                "The score in column `{name}` is not a number, which Redis refuses"
            )));
        }
        let is_whole = text.parse::<i128>().is_ok();
        if is_whole && text.parse::<i128>().ok() != Some(score as i128) {
            return Err(Refused::new(format!(
                "The score in column `{name}` would be rounded: Redis keeps 53 bits of it"
            )));
        }
        Ok(value)
    }
}

fn run(name: &str, key: &[u8], value: Option<&[u8]>) -> Action {
    let mut command = redis::cmd(name);
    command.arg(key);
    if let Some(value) = value {
        command.arg(value);
    }
    Action::Run { key: key.to_vec(), command, expects: None }
}

/// The stream's name, and the columns of its key where a row has a key of its own.
fn default_key(
    schema: &StreamSchema,
    options: &WriteOptions,
    columns: &[TextColumn],
    keys: &[usize],
    own_commands: bool,
) -> Result<Template> {
    let name =
        schema.stream.namespace.iter().chain([&schema.stream.name]).cloned().collect::<Vec<_>>().join(JOINT);
    let mut template = vec![Part::Text(name)];
    if !options.kind.is_keyed() || options.kind == WriteType::FromRows || own_commands {
        return Ok(template);
    }
    if keys.is_empty() {
        let message = format!("The rows of stream `{}` have no key", schema.stream);
        return Err(Error::config("key", message).with_hint("Give a template such as `user:{{id}}`"));
    }
    for place in keys {
        template.push(Part::Text(JOINT.into()));
        let column = columns[*place].column().name.clone();
        template.push(Part::Column(Placeholder { column, before: false }));
    }
    Ok(template)
}
