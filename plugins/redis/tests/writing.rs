//! By Write Operation.

use std::{collections::BTreeMap, sync::Arc};

use hub_plugin_api::{
    ErrorKind, Rows, StreamId, StreamSchema, WriterRequest,
    arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, StructArray, UInt64Array},
    changes::change_schema,
    json,
    types::{Column, LogicalType, schema_of},
};

use crate::support::{Server, run, token, write};

fn columns() -> Vec<Column> {
    vec![
        Column::new("id", LogicalType::Int64).not_null().key(0),
        Column::new("name", LogicalType::Text),
        Column::new("score", LogicalType::Float64),
    ]
}

fn people() -> (StreamSchema, RecordBatch) {
    let schema = schema_of(&columns());
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(StringArray::from(vec![Some("Ada"), None])),
        Arc::new(Float64Array::from(vec![1.5, 2.0])),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    (StreamSchema::new(StreamId::named("people"), 0, schema), batch)
}

#[test]
fn rows_become_values_of_each_type() {
    run(async {
        let server = Server::get().database(10);
        let mut client = server.client().await;
        redis::cmd("FLUSHDB").exec_async(&mut client).await.unwrap();
        let connection = server.connection().await;
        let (schema, batch) = people();
        for (name, options) in [
            ("hash", json!({ "type": "hash", "ttl_ms": 600_000 })),
            ("string", json!({ "type": "string", "key": "s:{{id}}" })),
            ("set", json!({ "type": "set", "key": "set", "value_column": "id" })),
            ("list", json!({ "type": "list", "key": "list", "value_column": "id" })),
            ("zset", json!({ "type": "zset", "key": "z", "score_column": "score", "value_column": "id" })),
            ("stream", json!({ "type": "stream", "key": "x" })),
            (
                "commands",
                json!({ "commands": [
                    { "on": "insert", "command": ["SET", "c:{{id}}", "<{{id}}>", "PX", "600000"] },
                    { "on": "insert", "command": ["INCR", "counted"] }
                ]}),
            ),
        ] {
            write(&*connection, name, options, &schema, std::slice::from_ref(&batch)).await.unwrap();
        }
        let hash: BTreeMap<String, String> =
            redis::cmd("HGETALL").arg("people:1").query_async(&mut client).await.unwrap();
        assert_eq!(
            hash,
            [("id", "1"), ("name", "Ada"), ("score", "1.5")].map(|(a, b)| (a.into(), b.into())).into()
        );
        let names: Vec<String> = redis::cmd("HKEYS").arg("people:2").query_async(&mut client).await.unwrap();
        assert_eq!(names, ["id", "score"], "null is no field");
        let ttl: i64 = redis::cmd("PTTL").arg("people:1").query_async(&mut client).await.unwrap();
        assert!((1..=600_000).contains(&ttl));
        let text: String = redis::cmd("GET").arg("s:1").query_async(&mut client).await.unwrap();
        assert_eq!(text, r#"{"id":1,"name":"Ada","score":1.5}"#);
        let set: Vec<i64> = redis::cmd("SORT").arg("set").query_async(&mut client).await.unwrap();
        let list: Vec<i64> =
            redis::cmd("LRANGE").arg("list").arg(0).arg(-1).query_async(&mut client).await.unwrap();
        assert_eq!((set, list), (vec![1, 2], vec![1, 2]));
        let members: Vec<String> = redis::cmd("ZRANGE")
            .arg("z")
            .arg(0)
            .arg(-1)
            .arg("WITHSCORES")
            .query_async(&mut client)
            .await
            .unwrap();
        assert_eq!(members, ["1", "1.5", "2", "2"]);
        let entries: i64 = redis::cmd("XLEN").arg("x").query_async(&mut client).await.unwrap();
        assert_eq!(entries, 2);
        let own: (String, i64) = redis::pipe()
            .cmd("GET")
            .arg("c:2")
            .cmd("GET")
            .arg("counted")
            .query_async(&mut client)
            .await
            .unwrap();
        assert_eq!(own, ("<2>".into(), 2));
        redis::cmd("FLUSHDB").exec_async(&mut client).await.unwrap();
    });
}

#[test]
fn changes_put_move_and_remove_hashes() {
    run(async {
        let server = Server::get().database(11);
        let mut client = server.client().await;
        redis::cmd("FLUSHDB").exec_async(&mut client).await.unwrap();
        let connection = server.connection().await;
        let schema = change_schema(&columns());
        let none = || {
            Arc::new(
                hub_plugin_api::arrow::array::TimestampMicrosecondArray::new_null(4).with_timezone("UTC"),
            )
        };
        let ids = |ids: Vec<Option<i64>>| Arc::new(Int64Array::from(ids)) as ArrayRef;
        let fields = match schema.field_with_name("__before").unwrap().data_type() {
            hub_plugin_api::arrow::datatypes::DataType::Struct(fields) => fields.clone(),
            other => panic!("{other}"),
        };
        // 1 is new; 2 is new; 2 becomes 3, and its name is not sent; 1 goes.
        let before = StructArray::new(
            fields,
            vec![
                ids(vec![None, None, Some(2), None]),
                Arc::new(StringArray::new_null(4)),
                Arc::new(Float64Array::new_null(4)),
            ],
            Some(vec![false, false, true, false].into()),
        );
        let unchanged: Vec<Option<&[u8]>> = vec![None, None, Some(&[0b010]), None];
        let arrays: Vec<ArrayRef> = vec![
            ids(vec![Some(1), Some(2), Some(3), Some(1)]),
            Arc::new(StringArray::from(vec![Some("Ada"), Some("Bob"), None, None])),
            Arc::new(Float64Array::from(vec![Some(1.0), Some(2.0), Some(3.0), None])),
            Arc::new(StringArray::from(vec!["insert", "insert", "update", "delete"])),
            none(),
            Arc::new(UInt64Array::from(vec![1, 2, 3, 4])),
            Arc::new(before),
            Arc::new(hub_plugin_api::arrow::array::BinaryArray::from(unchanged)),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
        let shape = StreamSchema::new(StreamId::named("people"), 0, schema);
        write(&*connection, "changes", json!({}), &shape, &[batch]).await.unwrap();
        let mut keys: Vec<String> =
            redis::cmd("KEYS").arg("people:*").query_async(&mut client).await.unwrap();
        keys.sort();
        assert_eq!(keys, ["people:3"]);
        let hash: BTreeMap<String, String> =
            redis::cmd("HGETALL").arg("people:3").query_async(&mut client).await.unwrap();
        assert_eq!(
            hash,
            [("id", "3"), ("name", "Bob"), ("score", "3.0")].map(|(a, b)| (a.into(), b.into())).into()
        );
        redis::cmd("FLUSHDB").exec_async(&mut client).await.unwrap();
    });
}

#[test]
fn nothing_is_there_before_the_commit_and_all_of_it_with_the_token_behind_it() {
    run(async {
        let server = Server::get().database(12);
        let mut client = server.client().await;
        redis::cmd("FLUSHDB").exec_async(&mut client).await.unwrap();
        let connection = server.connection().await;
        let (schema, batch) = people();
        let request = WriterRequest {
            pipeline: "commit".into(),
            lane: 0,
            generation: 1,
            run: 1,
            strategy: "write".into(),
            options: Default::default(),
        };
        let mut writer = connection.writer(&request).await.unwrap();
        writer.schema(&schema).await.unwrap();
        for _ in 0..3 {
            writer
                .write(Rows { stream: schema.stream.clone(), schema_id: 0, batch: batch.clone() })
                .await
                .unwrap();
        }
        writer.flush().await.unwrap();
        let count = |keys: Vec<String>| keys.iter().filter(|key| key.starts_with("people:")).count();
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut client).await.unwrap();
        assert_eq!(count(keys), 0);
        writer.commit(&token("commit", 1)).await.unwrap();
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut client).await.unwrap();
        assert_eq!(count(keys), 2);
        // The type of a key changes between the flush and the commit: it is loud.
        writer.write(Rows { stream: schema.stream.clone(), schema_id: 0, batch }).await.unwrap();
        writer.flush().await.unwrap();
        redis::pipe().del("people:1").ignore().rpush("people:1", "x").exec_async(&mut client).await.unwrap();
        let error = writer.commit(&token("commit", 2)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidData, "{error}");
        redis::cmd("FLUSHDB").exec_async(&mut client).await.unwrap();
    });
}

#[test]
fn options_that_do_not_fit_the_rows_are_refused_before_the_first_row() {
    run(async {
        let connection = Server::get().database(12).connection().await;
        let keyless = StreamSchema::new(
            StreamId::named("keyless"),
            0,
            schema_of(&[Column::new("a", LogicalType::Text), Column::new("b", LogicalType::Text)]),
        );
        for (options, field) in [
            (json!({}), "key"),
            (json!({ "key": "x:{{c}}" }), "key"),
            (json!({ "type": "string", "key": "x:{{a}}", "value_column": "c" }), "value_column"),
            (json!({ "type": "from-rows" }), "type"),
            (json!({ "commands": [{ "on": "insert", "command": ["SET", "{{c}}", "1"] }] }), "commands"),
        ] {
            let error = write(&*connection, "refused", options.clone(), &keyless, &[]).await.unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field), "{options}: {error}");
        }
    });
}
