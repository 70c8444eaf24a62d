use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::{Config, Error};

/// What a connection test is for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckRequest {
    /// The strategy's id.
    pub strategy: String,
    /// Its options.
    #[serde(default)]
    pub options: Config,
}

/// How a step of a connection test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStatus {
    /// As it should be.
    Passed,
    /// It works, with a remark.
    Warning,
    /// It does not work; later steps are skipped.
    Failed,
    /// An earlier step failed, or the step does not apply.
    Skipped,
}

/// One step of a connection test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStep {
    /// network, tls, authentication, access, permissions, headroom, write-probe.
    pub step: String,
    /// How it ended.
    pub status: CheckStatus,
    /// What was found.
    pub message: String,
    /// The parameter or option at fault, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The exact statement to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl CheckStep {
    /// A step that ended in a way.
    pub fn new(step: impl Into<String>, status: CheckStatus, message: impl Into<String>) -> Self {
        Self { step: step.into(), status, message: message.into(), field: None, hint: None, fix: None }
    }

    /// A step that passed.
    pub fn passed(step: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(step, CheckStatus::Passed, message)
    }

    /// A step that works, with a remark.
    pub fn warning(step: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(step, CheckStatus::Warning, message)
    }

    /// A step that was not run.
    pub fn skipped(step: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(step, CheckStatus::Skipped, message)
    }

    /// A step that failed with an error, whose field and hint it keeps.
    pub fn failed(step: impl Into<String>, error: &Error) -> Self {
        let mut result = Self::new(step, CheckStatus::Failed, error.to_string());
        result.field.clone_from(&error.field);
        result.hint.clone_from(&error.hint);
        result
    }

    /// The same step with the field at fault.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same step with what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same step with the exact statement to run.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// Takes each step of a connection test as it happens.
#[derive(Clone)]
pub struct CheckReporter(Arc<dyn Fn(CheckStep) + Send + Sync>);

impl CheckReporter {
    /// Hands each step to `report`.
    pub fn new(report: impl Fn(CheckStep) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    /// Reports one step.
    pub fn report(&self, step: CheckStep) {
        (self.0)(step);
    }

    /// A reporter that collects, and what it collects into.
    pub fn collecting() -> (Self, Arc<Mutex<Vec<CheckStep>>>) {
        let steps = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&steps);
        (Self::new(move |step| sink.lock().unwrap_or_else(PoisonError::into_inner).push(step)), steps)
    }
}

/// All steps of a connection test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// In the order in which they ran.
    pub steps: Vec<CheckStep>,
}

impl CheckReport {
    /// Whether no step failed.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(|step| step.status != CheckStatus::Failed)
    }
}
