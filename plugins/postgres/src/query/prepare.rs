//! From a user's statement to what can be read: parameters filled in, columns known.

use hub_plugin_api::{Error, ErrorKind, Result};
use tokio_postgres::types::Type;

use super::{options::QueryOptions, parameters, shape::Shape};
use crate::{
    connection::Session,
    error,
    sql::{read, statement::StatementText},
};

/// What the server is.
#[derive(Clone, Copy, Debug)]
pub struct ServerInfo {
    /// As `server_version_num` has it: 150000 for 15.0.
    pub version: u32,
    /// It replays another server's changes.
    pub is_standby: bool,
    /// Milliseconds since the last replayed change was made, where there is one.
    pub replay_lag_ms: Option<i64>,
}

impl ServerInfo {
    /// Asks a session's server.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn of(session: &Session) -> Result<Self> {
        let failed = |error| error::from_driver("Could not ask the server what it is", &error);
        let row = session.work(session.client().query_one(read::SERVER, &[])).await.map_err(failed)?;
        let version: i32 = row.try_get(0).map_err(failed)?;
        Ok(Self {
            version: u32::try_from(version).unwrap_or_default(),
            is_standby: row.try_get(1).map_err(failed)?,
            replay_lag_ms: row.try_get(2).map_err(failed)?,
        })
    }
}

/// A statement that is ready to be read.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// With its parameters filled in.
    pub text: StatementText,
    /// Its columns.
    pub shape: Shape,
}

impl Prepared {
    /// Prepares the options' statement. `values` are its parameters; without them, those of the options.
    ///
    /// # Errors
    /// When the statement is wrong, or parameters and values do not fit.
    pub async fn new(
        session: &Session,
        options: &QueryOptions,
        values: Option<Vec<Option<String>>>,
    ) -> Result<Self> {
        let text = StatementText::parse(&options.statement)?;
        let statement = prepare(session, &text).await?;
        let types: &[Type] = statement.params();
        let values = values.unwrap_or_else(|| parameters::from_json(&options.parameters, types));
        if types.is_empty() && values.is_empty() {
            let shape = Shape::of(session, &statement, &text, options).await?;
            return Ok(Self { text, shape });
        }
        let text = text.with_parameters(&parameters::expressions(&values, types)?)?;
        let statement = prepare(session, &text).await?;
        let shape = Shape::of(session, &statement, &text, options).await?;
        Ok(Self { text, shape })
    }
}

/// Has the server look at a statement.
///
/// # Errors
/// As the server answers, with the field.
pub async fn prepare(session: &Session, text: &StatementText) -> Result<tokio_postgres::Statement> {
    let prepared = session.work(session.client().prepare(text.as_str())).await;
    prepared.map_err(|error| refused(error::from_driver("The server refuses the statement", &error)))
}

/// Names the field at fault, where it is the statement that is refused.
pub(super) fn refused(error: Error) -> Error {
    match error.kind {
        ErrorKind::Network | ErrorKind::Unavailable => error,
        _ => error.with_field("statement"),
    }
}
