//! What the server says of its log.

use std::{collections::HashMap, sync::Arc};

use hub_plugin_api::{Context, Error, ErrorKind, Result};

use super::{
    charset::{Characters, Charsets},
    definition::TableNames,
    filter::TableFilter,
    foreign_keys::silent_children,
    gtid::Gtids,
    position::LogPosition,
};
use crate::{
    catalog::TableColumn,
    config::Settings,
    connection::{Session, TextRows},
    flavor::Vendor,
    sql,
};

const ASKING: &str = "Could not ask the server about its binary log";

/// A session for questions about the log.
pub struct LogServer {
    session: Session,
    /// The server's UUID, or what stands for one.
    pub id: String,
    /// Whether transactions have ids that the log can be followed by.
    pub counts: bool,
    /// Whether names of tables are kept in small letters, whatever statements call them.
    pub small_letters: bool,
}

impl LogServer {
    /// Opens a session and asks who answers.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub async fn open(settings: &Settings, context: &Context) -> Result<Self> {
        let session = Session::open(settings, context).await?;
        let mut this = Self { session, id: String::new(), counts: true, small_letters: false };
        match this.vendor() {
            Vendor::MySql => {
                let answer = this.ask("SELECT @@GLOBAL.server_uuid, @@GLOBAL.gtid_mode").await?;
                this.id = at(&answer, 0, 0).unwrap_or_default();
                this.counts = at(&answer, 0, 1).is_some_and(|mode| mode == "ON");
            }
            Vendor::MariaDb => {
                // Its number is all that every version has; a clone that has the same is known by its GTIDs.
                this.id = this.variable("server_uid").await?.unwrap_or_default();
                if this.id.is_empty() {
                    this.id = this.variable("server_id").await?.unwrap_or_default();
                }
            }
        }
        this.small_letters = this.variable("lower_case_table_names").await?.as_deref() == Some("1");
        Ok(this)
    }

    /// Names of tables as this server keeps them.
    pub fn fold(&self, filter: TableFilter) -> TableFilter {
        if self.small_letters { filter.in_small_letters() } else { filter }
    }

    /// The vendor.
    pub fn vendor(&self) -> Vendor {
        self.session.server().vendor
    }

    /// Asks for a small answer.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn ask(&mut self, statement: &str) -> Result<TextRows> {
        self.session.ask(statement, ASKING).await
    }

    /// The columns of tables as the server declares them now.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn table_columns(&mut self, tables: &[(String, String)]) -> Result<Vec<TableColumn>> {
        crate::catalog::columns_of_tables(&mut self.session, tables).await
    }

    /// The tables whose rows a foreign key deletes or changes without a word in the log.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn silent_children(&mut self) -> Result<TableNames> {
        silent_children(&mut self.session).await
    }

    /// Runs a statement that gives no rows.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn run(&mut self, statement: &str) -> Result<()> {
        self.session.run(statement, ASKING).await.map(drop)
    }

    /// A global variable; none where the server has none of this name.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn variable(&mut self, name: &str) -> Result<Option<String>> {
        let answer = self.ask(&format!("SHOW GLOBAL VARIABLES WHERE Variable_name = '{name}'")).await?;
        Ok(at(&answer, 0, 1))
    }

    /// The character sets of the server.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn charsets(&mut self) -> Result<Charsets> {
        Ok(Charsets { of_collations: self.collations().await?, single: self.single_byte_charsets().await? })
    }

    /// What every byte means in the character sets of one byte a character.
    async fn single_byte_charsets(&mut self) -> Result<HashMap<String, Arc<Characters>>> {
        let answer = self
            .ask(
                "SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS \
                 WHERE MAXLEN = 1 AND CHARACTER_SET_NAME NOT IN ('binary', 'ascii')",
            )
            .await?;
        let names: Vec<_> = (0..answer.rows.len()).filter_map(|row| at(&answer, row, 0)).collect();
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let all = sql::hex_literal(&(0..=u8::MAX).collect::<Vec<_>>());
        let conversions = names.iter().map(|name| format!("HEX(CONVERT(_{name} {all} USING utf32))"));
        let statement = format!("SELECT {}", conversions.collect::<Vec<_>>().join(", "));
        let answer = self.ask(&statement).await?;
        let one = |(place, name)| Some((name, Arc::new(Characters::of_utf32(&at(&answer, 0, place)?)?)));
        Ok(names.into_iter().enumerate().filter_map(one).collect())
    }

    /// The character set of every collation.
    async fn collations(&mut self) -> Result<HashMap<u16, String>> {
        // MariaDB's collations of every character set have their numbers here, and here only.
        let statement = match self.vendor() {
            Vendor::MySql => "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS",
            Vendor::MariaDb => {
                "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
            }
        };
        let answer = match self.ask(statement).await {
            Err(error) if error.kind == ErrorKind::NotFound => {
                self.ask("SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS").await?
            }
            other => other?,
        };
        let one = |row| Some((at(&answer, row, 0)?.parse().ok()?, at(&answer, row, 1)?));
        Ok((0..answer.rows.len()).filter_map(one).collect())
    }

    /// Where the log ends now.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the server keeps no log.
    pub async fn end_of_log(&mut self) -> Result<LogPosition> {
        let statement = match self.vendor() {
            Vendor::MySql if self.session.server().version >= (8, 2, 0) => "SHOW BINARY LOG STATUS",
            _ => "SHOW MASTER STATUS",
        };
        let answer = self.ask(statement).await?;
        let file = answer.get(0, "File").filter(|file| !file.is_empty()).ok_or_else(no_log)?.to_owned();
        let offset = answer.get(0, "Position").and_then(|text| text.parse().ok()).unwrap_or(4);
        self.position_at(file, offset).await
    }

    /// A place of the log that is just behind all that was committed, or that a snapshot told.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn position_at(&mut self, file: String, offset: u64) -> Result<LogPosition> {
        let gtids = match self.vendor() {
            Vendor::MySql if self.counts => {
                self.ask("SELECT @@GLOBAL.gtid_executed").await?.first().map(str::to_owned)
            }
            Vendor::MySql => None,
            Vendor::MariaDb => {
                let asking = format!("SELECT BINLOG_GTID_POS({}, {offset})", sql::literal(&file));
                self.ask(&asking).await?.first().map(str::to_owned)
            }
        };
        Ok(self.position(file, offset, gtids))
    }

    /// The files of the log that are still there, the oldest first.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn files(&mut self) -> Result<Vec<String>> {
        let answer = self.ask("SHOW BINARY LOGS").await?;
        Ok((0..answer.rows.len()).filter_map(|row| at(&answer, row, 0)).collect())
    }

    /// Where the log that is still there begins.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the server keeps no log.
    pub async fn start_of_log(&mut self) -> Result<LogPosition> {
        let file = self.files().await?.into_iter().next().ok_or_else(no_log)?;
        let gtids = match self.vendor() {
            Vendor::MySql if self.counts => {
                self.ask("SELECT @@GLOBAL.gtid_purged").await?.first().map(str::to_owned)
            }
            _ => None,
        };
        Ok(self.position(file, 4, gtids))
    }

    /// Where a file of the log begins, and what was seen before it.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn start_of_file(&mut self, file: String) -> Result<LogPosition> {
        let asking = match self.vendor() {
            // The second event of a file says what the earlier ones hold.
            Vendor::MySql if self.counts => format!("SHOW BINLOG EVENTS IN {} LIMIT 2", sql::literal(&file)),
            Vendor::MySql => return Ok(self.position(file, 4, None)),
            Vendor::MariaDb => format!("SELECT BINLOG_GTID_POS({}, 4)", sql::literal(&file)),
        };
        let answer = self.ask(&asking).await?;
        let gtids = match self.vendor() {
            Vendor::MySql => answer.get(1, "Info").unwrap_or_default().to_owned(),
            Vendor::MariaDb => answer.first().unwrap_or_default().to_owned(),
        };
        Ok(self.position(file, 4, Some(gtids)))
    }

    fn position(&self, file: String, offset: u64, gtids: Option<String>) -> LogPosition {
        LogPosition {
            server: self.id.clone(),
            file,
            offset,
            gtids: gtids.map(plain),
            ..LogPosition::default()
        }
    }

    /// Whether the log still has what comes after a position.
    ///
    /// # Errors
    /// [`ErrorKind::PositionLost`] with the choices when it does not.
    pub async fn check_position(&mut self, position: &LogPosition) -> Result<()> {
        if let Some(Gtids::MySql(seen)) = position.gtids(self.vendor())?
            && self.counts
        {
            let answer = self.ask("SELECT @@GLOBAL.gtid_purged, @@GLOBAL.gtid_executed").await?;
            let set = |place| at(&answer, 0, place).unwrap_or_default().parse::<super::gtid::GtidSet>();
            let (purged, executed) = (set(0)?, set(1)?);
            if !seen.contains_all(&purged) {
                return Err(lost(format!(
                    "The server has purged transactions that were not read: it purged `{purged}`, `{seen}` were read"
                )));
            }
            if !executed.contains_all(&seen) {
                return Err(lost(format!("The server does not have all transactions that were read: it has `{executed}`, `{seen}` were read"))
                    .with_hint("After a failover wait until this server has caught up; after RESET or a restored backup read everything again with `--from-scratch`"));
            }
            return Ok(());
        }
        if position.gtids.is_some() && self.vendor() == Vendor::MariaDb {
            // The server itself compares MariaDB's positions, and refuses what it does not have.
            return Ok(());
        }
        // Whoever names a file and a place himself means this server's.
        if !position.server.is_empty() && position.server != self.id {
            return Err(lost(format!(
                "The position is of server `{}`, this is server `{}`, and transactions have no ids to go by",
                position.server, self.id
            )));
        }
        let answer = self.ask("SHOW BINARY LOGS").await?;
        let size = (0..answer.rows.len())
            .find(|row| at(&answer, *row, 0).as_deref() == Some(position.file.as_str()))
            .and_then(|row| at(&answer, row, 1)?.parse::<u64>().ok());
        match size {
            None => Err(lost(format!("The server no longer has the file `{}` of its log", position.file))),
            Some(size) if size < position.offset => Err(lost(format!(
                "File `{}` of the log ends at `{size}`, and was read up to `{}`: the log was reset",
                position.file, position.offset
            ))),
            Some(_) => Ok(()),
        }
    }
}

/// A value by its place.
fn at(answer: &TextRows, row: usize, place: usize) -> Option<String> {
    answer.rows.get(row)?.get(place)?.clone()
}

/// A GTID set without the line breaks that servers put in.
fn plain(text: String) -> String {
    text.chars().filter(|one| !one.is_whitespace()).collect()
}

fn no_log() -> Error {
    Error::new(ErrorKind::Unsupported, "The server keeps no binary log, or this account may not see it")
        .with_hint(
            "Start the server with `log_bin`, and grant REPLICATION CLIENT (BINLOG MONITOR on MariaDB)",
        )
}

/// What a position names is gone: the choices are the user's.
pub fn lost(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::PositionLost, message).with_hint(
        "Read everything again with `--from-scratch`; keep logs longer with `binlog_expire_logs_seconds`",
    )
}
