use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use super::{
    report::{Kept, Outcome, Report, Stop, Verdict},
    rules,
    session::Run,
    subject::Subject,
};
use crate::{Connector, ffi};

type Rule = fn(&Run) -> Kept;

/// Every rule, in the order in which they run.
const TABLE: [(&str, Rule); 13] = [
    ("manifest_valid", rules::manifest_valid),
    ("check_truthful", rules::check_truthful),
    ("reads_all_rows", rules::reads_all_rows),
    ("resumes_from_each_boundary", rules::resumes_from_each_boundary),
    ("bounded_memory", rules::bounded_memory),
    ("cancel_within_one_second", rules::cancel_within_one_second),
    ("refuses_token_not_next", rules::refuses_token_not_next),
    ("refuses_commit_after_lane_taken", rules::refuses_commit_after_lane_taken),
    ("hostile_identifiers_and_values", rules::hostile_identifiers_and_values),
    ("every_type_row", rules::every_type_row),
    ("secrets_never_in_output", rules::secrets_never_in_output),
    ("rollback_on_drop", rules::rollback_on_drop),
    ("rejected_rows", rules::rejected_rows),
];

/// The names of the rules, in the order in which they run.
pub const RULES: [&str; TABLE.len()] = {
    let mut names = [""; TABLE.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = TABLE[index].0;
        index += 1;
    }
    names
};

/// The environment variable that picks one rule.
const FILTER: &str = "HUB_CONFORMANCE_RULE";

/// Runs every rule on a connector, as the host would see it in a library. The environment variable
/// `HUB_CONFORMANCE_RULE` picks one rule.
pub fn run(subject: impl Subject) -> Report {
    Suite::new(subject).run()
}

/// The suite, to be set up.
pub struct Suite {
    subject: Arc<dyn Subject>,
    loaded: Option<Arc<dyn Connector>>,
    rules: Vec<&'static str>,
    limit: Duration,
}

impl Suite {
    /// Every rule, on the subject's connector through the whole glue.
    pub fn new(subject: impl Subject) -> Self {
        let picked = env::var(FILTER).ok();
        let rules = RULES.into_iter().filter(|rule| picked.as_deref().is_none_or(|picked| picked == *rule));
        Self {
            subject: Arc::new(subject),
            loaded: None,
            rules: rules.collect(),
            limit: Duration::from_secs(120),
        }
    }

    /// The same suite on a connector as a library brought it, in the same surroundings.
    #[must_use]
    pub fn loaded(mut self, connector: Arc<dyn Connector>) -> Self {
        self.loaded = Some(connector);
        self
    }

    /// The same suite with these rules only.
    ///
    /// # Panics
    /// For a name that is no rule's.
    #[must_use]
    pub fn only(mut self, rules: &[&str]) -> Self {
        for rule in rules {
            assert!(RULES.contains(rule), "`{rule}` is no rule; there are: {}", RULES.join(", "));
        }
        self.rules.retain(|rule| rules.contains(rule));
        self
    }

    /// The same suite with another time that one rule may take; 120 s by default.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the rules.
    pub fn run(self) -> Report {
        let connector = match self.loaded {
            Some(connector) => Ok(connector),
            None => ffi::loopback(self.subject.connector()),
        };
        let connector = match connector {
            Ok(connector) => connector,
            Err(error) => {
                let message = format!("The connector does not answer: {error}");
                let outcome = |rule| Outcome { rule, verdict: Verdict::Failed, message: message.clone() };
                return Report {
                    connector: "unknown".into(),
                    outcomes: self.rules.into_iter().map(outcome).collect(),
                };
            }
        };
        let run = Arc::new(Run::new(self.subject, connector));
        let table = TABLE.iter().filter(|(name, _)| self.rules.contains(name));
        let outcomes = table.map(|(name, rule)| {
            let (verdict, message) = match limited(&run, *rule, self.limit) {
                Ok(message) => (Verdict::Passed, message),
                Err(Stop::Failed(message)) => (Verdict::Failed, message),
                Err(Stop::NotApplicable(message)) => (Verdict::NotApplicable, message),
            };
            Outcome { rule: name, verdict, message }
        });
        Report { connector: run.spec.id.clone(), outcomes: outcomes.collect() }
    }
}

/// A rule that does not come back is given up, with its thread.
fn limited(run: &Arc<Run>, rule: Rule, limit: Duration) -> Kept {
    let (sender, receiver) = mpsc::channel();
    let run = Arc::clone(run);
    thread::spawn(move || {
        let kept = catch_unwind(AssertUnwindSafe(|| rule(&run))).unwrap_or_else(|payload| {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(Stop::Failed(format!("It panicked: {text}")))
        });
        // Nobody listens any more when the limit is over.
        let _ = sender.send(kept);
    });
    receiver.recv_timeout(limit).unwrap_or_else(|_| {
        Err(Stop::Failed(format!(
            "It did not end within {} s: a call of the connector hangs",
            limit.as_secs()
        )))
    })
}
