use std::{
    fs,
    path::{self, Path, PathBuf},
};

use hub_plugin_api::Role;

use super::{
    CommitSpec, OnLostSnapshot, OnRejected, RetrySpec,
    fields::{Fields, text},
    problem::{FileError, Place, Problem},
    tree::{Node, join},
    units,
};

/// The version of the file's format that this build reads.
pub const FILE_VERSION: u32 = 1;

/// The fields of a pipeline file.
pub(super) const FIELDS: [&str; 11] = [
    "version",
    "name",
    "source",
    "destination",
    "commit",
    "on_rejected",
    "on_lost_snapshot",
    "allow_duplicates",
    "lanes",
    "parallel",
    "retry",
];
/// The fields of a side.
pub(super) const ENDPOINT_FIELDS: [&str; 4] = ["connector", "config", "strategy", "options"];
pub(super) const COMMIT_FIELDS: [&str; 3] = ["every", "bytes", "rows"];
pub(super) const RETRY_FIELDS: [&str; 3] = ["attempts", "first_delay", "max_delay"];
/// The most that `lanes` and `parallel` may be.
pub(super) const MAX_PARALLEL: u64 = 64;

/// A pipeline file whose own fields are right. What the connectors declare is checked by [`PipelineFile::resolve`].
///
/// Not `Debug`: it may hold passwords.
#[derive(Clone)]
pub struct PipelineFile {
    pub(super) file: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) name: String,
    pub(super) source: Side,
    pub(super) destination: Side,
    pub(super) commit: CommitSpec,
    pub(super) on_rejected: OnRejected,
    pub(super) on_lost_snapshot: OnLostSnapshot,
    pub(super) allow_duplicates: bool,
    pub(super) lanes: u32,
    pub(super) parallel: u32,
    pub(super) retry: RetrySpec,
}

/// One side of the file, before its connector is known.
#[derive(Clone)]
pub(super) struct Side {
    pub path: &'static str,
    pub connector: String,
    pub connector_place: Place,
    pub config: Option<Node>,
    pub strategy: Option<(String, Place)>,
    pub options: Option<Node>,
}

impl PipelineFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong in the file's own fields, each with its line, column and path.
    pub fn read(file: &Path) -> Result<Self, FileError> {
        let bytes = fs::read(file).map_err(|error| {
            FileError::new(file, vec![Problem::new(None, "", format!("The file cannot be read: {error}"))])
        })?;
        let text = str::from_utf8(&bytes).map_err(|error| {
            let (before, _) = bytes.split_at(error.valid_up_to());
            FileError::new(file, vec![not_utf8(&String::from_utf8_lossy(before))])
        })?;
        Self::parse(text, file)
    }

    /// Reads a file's text. `file` is its name in messages, and relative paths start at its folder.
    ///
    /// # Errors
    /// As [`PipelineFile::read`].
    pub fn parse(text: &str, file: &Path) -> Result<Self, FileError> {
        let root = Node::parse(text).map_err(|problem| FileError::new(file, vec![problem]))?;
        let mut problems = Vec::new();
        root.duplicates("", &mut problems);
        let parsed = Self::from_root(&root, file, &mut problems);
        FileError::unless_empty(file, problems)?;
        parsed.ok_or_else(|| FileError::new(file, vec![Problem::new(Place::START, "", "The file is empty")]))
    }

    fn from_root(root: &Node, file: &Path, problems: &mut Vec<Problem>) -> Option<Self> {
        let fields = Fields::of(root, "", &FIELDS, problems)?;
        read_version(&fields, problems);
        let name = read_name(&fields, problems);
        let source = read_side(&fields, "source", problems);
        let destination = read_side(&fields, "destination", problems);
        let mut count = |name, default| {
            let count = fields.count(name, u64::from(default), MAX_PARALLEL, problems);
            u32::try_from(count).unwrap_or(default)
        };
        let (lanes, parallel) = (count("lanes", 1), count("parallel", 1));
        let absolute = path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let parsed = Self {
            file: file.to_owned(),
            folder: absolute.parent().map_or_else(PathBuf::new, Path::to_owned),
            name: name.unwrap_or_default(),
            source: source?,
            destination: destination?,
            commit: read_commit(&fields, problems),
            on_rejected: fields.choice("on_rejected", &ON_REJECTED, problems),
            on_lost_snapshot: fields.choice("on_lost_snapshot", &ON_LOST_SNAPSHOT, problems),
            allow_duplicates: fields.boolean("allow_duplicates", problems),
            lanes,
            parallel,
            retry: read_retry(&fields, problems),
        };
        Some(parsed)
    }

    /// The pipeline's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file, as it was named.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// The connector that a side names: `postgres`, `postgres@^1.2`.
    pub fn connector(&self, role: Role) -> &str {
        &self.side(role).connector
    }

    /// The error for a connector that no plugin has, at the line that names it.
    pub fn unknown_connector(&self, role: Role, error: &hub_plugin_api::Error) -> FileError {
        let side = self.side(role);
        let mut problem = Problem::new(side.connector_place, join(side.path, "connector"), error.to_string());
        problem.hint.clone_from(&error.hint);
        FileError::new(&self.file, vec![problem])
    }

    pub(super) fn side(&self, role: Role) -> &Side {
        match role {
            Role::Source => &self.source,
            Role::Destination => &self.destination,
        }
    }
}

pub(super) const ON_REJECTED: [(&str, OnRejected); 2] =
    [("stop", OnRejected::Stop), ("dead_letter", OnRejected::DeadLetter)];
pub(super) const ON_LOST_SNAPSHOT: [(&str, OnLostSnapshot); 3] =
    [("stop", OnLostSnapshot::Stop), ("restart", OnLostSnapshot::Restart), ("mixed", OnLostSnapshot::Mixed)];

fn read_version(fields: &Fields<'_>, problems: &mut Vec<Problem>) {
    let Some(node) = fields.required("version", "version: 1", problems) else { return };
    if node.to_json() != FILE_VERSION {
        let message = match node.kind() {
            "a number" => format!("Version `{}` of the pipeline file is not known", node.to_json()),
            kind => format!("It must be a number, not {kind}"),
        };
        let hint = format!("This build reads version {FILE_VERSION}: write `version: {FILE_VERSION}`");
        problems.push(Problem::new(node.place, "version", message).with_hint(hint));
    }
}

/// A name goes into names on servers and into the store, so it is plain.
fn read_name(fields: &Fields<'_>, problems: &mut Vec<Problem>) -> Option<String> {
    let node = fields.required("name", "name: orders", problems)?;
    let name = text(node, "name", problems)?;
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !plain || name.len() > 64 || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        problems.push(Problem::new(node.place, "name", format!("`{name}` is not a name")).with_hint(
            "A name has up to 64 letters, digits, `-`, `_` and `.`, and begins with a letter or digit",
        ));
    }
    Some(name.to_owned())
}

fn read_side(fields: &Fields<'_>, path: &'static str, problems: &mut Vec<Problem>) -> Option<Side> {
    let node = fields.required(
        path,
        &format!("{path}: {{ connector: sqlite, config: {{ file: a.db }} }}"),
        problems,
    )?;
    let side = Fields::of(node, path, &ENDPOINT_FIELDS, problems)?;
    let mut map = |name| {
        let node = side.get(name)?;
        Fields::of_any(node, &side.path_of(name), problems).then(|| node.clone())
    };
    let (config, options) = (map("config"), map("options"));
    let strategy = side
        .get("strategy")
        .and_then(|node| Some((text(node, &side.path_of("strategy"), problems)?.to_owned(), node.place)));
    let connector = side.required("connector", "connector: postgres", problems)?;
    Some(Side {
        path,
        connector: text(connector, &side.path_of("connector"), problems)?.to_owned(),
        connector_place: connector.place,
        config,
        strategy,
        options,
    })
}

fn read_commit(fields: &Fields<'_>, problems: &mut Vec<Problem>) -> CommitSpec {
    let default = CommitSpec::default();
    let Some(commit) =
        fields.get("commit").and_then(|node| Fields::of(node, "commit", &COMMIT_FIELDS, problems))
    else {
        return default;
    };
    CommitSpec {
        every_ms: commit.quantity("every", default.every_ms, units::milliseconds, problems),
        bytes: commit.quantity("bytes", default.bytes, units::bytes, problems),
        rows: commit.get("rows").map(|_| commit.count("rows", 1, u64::MAX, problems)),
    }
}

fn read_retry(fields: &Fields<'_>, problems: &mut Vec<Problem>) -> RetrySpec {
    let default = RetrySpec::default();
    let Some(retry) = fields.get("retry").and_then(|node| Fields::of(node, "retry", &RETRY_FIELDS, problems))
    else {
        return default;
    };
    let attempts = retry.count("attempts", u64::from(default.attempts), u64::from(u32::MAX), problems);
    RetrySpec {
        attempts: u32::try_from(attempts).unwrap_or(default.attempts),
        first_delay_ms: retry.quantity("first_delay", default.first_delay_ms, units::milliseconds, problems),
        max_delay_ms: retry.quantity("max_delay", default.max_delay_ms, units::milliseconds, problems),
    }
}

/// The problem of a file that is text up to some place only.
fn not_utf8(before: &str) -> Problem {
    let line = before.rsplit('\n').next().unwrap_or_default();
    let place = Place::new(before.split('\n').count() as u64, line.chars().count() as u64 + 1);
    Problem::new(place, "", "The file is not text in UTF-8").with_hint("Save it as UTF-8")
}
