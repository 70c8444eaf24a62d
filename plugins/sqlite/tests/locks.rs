use std::{sync::Arc, time::Duration};

use hub_plugin_api::{
    ErrorKind,
    arrow::array::{Int64Array, RecordBatch},
    json,
    types::{Column, LogicalType, schema_of},
};

use crate::harness::{File, open, options, token, write};

fn rows(values: Vec<i64>) -> RecordBatch {
    let columns = [Column::new("a", LogicalType::Int64).not_null()];
    RecordBatch::try_new(schema_of(&columns), vec![Arc::new(Int64Array::from(values))]).unwrap()
}

#[tokio::test]
async fn writer_that_lost_its_lane_commits_nothing() {
    let file = File::new("");
    let mut old = file.writer(options(&[])).await;
    write(&mut *old, &rows(vec![1])).await.unwrap();
    old.commit(&token(1)).await.unwrap();
    let mut new = file.writer(options(&[])).await;
    assert_eq!(new.start().last, Some(token(1)));
    write(&mut *old, &rows(vec![2])).await.unwrap();
    assert_eq!(old.commit(&token(2)).await.unwrap_err().kind, ErrorKind::Fenced);
    drop(old);
    write(&mut *new, &rows(vec![3])).await.unwrap();
    new.commit(&token(2)).await.unwrap();
    assert_eq!(file.value::<String>("select group_concat(a) from t"), "1,3");
}

#[tokio::test]
async fn token_that_does_not_follow_is_refused_with_its_rows() {
    let file = File::new("");
    for n in [0, 2] {
        let mut writer = file.writer(options(&[])).await;
        write(&mut *writer, &rows(vec![1])).await.unwrap();
        assert_eq!(writer.commit(&token(n)).await.unwrap_err().kind, ErrorKind::TokenConflict);
    }
    assert_eq!(file.value::<i64>("select count(*) from sqlite_schema where name = 't'"), 0);
}

#[tokio::test]
async fn lock_of_another_program_is_waited_for_and_then_retryable() {
    let file = File::new("create table t (a integer)");
    let mut writer = file.writer(options(&[])).await;
    let other = file.sql();
    other.execute_batch("begin immediate").unwrap();
    let error = write(&mut *writer, &rows(vec![1])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy);
    assert!(error.kind.is_retryable());
    other.execute_batch("rollback").unwrap();
    let mut writer = file.writer(options(&[])).await;
    write(&mut *writer, &rows(vec![1])).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
}

#[tokio::test]
async fn file_that_is_made_can_be_read_while_it_is_written() {
    let file = File::new("");
    let mut writer = file.writer(options(&[])).await;
    write(&mut *writer, &rows((0..100).collect())).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
    let plan = file.plan(options(&[("table", json!("t")), ("cursor", json!(["a"]))])).await;
    let mut reader = open(&*plan, &plan.description().splits[0], None, 1).await;
    reader.next(Duration::from_secs(1)).await.unwrap();
    write(&mut *writer, &rows((100..200).collect())).await.unwrap();
    writer.commit(&token(2)).await.unwrap();
    assert_eq!(file.value::<i64>("select count(*) from t"), 200);
}
