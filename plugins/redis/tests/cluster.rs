//! A cluster of three masters: keys, rows and streams on all of them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use hub_plugin_api::{
    StreamId, StreamSchema,
    arrow::array::{Int64Array, RecordBatch},
    json,
    types::{Column, LogicalType, schema_of},
};

use crate::support::{Server, follow, open, plan_request, read_all, run, skip, write};

#[test]
fn rows_go_to_every_master_and_keys_come_from_every_master() {
    run(async {
        let Some(server) = Server::cluster() else { return skip("no cluster") };
        let connection = server.connection().await;
        let schema = schema_of(&[Column::new("id", LogicalType::Int64).not_null().key(0)]);
        let ids = Arc::new(Int64Array::from_iter_values(0..3000));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![ids]).unwrap();
        let shape = StreamSchema::new(StreamId::named("spread"), 0, schema);
        for kind in ["hash", "string"] {
            let options = json!({ "type": kind, "key_prefix": format!("{kind}:") });
            let pipeline = format!("cluster {kind} {}", std::process::id());
            write(&*connection, &pipeline, options, &shape, std::slice::from_ref(&batch)).await.unwrap();
        }
        let plan = connection
            .plan(&plan_request("keys", "cluster", json!({ "patterns": ["hash:spread:*"] })))
            .await
            .unwrap();
        assert_eq!(plan.description().splits.len(), 3, "a split for each master");
        for kind in ["hash", "string"] {
            let options = json!({ "patterns": [format!("{kind}:spread:*")], "ttl": false });
            let found = read_all(&*connection, options).await.unwrap().texts("key");
            assert_eq!(found.len(), 3000);
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>().len(), 3000);
        }
    });
}

#[test]
fn streams_on_several_masters_are_followed_with_a_group() {
    run(async {
        let Some(server) = Server::cluster() else { return skip("no cluster") };
        let mut client = server.cluster_client().await;
        let streams: Vec<String> =
            (0..4).map(|number| format!("cluster-stream-{number}-{}", std::process::id())).collect();
        for stream in &streams {
            for number in 0..50 {
                redis::cmd("XADD")
                    .arg(stream)
                    .arg("*")
                    .arg("n")
                    .arg(number)
                    .exec_async(&mut client)
                    .await
                    .unwrap();
            }
        }
        let connection = server.connection().await;
        let options = json!({ "streams": streams, "group": "g" });
        let plan = connection.plan(&plan_request("streams", "cluster", options)).await.unwrap();
        let mut reader = open(&*plan, None).await.unwrap();
        let read = follow(&mut *reader, Duration::from_millis(800)).await.unwrap();
        assert_eq!(read.rows(), 200);
        reader.acknowledge(read.boundaries.last().unwrap().number).await.unwrap();
        for stream in &streams {
            let pending: redis::Value =
                redis::cmd("XPENDING").arg(stream).arg("g").query_async(&mut client).await.unwrap();
            assert_eq!(pending.as_sequence().unwrap()[0], redis::Value::Int(0));
            redis::cmd("DEL").arg(stream).exec_async(&mut client).await.unwrap();
        }
    });
}
