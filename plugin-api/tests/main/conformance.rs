//! The conformance suite, tested: a right connector passes, and each broken one fails exactly the rule that it breaks.

mod memory;

use std::sync::Arc;

use hub_plugin_api::{
    Config, Connector, Result, Statement, StreamId,
    arrow::{
        array::{Int64Array, RecordBatch, StringArray},
        datatypes::SchemaRef,
    },
    testing::{self, Broken, Destination, RULES, ReadBack, Rejecting, Source, Subject, Suite, Table},
    types::{Column, LogicalType, schema_of},
};
use memory::{Fault, Memory, PASSWORD, Store};

struct MemorySubject {
    memory: Memory,
    /// What was written is read by the strategy that reads, and not by a statement.
    reads_back_by_strategy: bool,
}

impl MemorySubject {
    fn new(fault: Fault) -> Self {
        Self { memory: Memory { store: Store::default(), fault }, reads_back_by_strategy: false }
    }
}

fn options(table: &str) -> Config {
    Config::new().with("table", table)
}

impl Subject for MemorySubject {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(self.memory.clone())
    }

    fn config(&self) -> Config {
        Config::new().with("host", "memory")
    }

    fn secrets(&self) -> Vec<(String, String)> {
        vec![("password".into(), PASSWORD.into())]
    }

    fn broken(&self) -> Vec<Broken> {
        vec![
            Broken::new("a host that is not there", Config::new().with("host", "nowhere"), "network", "host")
                .with_secret("password", PASSWORD),
            Broken::new("a wrong password", self.config(), "authentication", "password")
                .with_secret("password", "something else"),
        ]
    }

    fn source(&self, table: &Table) -> Result<Source> {
        self.memory.store.put(&table.name, vec![table.rows.clone()]);
        Ok(Source::new("query", options(&table.name)))
    }

    fn blocked_source(&self) -> Result<Source> {
        self.memory.store.put("asleep", vec![RecordBatch::new_empty(empty_schema())]);
        Ok(Source::new("query", options("asleep").with("sleep", 60)))
    }

    fn destination(&self, table: &Table) -> Result<Destination> {
        self.memory.store.remove(&table.name);
        Ok(Destination::new("write", options(&table.name), StreamId::named(&table.name)))
    }

    fn read_back(&self, table: &Table) -> Result<ReadBack> {
        Ok(if self.reads_back_by_strategy {
            ReadBack::Source(Source::new("query", options(&table.name)))
        } else {
            ReadBack::Query(Statement::Text(table.name.clone()))
        })
    }

    fn rejecting(&self) -> Result<Rejecting> {
        let columns = vec![
            Column::new("id", LogicalType::Int64).not_null().key(0),
            Column::new("note", LogicalType::Text),
        ];
        let ids = Int64Array::from(vec![1, 2, 1, 3, 3]);
        let notes = StringArray::from(vec!["a", "b", "c", "d", "e"]);
        let rows = RecordBatch::try_new(schema_of(&columns), vec![Arc::new(ids), Arc::new(notes)])?;
        let table = Table { name: "rejecting".into(), columns, rows };
        let mut destination = self.destination(&table)?;
        destination.options.set("unique", true);
        Ok(Rejecting { table, destination, refused: vec![2, 4] })
    }
}

fn empty_schema() -> SchemaRef {
    schema_of(&[Column::new("id", LogicalType::Int64)])
}

#[test]
fn the_right_connector_passes_every_rule() {
    let report = testing::run(MemorySubject::new(Fault::None));
    report.assert_except(&[]);
    assert_eq!(report.outcomes.len(), RULES.len());
}

#[test]
fn a_destination_that_nothing_has_made_yet_is_read_back_as_empty_by_either_way() {
    let subject = MemorySubject { reads_back_by_strategy: true, ..MemorySubject::new(Fault::None) };
    Suite::new(subject).only(&["rollback_on_drop"]).run().assert_except(&[]);
}

#[test]
fn a_connector_may_refuse_types_and_values_as_long_as_it_is_loud() {
    let report = Suite::new(MemorySubject::new(Fault::Narrow)).only(&["every_type_row"]).run();
    report.assert_except(&[]);
    assert_eq!(
        report.outcomes[0].message,
        "46 types mapped, 1 values at the edge refused; types refused: Interval"
    );
}

/// Each fault, and the one rule that must find it.
const FAULTS: [(Fault, &str); 22] = [
    (Fault::ParameterForNoStrategy, "manifest_valid"),
    (Fault::CheckIsHappyWithAnything, "check_truthful"),
    (Fault::CheckBlamesTheWrongField, "check_truthful"),
    (Fault::LosesTheLastRowOfALargeBatch, "reads_all_rows"),
    (Fault::EndsWithoutABoundary, "reads_all_rows"),
    (Fault::ResumesOneRowTooEarly, "resumes_from_each_boundary"),
    (Fault::ForgetsItsPositions, "resumes_from_each_boundary"),
    (Fault::IgnoresBudgets, "bounded_memory"),
    (Fault::IgnoresTheValueBudget, "bounded_memory"),
    (Fault::BlocksItsThread, "cancel_within_one_second"),
    (Fault::TakesAnyToken, "refuses_token_not_next"),
    (Fault::LosesThePositionsOfTheToken, "refuses_token_not_next"),
    (Fault::IgnoresTheFence, "refuses_commit_after_lane_taken"),
    (Fault::ReadsBackslashNAsNull, "hostile_identifiers_and_values"),
    (Fault::TakesADotForANamespace, "hostile_identifiers_and_values"),
    (Fault::StoresDecimalsAsFloats, "every_type_row"),
    (Fault::RefusesATypeAfterTheFirstRow, "every_type_row"),
    (Fault::RefusesAValueWithoutItsColumn, "every_type_row"),
    (Fault::LogsThePassword, "secrets_never_in_output"),
    (Fault::PutsThePasswordIntoErrors, "secrets_never_in_output"),
    (Fault::CommitsOnDrop, "rollback_on_drop"),
    (Fault::CountsRefusedRowsFromOne, "rejected_rows"),
];

#[test]
fn each_broken_connector_fails_exactly_the_rule_that_it_breaks() {
    let mut wrong = Vec::new();
    for (fault, rule) in FAULTS {
        let report = testing::run(MemorySubject::new(fault));
        if report.failed() != [rule] {
            wrong.push(format!("{fault:?} must fail `{rule}`:\n{report}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_a_broken_connector() {
    for rule in RULES {
        assert!(FAULTS.iter().any(|(_, broken)| *broken == rule), "no connector breaks `{rule}`");
    }
}

#[test]
fn a_rule_can_be_picked() {
    let report = Suite::new(MemorySubject::new(Fault::None)).only(&["manifest_valid"]).run();
    assert_eq!(report.outcomes.len(), 1);
    assert_eq!(
        report.to_string(),
        "Conformance of connector `memory`\n  manifest_valid                   passed          2 parameters, 2 strategies\n"
    );
}

/// As over a library: the connector that is tested is not the one that the subject has.
#[test]
fn a_connector_from_elsewhere_is_run_in_the_surroundings_of_the_subject() {
    let (good, bad) = (MemorySubject::new(Fault::None), MemorySubject::new(Fault::CheckIsHappyWithAnything));
    let loaded = hub_plugin_api::ffi::loopback(bad.connector()).unwrap();
    let report = Suite::new(good).loaded(loaded).only(&["manifest_valid", "check_truthful"]).run();
    assert_eq!(report.failed(), ["check_truthful"]);
}

/// A subject that forgets a hook breaks the rules that need it: nothing is skipped in silence.
struct Forgetful(MemorySubject);

impl Subject for Forgetful {
    fn connector(&self) -> Arc<dyn Connector> {
        self.0.connector()
    }

    fn config(&self) -> Config {
        self.0.config()
    }

    fn broken(&self) -> Vec<Broken> {
        Vec::new()
    }
}

#[test]
fn what_a_subject_leaves_out_is_a_failure_and_not_a_skip() {
    let report = testing::run(Forgetful(MemorySubject::new(Fault::None)));
    assert_eq!(report.not_applicable(), ["rejected_rows"]);
    let passed: Vec<_> = RULES.iter().filter(|rule| !report.failed().contains(rule)).collect();
    assert_eq!(passed, [&"manifest_valid", &"rejected_rows"]);
}
