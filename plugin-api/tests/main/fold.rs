//! Folding against a table that applies the changes one by one.

use std::{collections::BTreeMap, sync::Arc};

use hub_plugin_api::{
    ErrorKind,
    arrow::{
        array::{
            Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray,
            TimestampMicrosecondArray, UInt64Array,
        },
        buffer::NullBuffer,
        datatypes::{DataType, Int64Type},
    },
    changes::{Folded, Input, Moves, Op, Step, change_schema, change_schema_with_patch, fold, row_schema},
    types::{Column, LogicalType},
};
use proptest::prelude::*;

type Key = (i64, String);
/// The values beside the key: column `amount` and column `note`.
type Values = (Option<i64>, Option<String>);
type Table = BTreeMap<Key, Values>;

/// The key lies across the row, the other way around: `amount`, `zone` (key 1), `note`, `id` (key 0).
fn columns() -> Vec<Column> {
    vec![
        Column::new("amount", LogicalType::Int64),
        Column::new("zone", LogicalType::Text).not_null().key(1),
        Column::new("note", LogicalType::Text),
        Column::new("id", LogicalType::Int64).not_null().key(0),
    ]
}

const AMOUNT: usize = 0;
const NOTE: usize = 2;

#[derive(Clone, Debug)]
struct Change {
    op: Op,
    key: Key,
    amount: Option<i64>,
    note: Option<String>,
    /// Whether each of the two values was sent.
    sent: (bool, bool),
    before: Option<Key>,
}

#[derive(Clone, Debug)]
enum What {
    Change(Change),
    Truncate,
    /// The window's next batch begins.
    Cut,
}

/// What one change means; `Err` where a destination must stop.
fn apply(table: &mut Table, change: &Change) -> Result<(), &'static str> {
    let Change { op, key, sent, .. } = change;
    if *op == Op::Delete {
        table.remove(key);
        return Ok(());
    }
    let old = change.before.as_ref().filter(|before| *before != key).filter(|_| *op == Op::Update);
    if let Some(row) = old.and_then(|old| table.remove(old))
        && table.insert(key.clone(), row).is_some()
    {
        return Err("a row is in the way");
    }
    let whole = sent.0 && sent.1;
    if !whole && !table.contains_key(key) {
        return Err("the row is not there");
    }
    let row = table.entry(key.clone()).or_default();
    if sent.0 {
        row.0 = change.amount;
    }
    if sent.1 {
        row.1.clone_from(&change.note);
    }
    Ok(())
}

fn row_arrays(rows: &[(Option<Key>, Values)]) -> Vec<ArrayRef> {
    vec![
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.1.0))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.0.as_ref().map(|key| key.1.as_str())))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1.1.as_deref()))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.0.as_ref().map(|key| key.0)))),
    ]
}

fn batch(changes: &[Change]) -> RecordBatch {
    let schema = change_schema(&columns());
    let rows: Vec<_> = changes
        .iter()
        .map(|change| {
            // What was not sent is null in the row.
            let values =
                (change.amount.filter(|_| change.sent.0), change.note.clone().filter(|_| change.sent.1));
            (Some(change.key.clone()), values)
        })
        .collect();
    let before: Vec<_> = changes.iter().map(|change| (change.before.clone(), Values::default())).collect();
    let nulls = NullBuffer::from_iter(changes.iter().map(|change| change.before.is_some()));
    let DataType::Struct(fields) = schema.field(7).data_type() else { unreachable!() };
    let unchanged = changes.iter().map(|change| {
        let bits = u8::from(!change.sent.0) << AMOUNT | u8::from(!change.sent.1) << NOTE;
        (bits != 0).then(|| vec![bits])
    });
    let mut arrays = row_arrays(&rows);
    arrays.extend([
        Arc::new(StringArray::from_iter_values(changes.iter().map(|change| change.op.as_str()))) as ArrayRef,
        Arc::new(TimestampMicrosecondArray::from_value(1, changes.len()).with_timezone("UTC")),
        Arc::new(UInt64Array::from_iter_values(1..=changes.len() as u64)),
        Arc::new(StructArray::new(fields.clone(), row_arrays(&before), Some(nulls))),
        Arc::new(BinaryArray::from_iter(unchanged)),
    ]);
    RecordBatch::try_new(schema, arrays).unwrap()
}

fn int(batch: &RecordBatch, name: &str, row: usize) -> Option<i64> {
    let array = batch.column_by_name(name)?.as_primitive::<Int64Type>();
    array.is_valid(row).then(|| array.value(row))
}

fn text(batch: &RecordBatch, name: &str, row: usize) -> Option<String> {
    let array = batch.column_by_name(name)?.as_string::<i32>();
    array.is_valid(row).then(|| array.value(row).to_owned())
}

fn key(batch: &RecordBatch, row: usize) -> Key {
    (int(batch, "id", row).unwrap(), text(batch, "zone", row).unwrap())
}

/// The set-wise statements of a writer.
fn apply_folded(table: &mut Table, folded: &Folded) -> Result<(), &'static str> {
    for step in &folded.steps {
        let run = match step {
            Step::Truncate => {
                table.clear();
                continue;
            }
            Step::Run(run) => run,
            Step::Patches(_) => unreachable!(),
        };
        if let Some(deletes) = &run.deletes {
            assert_eq!(
                deletes.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(),
                ["id", "zone"]
            );
            (0..deletes.num_rows()).for_each(|row| drop(table.remove(&key(deletes, row))));
        }
        if let Some(rows) = &run.upserts {
            assert_eq!(rows.schema(), row_schema(&change_schema(&columns())));
            for row in 0..rows.num_rows() {
                table.insert(key(rows, row), (int(rows, "amount", row), text(rows, "note", row)));
            }
        }
        for updates in &run.updates {
            for row in 0..updates.rows.num_rows() {
                set(table, key(&updates.rows, row), &updates.columns, &updates.rows, row)?;
            }
        }
        run.moves.iter().try_for_each(|moves| apply_moves(table, moves))?;
    }
    Ok(())
}

/// As one statement: all old rows go, all new rows come.
fn apply_moves(table: &mut Table, moves: &Moves) -> Result<(), &'static str> {
    let olds: Vec<_> =
        (0..moves.rows.num_rows()).map(|row| table.remove(&key(&moves.old_keys, row))).collect();
    for (row, old) in olds.into_iter().enumerate() {
        let key = key(&moves.rows, row);
        if old.is_some_and(|old| table.insert(key.clone(), old).is_some()) {
            return Err("a row is in the way");
        }
        if moves.columns.len() == 4 {
            table.entry(key.clone()).or_default();
        }
        set(table, key, &moves.columns, &moves.rows, row)?;
    }
    Ok(())
}

fn set(
    table: &mut Table,
    key: Key,
    columns: &[usize],
    rows: &RecordBatch,
    row: usize,
) -> Result<(), &'static str> {
    let target = table.get_mut(&key).ok_or("the row is not there")?;
    if columns.contains(&AMOUNT) {
        target.0 = int(rows, "amount", row);
    }
    if columns.contains(&NOTE) {
        target.1 = text(rows, "note", row);
    }
    Ok(())
}

fn windows(whats: &[What]) -> Vec<Option<RecordBatch>> {
    let (mut windows, mut open) = (Vec::new(), Vec::new());
    let mut close = |open: &mut Vec<Change>, truncate: bool| {
        if !open.is_empty() {
            windows.push(Some(batch(&std::mem::take(open))));
        }
        if truncate {
            windows.push(None);
        }
    };
    for what in whats {
        match what {
            What::Change(change) => open.push(change.clone()),
            What::Truncate => close(&mut open, true),
            What::Cut => close(&mut open, false),
        }
    }
    close(&mut open, false);
    windows
}

fn fold_windows(windows: &[Option<RecordBatch>]) -> hub_plugin_api::Result<Folded> {
    fold(&windows.iter().map(|w| w.as_ref().map_or(Input::Truncate, Input::Rows)).collect::<Vec<_>>())
}

fn any_key() -> impl Strategy<Value = Key> {
    (0..4_i64, prop_oneof![Just("north"), Just("süd")]).prop_map(|(id, zone)| (id, zone.to_owned()))
}

fn any_change() -> impl Strategy<Value = Change> {
    let op = prop_oneof![
        2 => Just(Op::Insert), 1 => Just(Op::Snapshot), 6 => Just(Op::Update), 2 => Just(Op::Delete)
    ];
    let note = proptest::option::of("[a-z]{0,3}");
    let before = proptest::option::weighted(0.5, any_key());
    (op, any_key(), proptest::option::of(0..100_i64), note, any::<(bool, bool)>(), before).prop_map(
        |(op, key, amount, note, sent, before)| {
            let sent = if op == Op::Update { sent } else { (true, true) };
            let before = before.filter(|_| op == Op::Update);
            Change { op, key, amount, note, sent, before }
        },
    )
}

fn any_what() -> impl Strategy<Value = What> {
    prop_oneof![
        40 => any_change().prop_map(What::Change),
        1 => Just(What::Truncate),
        5 => Just(What::Cut),
    ]
}

fn any_table() -> impl Strategy<Value = Table> {
    let row = (proptest::option::of(0..100_i64), proptest::option::of("[a-z]{0,3}"));
    proptest::collection::btree_map(any_key(), row, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A history that a source can have: what a destination would stop at is left out of it.
    #[test]
    fn folded_changes_have_the_effect_of_the_changes(
        start in any_table(),
        mut whats in proptest::collection::vec(any_what(), 0..40),
    ) {
        let mut expected = start.clone();
        whats.retain(|what| match what {
            What::Change(change) => {
                let mut tried = expected.clone();
                let works = apply(&mut tried, change).is_ok();
                if works {
                    expected = tried;
                }
                works
            }
            What::Truncate => {
                expected.clear();
                true
            }
            What::Cut => true,
        });
        let mut table = start;
        let folded = fold_windows(&windows(&whats)).unwrap();
        prop_assert_eq!(apply_folded(&mut table, &folded), Ok(()));
        prop_assert_eq!(table, expected);
        prop_assert_eq!(folded.changes, whats.iter().filter(|what| matches!(what, What::Change(_))).count());
    }

    /// Within one run no key is in two statements, so a writer may send them in any order.
    #[test]
    fn keys_of_one_run_are_in_one_statement_only(whats in proptest::collection::vec(any_change(), 0..40)) {
        let Ok(folded) = fold(&[Input::Rows(&batch(&whats))]) else { return Ok(()) };
        for step in &folded.steps {
            let Step::Run(run) = step else { continue };
            let sets = run.deletes.iter().chain(&run.upserts).chain(run.updates.iter().map(|one| &one.rows));
            let moves = run.moves.iter().flat_map(|one| [&one.old_keys, &one.rows]);
            for batches in [sets.collect::<Vec<_>>(), moves.collect()] {
                let keys: Vec<_> =
                    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| key(batch, row))).collect();
                let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
                prop_assert_eq!(distinct.len(), keys.len());
            }
        }
    }
}

fn change(op: Op, id: i64, amount: i64) -> Change {
    let key = (id, "north".to_owned());
    Change { op, key, amount: Some(amount), note: None, sent: (true, true), before: None }
}

#[test]
fn inserts_alone_are_handed_through_without_a_copy() {
    let rows: Vec<_> = (0..100).map(|id| change(Op::Insert, id, id)).collect();
    let batch = batch(&rows);
    let folded = fold(&[Input::Rows(&batch)]).unwrap();
    let [Step::Run(run)] = &folded.steps[..] else { panic!("{folded:?}") };
    let upserts = run.upserts.as_ref().unwrap();
    assert_eq!(upserts.num_rows(), 100);
    assert_eq!(
        upserts.column(0).as_primitive::<Int64Type>().values().as_ptr(),
        batch.column(0).as_primitive::<Int64Type>().values().as_ptr()
    );
    assert!(run.deletes.is_none() && run.updates.is_empty() && run.moves.is_empty());
}

#[test]
fn moves_of_different_keys_are_one_run() {
    let moves: Vec<_> = (0..50)
        .map(|id| Change { before: Some((id + 1000, "north".into())), ..change(Op::Update, id, id) })
        .collect();
    let folded = fold(&[Input::Rows(&batch(&moves))]).unwrap();
    let [Step::Run(run)] = &folded.steps[..] else { panic!("{folded:?}") };
    assert_eq!((run.moves.len(), run.moves[0].rows.num_rows()), (1, 50));
    assert_eq!(key(&run.moves[0].old_keys, 7), (1007, "north".into()));
}

#[test]
fn changes_that_cannot_be_applied_are_loud() {
    let partial = Change { sent: (false, true), ..change(Op::Update, 1, 0) };
    let after_delete = [change(Op::Delete, 1, 0), partial.clone()];
    let error = fold(&[Input::Rows(&batch(&after_delete))]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidData);
    assert_eq!(
        error.to_string(),
        "A change cannot be applied: the row that it keeps values of was deleted before (seq `2`)"
    );
    let error = fold(&[Input::Rows(&batch(&[Change { op: Op::Insert, ..partial }]))]).unwrap_err();
    assert_eq!(error.message, "A change cannot be applied: an `insert` must have every value");

    let schema = change_schema(&columns());
    let mut arrays = batch(&[change(Op::Insert, 1, 1)]).columns().to_vec();
    arrays[3] = Arc::new(Int64Array::from(vec![None]));
    let without_key = RecordBatch::try_new(schema, arrays).unwrap();
    let error = fold(&[Input::Rows(&without_key)]).unwrap_err();
    assert_eq!(error.message, "A change cannot be applied: column `id` of the key is null");
}

#[test]
fn a_table_without_a_key_is_refused() {
    let columns = [Column::new("amount", LogicalType::Int64)];
    let empty = RecordBatch::new_empty(change_schema(&columns));
    assert_eq!(fold(&[Input::Rows(&empty)]).unwrap_err().kind, ErrorKind::SchemaMismatch);
}

#[test]
fn patches_stay_in_order_between_runs() {
    let columns = [Column::new("id", LogicalType::Int64).key(0), Column::new("doc", LogicalType::Json)];
    let schema = change_schema_with_patch(&columns);
    let DataType::Struct(fields) = schema.field(5).data_type() else { unreachable!() };
    let docs = [Some("{\"a\":1}"), None, None, Some("{\"a\":3}")];
    let patches = [None, Some("{\"a\":2}"), Some("{\"b\":2}"), None];
    let batch = RecordBatch::try_new(
        schema.clone(),
        vec![
            Arc::new(Int64Array::from(vec![1, 1, 1, 1])),
            Arc::new(StringArray::from_iter(docs)),
            Arc::new(StringArray::from(vec!["insert", "update", "update", "update"])),
            Arc::new(TimestampMicrosecondArray::from_value(1, 4).with_timezone("UTC")),
            Arc::new(UInt64Array::from(vec![1, 2, 3, 4])),
            Arc::new(StructArray::new_null(fields.clone(), 4)),
            Arc::new(BinaryArray::from_iter([None::<&[u8]>; 4])),
            Arc::new(StringArray::from_iter(patches)),
        ],
    )
    .unwrap();
    let folded = fold(&[Input::Rows(&batch)]).unwrap();
    let [Step::Run(_), Step::Patches(rows), Step::Run(_)] = &folded.steps[..] else { panic!("{folded:?}") };
    assert_eq!(rows.num_rows(), 2);
}
