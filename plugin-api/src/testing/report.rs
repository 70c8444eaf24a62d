use std::fmt;

use crate::Error;

/// How a connector stands to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It keeps the rule.
    Passed,
    /// It breaks the rule.
    Failed,
    /// Its manifest or its subject says that it cannot have what the rule is about.
    NotApplicable,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::NotApplicable => "not applicable",
        })
    }
}

/// What came out of one rule.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The rule's name.
    pub rule: &'static str,
    /// How the connector stands to it.
    pub verdict: Verdict,
    /// What was seen, or what is wrong.
    pub message: String,
}

/// What came out of the suite. Shown, it is one line a rule.
#[derive(Clone, Debug)]
pub struct Report {
    /// The connector's id.
    pub connector: String,
    /// In the order of the rules.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// Whether no rule is broken.
    pub fn passed(&self) -> bool {
        self.failed().is_empty()
    }

    /// The names of the broken rules.
    pub fn failed(&self) -> Vec<&'static str> {
        self.named(Verdict::Failed)
    }

    /// The names of the rules that do not apply.
    pub fn not_applicable(&self) -> Vec<&'static str> {
        self.named(Verdict::NotApplicable)
    }

    fn named(&self, verdict: Verdict) -> Vec<&'static str> {
        self.outcomes
            .iter()
            .filter(|outcome| outcome.verdict == verdict)
            .map(|outcome| outcome.rule)
            .collect()
    }

    /// Prints the report.
    ///
    /// # Panics
    /// When a rule is broken.
    pub fn assert(&self) {
        println!("{self}");
        assert!(self.passed(), "\n{self}");
    }

    /// As [`Report::assert`], and exactly `rules` do not apply: a rule that stops to apply is seen.
    ///
    /// # Panics
    /// When a rule is broken, or other rules do not apply.
    pub fn assert_except(&self, rules: &[&str]) {
        self.assert();
        assert_eq!(self.not_applicable(), rules, "other rules do not apply:\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "Conformance of connector `{}`", self.connector)?;
        for Outcome { rule, verdict, message } in &self.outcomes {
            writeln!(formatter, "  {rule:32} {verdict:14}  {}", message.replace('\n', "\n      "))?;
        }
        Ok(())
    }
}

/// Why a rule ends early.
#[derive(Debug)]
pub(super) enum Stop {
    NotApplicable(String),
    Failed(String),
}

/// What a rule saw when it is kept.
pub(super) type Kept = Result<String, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        let hint = error.hint.as_ref().map(|hint| format!("; hint: {hint}")).unwrap_or_default();
        Self::Failed(format!("Unexpected error of kind `{}`: {error}{hint}", error.kind))
    }
}

impl Stop {
    /// The same end, with what was being done.
    pub(super) fn during(self, what: impl fmt::Display) -> Self {
        match self {
            Self::Failed(message) => Self::Failed(format!("{what}: {message}")),
            other => other,
        }
    }
}

/// A broken rule.
pub(super) fn failed<T>(message: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(message.into()))
}

/// A broken rule unless `kept`.
pub(super) fn require(kept: bool, message: impl FnOnce() -> String) -> Result<(), Stop> {
    if kept { Ok(()) } else { Err(Stop::Failed(message())) }
}
