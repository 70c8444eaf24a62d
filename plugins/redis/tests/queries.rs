//! Commands that custom functions send.

use std::sync::Arc;

use hub_plugin_api::{
    ErrorKind, Statement,
    arrow::array::{BinaryArray, RecordBatch},
    json,
    types::{Column, LogicalType, schema_of},
};

use crate::support::{Server, drain, run};

#[test]
fn answers_are_rows_and_writes_are_refused() {
    run(async {
        let server = Server::get().database(13);
        let mut client = server.client().await;
        redis::cmd("FLUSHDB").exec_async(&mut client).await.unwrap();
        redis::pipe()
            .set("text", "ü")
            .ignore()
            .set("bytes", b"\xff")
            .ignore()
            .rpush("list", &["a", "b"])
            .ignore()
            .cmd("XADD")
            .arg("stream")
            .arg("1-1")
            .arg("f")
            .arg("v")
            .ignore()
            .exec_async(&mut client)
            .await
            .unwrap();
        let connection = server.connection().await;
        let ask = async |command: serde_json::Value| {
            let serde_json::Value::Array(command) = command else { panic!("a list") };
            let mut reader = connection.query(&Statement::Command(command), None).await?;
            let read = drain(&mut *reader).await?;
            Ok::<_, hub_plugin_api::Error>((
                read.schemas[0].arrow.field(0).data_type().to_string(),
                read.texts("value"),
            ))
        };
        assert_eq!(ask(json!(["GET", "text"])).await.unwrap(), ("Utf8".into(), vec!["ü".into()]));
        assert_eq!(ask(json!(["GET", "bytes"])).await.unwrap(), ("Binary".into(), vec!["ff".into()]));
        assert_eq!(ask(json!(["STRLEN", "text"])).await.unwrap(), ("Int64".into(), vec!["2".into()]));
        assert_eq!(ask(json!(["LRANGE", "list", 0, -1])).await.unwrap().1, ["a", "b"]);
        assert_eq!(ask(json!(["XRANGE", "stream", "-", "+"])).await.unwrap().1, [r#"["1-1",["f","v"]]"#]);
        assert_eq!(ask(json!(["GET", "nothing"])).await.unwrap().1, ["-"]);
        for (command, kind) in [
            (json!(["SET", "a", "b"]), ErrorKind::PermissionDenied),
            (json!(["EVAL", "return 1", 0]), ErrorKind::PermissionDenied),
            (json!(["CONFIG", "GET", "*"]), ErrorKind::PermissionDenied),
            (json!(["BLPOP", "list", 0]), ErrorKind::InvalidStatement),
            (json!(["NOSUCH"]), ErrorKind::Unsupported),
            (json!([]), ErrorKind::InvalidStatement),
        ] {
            assert_eq!(ask(command.clone()).await.unwrap_err().kind, kind, "{command}");
        }
        let schema = schema_of(&[Column::new("key", LogicalType::Binary)]);
        let keys = Arc::new(BinaryArray::from(vec![b"bytes".as_slice()]));
        let parameters = RecordBatch::try_new(schema, vec![keys]).unwrap();
        let command = Statement::Command(vec!["GET".into(), "$1".into()]);
        let mut reader = connection.query(&command, Some(parameters)).await.unwrap();
        assert_eq!(drain(&mut *reader).await.unwrap().texts("value"), ["ff"]);
        redis::cmd("FLUSHDB").exec_async(&mut client).await.unwrap();
    });
}
