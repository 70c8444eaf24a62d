//! Values of many keys in few round trips: first what they are, then how long, then all of them. A collection of many
//! elements is read in parts, so that the server is never busy with one command for long.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use hub_plugin_api::{Error, ErrorKind, Result};
use redis::{Pipeline, Value};

use super::strings::Together;
use crate::{commands, connection::Session, error, reply, types::Kind};

const DOING: &str = "Could not read the values";

/// Bytes of a string that come with the first question; the rest of a longer one is asked for by itself.
const FIRST_BYTES: usize = 64 << 10;
/// A collection of more elements is read in parts.
const WHOLE_ELEMENTS: i64 = 2000;
/// Elements of one part.
const PART: usize = 1000;
/// Elements that one pipeline may bring together.
const PIPELINE_ELEMENTS: i64 = 50_000;

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// What it holds.
    pub kind: Kind,
    /// Milliseconds left; absent where it stays, or was not asked for.
    pub ttl_ms: Option<i64>,
    /// The value.
    pub content: Content,
}

/// Names and values.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A string's, or a document's of the JSON module.
    Bytes(Vec<u8>),
    /// A hash's fields.
    Pairs(Pairs),
    /// A list's or a set's.
    Items(Vec<Vec<u8>>),
    /// A sorted set's, by score.
    Scored(Vec<(Vec<u8>, f64)>),
    /// A stream's, by id.
    Entries(Vec<(Vec<u8>, Pairs)>),
    /// Of a type that cannot be read.
    Unknown,
}

impl Content {
    /// The bytes of all of it.
    pub fn bytes(&self) -> usize {
        let pairs = |pairs: &[(Vec<u8>, Vec<u8>)]| {
            pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
        };
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Pairs(all) => pairs(all),
            Self::Items(items) => items.iter().map(Vec::len).sum(),
            Self::Scored(items) => items.iter().map(|(item, _)| item.len() + 8).sum(),
            Self::Entries(entries) => entries.iter().map(|(id, fields)| id.len() + pairs(fields)).sum(),
            Self::Unknown => 0,
        }
    }
}

/// How values are read.
#[derive(Clone, Debug)]
pub struct Fetcher {
    /// The only type that is wanted.
    pub only: Option<Kind>,
    /// SCAN has left out the keys of other types already.
    pub filtered: bool,
    /// Whether the time to live is asked for.
    pub ttl: bool,
    /// Where strings that SCAN has found may be asked for with one command.
    pub together: Option<Arc<Together>>,
    /// The most bytes of one value.
    pub max_value_bytes: u64,
}

/// What is known of a key so far.
struct Found {
    key: Vec<u8>,
    kind: Kind,
    ttl_ms: Option<i64>,
    content: Option<Content>,
}

impl Fetcher {
    /// Reads values; a key that is gone meanwhile, or is of another type than is wanted, is left out. In a cluster all
    /// keys must be on the node of the session.
    ///
    /// # Errors
    /// When the server refuses, or a value has more than `max_value_bytes`.
    pub async fn fetch(&self, session: &mut Session, mut keys: Vec<Vec<u8>>) -> Result<Vec<Entry>> {
        let Some(route) = keys.first().cloned() else { return Ok(Vec::new()) };
        if let Some(together) = &self.together
            && together.is_likely_small()
            && let Some(entries) = together.fetch(session, &mut keys, self.ttl).await?
        {
            return Ok(entries);
        }
        let mut found = self.classify(session, &route, keys).await?;
        self.complete_strings(session, &mut found).await?;
        self.complete_collections(session, &route, &mut found).await?;
        let entries = found.into_iter().filter_map(|one| {
            Some(Entry { key: one.key, kind: one.kind, ttl_ms: one.ttl_ms, content: one.content? })
        });
        let entries: Vec<Entry> = entries.collect();
        if let Some(together) = &self.together {
            together.note(&entries);
        }
        Ok(entries)
    }

    /// Types and times to live; strings come with their first bytes where the type is known.
    async fn classify(&self, session: &mut Session, route: &[u8], keys: Vec<Vec<u8>>) -> Result<Vec<Found>> {
        let known = self.only.clone().filter(|_| self.filtered);
        let strings = known == Some(Kind::String);
        let mut pipeline = Pipeline::with_capacity(keys.len() * 3);
        for key in &keys {
            if known.is_none() {
                pipeline.cmd("TYPE").arg(key);
            }
            if self.ttl {
                pipeline.cmd("PTTL").arg(key);
            }
            if strings {
                pipeline.cmd("GETRANGE").arg(key).arg(0).arg(FIRST_BYTES - 1);
            }
        }
        let mut answers = session.pipeline(DOING, route, &pipeline).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let kind = match &known {
                Some(kind) => kind.clone(),
                None => Kind::of_server(&reply::text(DOING, next())?),
            };
            let ttl = if self.ttl { reply::integer(DOING, next())? } else { -1 };
            let content = if strings { of_type(next())? } else { Some(Value::Nil) };
            let gone = kind == Kind::Other("none".into()) || ttl == -2;
            let unwanted = self.only.as_ref().is_some_and(|only| *only != kind);
            let Some(content) = content.filter(|_| !gone && !unwanted) else { continue };
            let content = match content {
                Value::Nil => None,
                bytes => reply::bytes(DOING, bytes)?.map(Content::Bytes),
            };
            found.push(Found { key, kind, ttl_ms: (ttl >= 0).then_some(ttl), content });
        }
        Ok(found)
    }

    /// Strings that have not come yet, or not as a whole. An empty one may be one that is gone.
    async fn complete_strings(&self, session: &mut Session, found: &mut Vec<Found>) -> Result<()> {
        let waiting = |one: &Found| one.kind == Kind::String && one.content.is_none();
        let route = |found: &[Found]| found.first().map(|one| one.key.clone()).unwrap_or_default();
        let mut pipeline = Pipeline::new();
        for one in found.iter().filter(|one| waiting(one)) {
            pipeline.cmd("GETRANGE").arg(&one.key).arg(0).arg(FIRST_BYTES - 1);
        }
        let mut answers = session.pipeline(DOING, &route(found), &pipeline).await?.into_iter();
        for one in found.iter_mut().filter(|one| waiting(one)) {
            let answer = of_type(answers.next().unwrap_or(Value::Nil))?;
            one.content = match answer {
                Some(bytes) => reply::bytes(DOING, bytes)?.map(Content::Bytes),
                None => None,
            };
        }
        found.retain(|one| one.kind != Kind::String || one.content.is_some());
        let mut gone = HashSet::new();
        for (place, one) in found.iter_mut().enumerate() {
            let Some(Content::Bytes(bytes)) = &mut one.content else { continue };
            if bytes.is_empty() {
                let exists = session.call(DOING, redis::cmd("EXISTS").arg(&one.key)).await?;
                if reply::integer(DOING, exists)? == 0 {
                    gone.insert(place);
                }
            } else if bytes.len() == FIRST_BYTES {
                let length = session.call(DOING, redis::cmd("STRLEN").arg(&one.key)).await?;
                self.check_bytes(&one.key, "value", reply::integer(DOING, length)?.unsigned_abs())?;
                let all = session.call(DOING, redis::cmd("GET").arg(&one.key)).await?;
                match reply::bytes(DOING, all)? {
                    Some(all) => *bytes = all,
                    None => drop(gone.insert(place)),
                }
            }
        }
        let mut place = 0;
        found.retain(|_| {
            place += 1;
            !gone.contains(&(place - 1))
        });
        Ok(())
    }

    async fn complete_collections(
        &self,
        session: &mut Session,
        route: &[u8],
        found: &mut [Found],
    ) -> Result<()> {
        let mut pipeline = Pipeline::new();
        let mut places = Vec::new();
        for (place, one) in found.iter_mut().enumerate() {
            match &one.kind {
                Kind::String => {}
                Kind::Other(_) => one.content = Some(Content::Unknown),
                Kind::Json => places.push((place, 1)),
                kind => {
                    commands::length(&mut pipeline, kind, &one.key);
                    places.push((place, -1));
                }
            }
        }
        let mut answers = session.pipeline(DOING, route, &pipeline).await?.into_iter();
        for (_, length) in places.iter_mut().filter(|(_, length)| *length < 0) {
            // Of another type by now: left out when nothing is asked for.
            *length = match of_type(answers.next().unwrap_or(Value::Nil))? {
                Some(answer) => reply::integer(DOING, answer)?,
                None => 0,
            };
        }
        let mut group = Vec::new();
        let mut elements = 0;
        for (place, length) in places {
            let is_empty_stream = length == 0 && found[place].kind == Kind::Stream;
            if length == 0 && !is_empty_stream {
                continue;
            }
            if length > WHOLE_ELEMENTS {
                let (key, kind) = (found[place].key.clone(), found[place].kind.clone());
                found[place].content = self.in_parts(session, &key, &kind).await?;
                continue;
            }
            group.push(place);
            elements += length.max(1);
            if elements >= PIPELINE_ELEMENTS {
                self.whole(session, route, found, &std::mem::take(&mut group)).await?;
                elements = 0;
            }
        }
        self.whole(session, route, found, &group).await
    }

    async fn whole(
        &self,
        session: &mut Session,
        route: &[u8],
        found: &mut [Found],
        places: &[usize],
    ) -> Result<()> {
        let mut pipeline = Pipeline::with_capacity(places.len());
        for place in places {
            commands::whole(&mut pipeline, &found[*place].kind, &found[*place].key);
        }
        let answers = session.pipeline(DOING, route, &pipeline).await?;
        for (place, answer) in places.iter().zip(answers) {
            let one = &mut found[*place];
            let Some(answer) = of_type(answer)? else { continue };
            let content = content(&one.kind, answer)?;
            let is_gone = match &content {
                Content::Bytes(_) | Content::Unknown | Content::Entries(_) => false,
                Content::Pairs(pairs) => pairs.is_empty(),
                Content::Items(items) => items.is_empty(),
                Content::Scored(items) => items.is_empty(),
            };
            one.content = Some(content).filter(|_| !is_gone);
        }
        Ok(())
    }

    /// Reads a large collection in parts. It may change meanwhile; what stays is read.
    async fn in_parts(&self, session: &mut Session, key: &[u8], kind: &Kind) -> Result<Option<Content>> {
        let mut bytes = 0;
        let mut count = |part: &Content| {
            bytes += part.bytes();
            self.check_bytes(key, "value", bytes as u64)
        };
        match kind {
            Kind::List => {
                let mut items = Vec::new();
                loop {
                    let mut command = redis::cmd("LRANGE");
                    command.arg(key).arg(items.len()).arg(items.len() + PART - 1);
                    let part = content(kind, session.call(DOING, &command).await?)?;
                    count(&part)?;
                    match part {
                        Content::Items(part) if !part.is_empty() => items.extend(part),
                        _ => return Ok(Some(Content::Items(items))),
                    }
                }
            }
            Kind::SortedSet => {
                let mut scored: Vec<(Vec<u8>, f64)> = Vec::new();
                let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
                let mut rank = 0;
                loop {
                    let mut command = redis::cmd("ZRANGE");
                    command.arg(key).arg(rank).arg(rank + PART - 1).arg("WITHSCORES");
                    let part = content(kind, session.call(DOING, &command).await?)?;
                    count(&part)?;
                    let Content::Scored(part) = part else { continue };
                    if part.is_empty() {
                        return Ok(Some(Content::Scored(scored)));
                    }
                    rank += part.len();
                    for (member, score) in part {
                        match places.get(&member) {
                            Some(place) => scored[*place].1 = score,
                            None => {
                                places.insert(member.clone(), scored.len());
                                scored.push((member, score));
                            }
                        }
                    }
                }
            }
            Kind::Stream => {
                let (mut entries, mut from) = (Vec::new(), b"-".to_vec());
                loop {
                    let mut command = redis::cmd("XRANGE");
                    command.arg(key).arg(&from).arg("+").arg("COUNT").arg(PART);
                    let part = content(kind, session.call(DOING, &command).await?)?;
                    count(&part)?;
                    match part {
                        Content::Entries(part) if !part.is_empty() => entries.extend(part),
                        _ => return Ok(Some(Content::Entries(entries))),
                    }
                    if let Some((id, _)) = entries.last() {
                        from = [b"(".as_slice(), id].concat();
                    }
                }
            }
            Kind::Hash | Kind::Set => self.scanned(session, key, kind, &mut count).await.map(Some),
            Kind::String | Kind::Json | Kind::Other(_) => Ok(None),
        }
    }

    /// HSCAN and SSCAN may bring an element twice: the last one counts.
    async fn scanned(
        &self,
        session: &mut Session,
        key: &[u8],
        kind: &Kind,
        count: &mut impl FnMut(&Content) -> Result<()>,
    ) -> Result<Content> {
        let name = if *kind == Kind::Hash { "HSCAN" } else { "SSCAN" };
        let (mut cursor, mut elements) = (0_i64, HashMap::new());
        loop {
            let mut command = redis::cmd(name);
            command.arg(key).arg(cursor).arg("COUNT").arg(PART);
            let (next, part) = reply::two(DOING, session.call(DOING, &command).await?)?;
            let part = content(kind, part)?;
            count(&part)?;
            match part {
                Content::Pairs(pairs) => elements.extend(pairs),
                Content::Items(items) => elements.extend(items.into_iter().map(|item| (item, Vec::new()))),
                _ => {}
            }
            // Cursors are unsigned; as text they come back as they are.
            cursor = reply::bytes(DOING, next)?
                .and_then(|text| std::str::from_utf8(&text).ok()?.parse::<u64>().ok())
                .map_or(0, u64::cast_signed);
            if cursor == 0 {
                return Ok(match kind {
                    Kind::Hash => Content::Pairs(elements.into_iter().collect()),
                    _ => Content::Items(elements.into_keys().collect()),
                });
            }
        }
    }

    fn check_bytes(&self, key: &[u8], column: &str, bytes: u64) -> Result<()> {
        if bytes <= self.max_value_bytes {
            return Ok(());
        }
        Err(too_large(key, column, bytes, self.max_value_bytes))
    }
}

/// A value beyond what is allowed.
pub fn too_large(key: &[u8], column: &str, bytes: u64, limit: u64) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!(
            "Column `{column}`: a value has {bytes} bytes or more, over `max_value_bytes`, which is {limit}"
        ),
    )
    .with_context("key", String::from_utf8_lossy(key))
}

/// Nothing for a key that is of another type by now.
fn of_type(answer: Value) -> Result<Option<Value>> {
    match answer {
        Value::ServerError(refusal) if refusal.code() == "WRONGTYPE" => Ok(None),
        Value::ServerError(refusal) => Err(error::from_answer(DOING, &refusal)),
        other => Ok(Some(other)),
    }
}

/// An answer as a value of a type.
fn content(kind: &Kind, answer: Value) -> Result<Content> {
    let bytes = |value| Ok::<_, Error>(reply::bytes(DOING, value)?.unwrap_or_default());
    Ok(match kind {
        Kind::Hash => Content::Pairs(reply::byte_pairs(DOING, answer)?),
        Kind::List | Kind::Set => {
            Content::Items(reply::items(DOING, answer)?.into_iter().map(bytes).collect::<Result<_>>()?)
        }
        Kind::SortedSet => {
            let pairs = reply::pairs(DOING, answer)?.into_iter();
            let scored = pairs.map(|(member, score)| {
                let score = match score {
                    Value::Double(score) => score,
                    other => {
                        let text = reply::text(DOING, other)?;
                        text.parse().map_err(|_| {
                            Error::new(ErrorKind::Protocol, format!("Score `{text}` is no number"))
                        })?
                    }
                };
                Ok((bytes(member)?, score))
            });
            Content::Scored(scored.collect::<Result<_>>()?)
        }
        Kind::Stream => {
            let entries = reply::items(DOING, answer)?.into_iter().map(|entry| {
                let (id, fields) = reply::two(DOING, entry)?;
                Ok((bytes(id)?, reply::byte_pairs(DOING, fields)?))
            });
            Content::Entries(entries.collect::<Result<_>>()?)
        }
        Kind::String | Kind::Json => Content::Bytes(bytes(answer)?),
        Kind::Other(_) => Content::Unknown,
    })
}
