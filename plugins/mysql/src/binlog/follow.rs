//! Turns the log's events into the events of a reader.

mod declare;
mod tables;
mod xa;

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use hub_plugin_api::{Budgets, Error, ErrorKind, Event, Result};

use self::xa::Settling;
pub use self::xa::{Needed, PreparedXa, xa_name};
use super::{
    charset::Charsets,
    cursor::malformed,
    definition::TableNames,
    event::{self, Gtid, Head, code},
    filter::TableFilter,
    gtid::Gtids,
    history::History,
    position::{LogPosition, Place},
    query::Query,
    rows::{ChangedRows, is_rows},
    statement::{self, Statement},
};
use crate::{flavor::Vendor, raw::column::ZeroDates};

/// Set on events that may be left out.
const IGNORABLE: u16 = 0x80;

/// What the user wants of the changes.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// Which tables.
    pub filter: TableFilter,
    /// What becomes of dates that are none.
    pub zero_dates: ZeroDates,
    /// Hand over the whole row as it was.
    pub whole_before: bool,
    /// How much may be collected.
    pub budgets: Budgets,
}

/// A table that is followed.
struct Table {
    /// Its last table map, to know an equal one without reading it.
    map: Vec<u8>,
    rows: ChangedRows,
    schema_id: u32,
    /// Whether its shape was handed over.
    announced: bool,
    /// What is new about the shape.
    change: Option<String>,
}

/// A transaction whose end did not come yet.
struct Open {
    committed_micros: i64,
    /// Ends with its first statement.
    standalone: bool,
    begun: bool,
    /// Its rows are those of an XA transaction: they wait for its decision.
    xa: bool,
    /// There were such rows.
    has_prepared_rows: bool,
    undone_alter: bool,
    gtid: Option<Gtid>,
    /// Rows of followed tables.
    rows: u64,
}

/// Follows the log from a position.
pub struct Follower {
    vendor: Vendor,
    charsets: Charsets,
    wishes: Wishes,
    history: History,
    position: LogPosition,
    gtids: Option<Gtids>,
    open: Option<Open>,
    /// Where the packed transaction ends whose events come now.
    packed_until: Option<u32>,
    /// Tables by the number that rows name them by; none for one that is not followed.
    by_id: HashMap<u64, Option<usize>>,
    by_name: HashMap<(Vec<u8>, Vec<u8>), Option<usize>>,
    tables: Vec<Table>,
    next_schema: u32,
    out: VecDeque<Event>,
    boundaries: u64,
    /// Boundaries that are not yet durable, and the number of the last change of declarations before each.
    declared_at: VecDeque<(u64, u64)>,
    /// Since when the first row waits that was not handed over.
    waiting_since: Option<Instant>,
    /// Whether the position moved since the last boundary.
    moved: bool,
    /// Whether rows came since the last boundary that had to be committed.
    uncommitted: bool,
    /// Whether the server has said which file it sends: the position's may be that of another server.
    located: bool,
    /// Whether the server writes names of tables in small letters.
    small_letters: bool,
    /// What the user should know.
    notices: Vec<String>,
    /// The prepared transaction whose rows are read before the stream goes on.
    settling: Option<Settling>,
    /// Where the stream is to stop for a while.
    barrier: Option<Place>,
    last_boundary: Instant,
    /// Commit time of the last transaction, µs since 1970 UTC.
    pub last_committed_micros: i64,
}

impl Follower {
    /// Follows from `position`, on a server that counts what was seen as `gtids`.
    pub fn new(
        vendor: Vendor,
        charsets: Charsets,
        wishes: Wishes,
        history: History,
        position: LogPosition,
        gtids: Option<Gtids>,
    ) -> Self {
        Self {
            vendor,
            charsets,
            wishes,
            history,
            position,
            gtids,
            open: None,
            packed_until: None,
            by_id: HashMap::new(),
            by_name: HashMap::new(),
            tables: Vec::new(),
            next_schema: 0,
            out: VecDeque::new(),
            boundaries: 0,
            declared_at: VecDeque::new(),
            waiting_since: None,
            moved: false,
            uncommitted: false,
            located: false,
            small_letters: false,
            notices: Vec::new(),
            settling: None,
            barrier: None,
            last_boundary: Instant::now(),
            last_committed_micros: 0,
        }
    }

    /// The server writes names of tables in small letters, whatever statements call them.
    pub fn in_small_letters(mut self, small_letters: bool) -> Self {
        self.small_letters = small_letters;
        self
    }

    /// What the user should know of what was read.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// The next event to hand over.
    pub fn take(&mut self) -> Option<Event> {
        self.out.pop_front()
    }

    /// Whether there is something to hand over.
    pub fn is_ready(&self) -> bool {
        !self.out.is_empty()
    }

    /// Since when rows wait.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// Whether a boundary could stand here, and would say something new.
    pub fn stands_at_news(&self) -> bool {
        self.open.is_none() && (self.moved || self.waiting_since.is_some())
    }

    /// Whether the stream stands between two transactions.
    pub fn is_between(&self) -> bool {
        self.open.is_none()
    }

    /// Whether the stream stands between two transactions at a known place of this server's log.
    pub fn is_located(&self) -> bool {
        self.located && self.is_between()
    }

    /// Where the stream is to stop, at the end of the transaction that reaches it.
    pub fn set_barrier(&mut self, barrier: Option<Place>) {
        self.barrier = barrier;
    }

    /// Whether all that was to come before the barrier came.
    pub fn is_at_barrier(&self) -> bool {
        self.is_between() && self.barrier.as_ref().is_some_and(|barrier| self.position.place() >= *barrier)
    }

    /// What is handed over of which tables.
    pub fn wishes(&self) -> &Wishes {
        &self.wishes
    }

    /// The tables that are to be read again.
    pub fn snapshots(&mut self) -> &mut TableNames {
        &mut self.position.snapshots
    }

    /// The number of the last change.
    pub fn changes(&self) -> u64 {
        self.position.changes
    }

    /// When the last boundary was made.
    pub fn last_boundary(&self) -> Instant {
        self.last_boundary
    }

    /// Takes one event of the log, without its checksum.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] for what is not as documented, [`ErrorKind::Unsupported`] for what cannot be followed.
    pub fn apply(&mut self, head: Head, body: &[u8]) -> Result<()> {
        self.take_event(head, body).map_err(|error| {
            error.with_context("file", &self.position.file).with_context("offset", self.position.offset)
        })
    }

    fn take_event(&mut self, head: Head, body: &[u8]) -> Result<()> {
        match head.code {
            code::TABLE_MAP => self.table_map(body)?,
            of if is_rows(of) => self.rows(of, body)?,
            of if event::is_gtid(of) => self.begin(head, body)?,
            code::XID => self.end(head)?,
            code::QUERY => self.query(head, &Query::parse(body, false, &self.charsets)?)?,
            code::MARIADB_QUERY_COMPRESSED => self.query(head, &Query::parse(body, true, &self.charsets)?)?,
            code::TRANSACTION_PAYLOAD => {
                self.packed_until = Some(head.next);
                event::each_of_payload(body, |event| {
                    let (head, body) = event::split(event)?;
                    self.take_event(head, body)
                })?;
                if self.open.is_some() {
                    return Err(malformed("A packed transaction of the binary log does not end"));
                }
            }
            code::XA_PREPARE => self.xa_prepare(head, body)?,
            code::ROTATE => {
                let (file, offset) = event::place(head, body)?;
                self.no_transaction("the file ends")?;
                (self.position.file, self.position.offset) = (file, offset);
                self.located = true;
                self.by_id.clear();
                self.moved |= head.flags & event::ARTIFICIAL == 0;
            }
            code::HEARTBEAT | code::HEARTBEAT_V2 => {
                let (file, offset) = event::place(head, body)?;
                if self.open.is_none() && !file.is_empty() && offset > 0 {
                    self.moved |= (&self.position.file, self.position.offset) != (&file, offset);
                    (self.position.file, self.position.offset) = (file, offset);
                }
            }
            code::FORMAT => {
                self.no_transaction("the server was started")?;
                self.by_id.clear();
            }
            code::INCIDENT => return Err(event::incident(body)),
            _ if is_harmless(head) => {
                if self.open.is_none() && head.flags & event::ARTIFICIAL == 0 {
                    self.advance(head.next);
                }
            }
            other => {
                return Err(malformed(format!("The binary log holds an event of unknown kind {other}"))
                    .with_hint("This version of the connector does not know what this server writes"));
            }
        }
        Ok(())
    }

    fn no_transaction(&self, what: &str) -> Result<()> {
        match &self.open {
            Some(open) if open.rows > 0 => {
                Err(malformed(format!("A transaction of the binary log does not end before {what}")))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, head: Head, body: &[u8]) -> Result<()> {
        self.no_transaction("the next one begins")?;
        let gtid = Gtid::parse(head, body)?;
        let (standalone, prepared_xa, undone_alter, micros) = match &gtid {
            Gtid::MariaDb { standalone, prepared_xa, undone_alter, .. } => {
                (*standalone, *prepared_xa, *undone_alter, 0)
            }
            Gtid::MySql { committed_micros, .. } => (false, false, false, *committed_micros),
        };
        let micros = if micros == 0 { u64::from(head.timestamp) * 1_000_000 } else { micros };
        self.open = Some(Open {
            committed_micros: micros as i64,
            standalone,
            // MariaDB writes no BEGIN behind its GTID.
            begun: matches!(gtid, Gtid::MariaDb { standalone: false, .. }),
            xa: prepared_xa,
            has_prepared_rows: false,
            undone_alter,
            gtid: Some(gtid),
            rows: 0,
        });
        Ok(())
    }

    /// The transaction that rows or a statement belong to; a log without GTIDs has only statements to start one.
    fn open(&mut self, head: Head) -> &mut Open {
        self.open.get_or_insert_with(|| Open {
            committed_micros: i64::from(head.timestamp) * 1_000_000,
            standalone: false,
            begun: false,
            xa: false,
            has_prepared_rows: false,
            undone_alter: false,
            gtid: None,
            rows: 0,
        })
    }

    fn query(&mut self, head: Head, query: &Query) -> Result<()> {
        let open = self.open(head);
        let undone_alter = open.undone_alter;
        match statement::read(&query.text, query.quotes) {
            Statement::Begin => open.begun = true,
            Statement::XaStart => (open.begun, open.xa) = (true, true),
            Statement::XaCommit(name) => self.xa_commit(head, name)?,
            Statement::XaRollback(name) => self.xa_rollback(head, &name)?,
            Statement::Commit => self.end(head)?,
            Statement::Rollback => {
                if open.rows > 0 {
                    return Err(Error::unsupported("A transaction that is taken back in the log")
                        .with_hint("It mixes tables with and without transactions: leave one of them out"));
                }
                self.end(head)?;
            }
            Statement::Savepoint => {}
            Statement::RollbackToSavepoint => {
                if open.rows > 0 {
                    return Err(Error::unsupported("A transaction that is partly taken back in the log")
                        .with_hint("It mixes tables with and without transactions: leave one of them out"));
                }
            }
            Statement::Change if self.wishes.filter.may_match_database(&query.database) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("The log holds a statement in place of the rows that it changed, in database `{}`", query.database),
                )
                .with_hint("Log rows with `SET GLOBAL binlog_format = 'ROW'`, in every session, and begin again with `--from-scratch`"));
            }
            Statement::Truncate(name) => {
                let (mut database, mut table) = name.within(&query.database);
                if self.small_letters {
                    (database, table) = (database.to_lowercase(), table.to_lowercase());
                }
                self.empty(database, table)?;
                self.end_unless_begun(head)?;
            }
            Statement::Other => {
                if !undone_alter {
                    self.declare(query)?;
                }
                self.end_unless_begun(head)?;
            }
            Statement::Change => self.end_unless_begun(head)?,
        }
        Ok(())
    }

    /// Positions up to boundary `number` are durable: what was declared before the last of them may be forgotten.
    ///
    /// # Errors
    /// When the host cannot store that.
    pub fn acknowledge(&mut self, number: u64) -> Result<()> {
        let mut durable = None;
        while let Some((boundary, schema)) = self.declared_at.front().copied()
            && boundary <= number
        {
            durable = Some(schema);
            self.declared_at.pop_front();
        }
        durable.map_or(Ok(()), |schema| self.history.forget_before(schema))
    }

    fn end_unless_begun(&mut self, head: Head) -> Result<()> {
        let open = self.open(head);
        if open.standalone || !open.begun { self.end(head) } else { Ok(()) }
    }

    /// The next event of the file starts there; 0 says nothing.
    fn advance(&mut self, next: u32) {
        if next != 0 {
            // Files above 4 GiB wrap around.
            let (high, low) = (self.position.offset >> 32, self.position.offset as u32);
            self.position.offset = (high + u64::from(next < low)) << 32 | u64::from(next);
        }
    }

    fn end(&mut self, head: Head) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        match (open.gtid, &mut self.gtids) {
            (Some(Gtid::MySql { id: Some((source, number)), .. }), Some(Gtids::MySql(set))) => {
                set.add(source, number);
            }
            (Some(Gtid::MariaDb { id, .. }), Some(Gtids::MariaDb(position))) => position.set(id),
            _ => {}
        }
        let next = self.packed_until.take().unwrap_or(head.next);
        self.advance(next);
        (self.moved, self.last_committed_micros) = (true, open.committed_micros);
        if self.is_full() {
            self.hand_over()?;
        }
        Ok(())
    }
}

/// Events that say nothing about rows: statements' texts, variables, checkpoints, lists of GTIDs.
fn is_harmless(head: Head) -> bool {
    matches!(head.code, code::STOP | 5 | 13 | 14 | 28 | 29 | 35 | 36 | 37 | 160 | 161 | 163)
        || head.code == code::MARIADB_START_ENCRYPTION
        || head.flags & IGNORABLE != 0
}
