use connector_hub::{
    api::{Error, ErrorKind},
    pipeline::FileError,
};

/// How a command ended.
pub type Outcome = Result<Exit, Failure>;

/// A command's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Done,
    /// It failed.
    Failed,
    /// The command line or a file is wrong.
    Usage,
    /// A step of a connection test failed.
    CheckFailed,
    /// The run finished, and some rows are dead letters.
    DeadLetters,
    /// A signal of this number stopped the run after a commit.
    Stopped(u8),
}

impl Exit {
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::CheckFailed => 3,
            Self::DeadLetters => 4,
            Self::Stopped(signal) => 128 + signal,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// An error of the hub's or of a plugin's.
    Error(Error),
    /// What is wrong in a pipeline file.
    File(FileError),
    /// An error of a run, which its last event told already.
    Run(Error),
}

impl Failure {
    /// The command line is wrong.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Error(Error::new(ErrorKind::InvalidConfig, message).with_hint(hint))
    }

    pub fn exit(&self) -> Exit {
        match self {
            Self::File(_) => Exit::Usage,
            Self::Error(error) | Self::Run(error) if error.kind == ErrorKind::InvalidConfig => Exit::Usage,
            Self::Error(_) | Self::Run(_) => Exit::Failed,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}
