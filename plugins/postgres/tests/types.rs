//! Values of every type at its edges, as they cross the boundary.

use hub_plugin_api::{
    ErrorKind, json,
    testing::cell,
    types::{LogicalType, columns_of},
};

use crate::support::{Schema, Server, read, read_statement, run};

/// One expression of every built-in scalar type, and of those that users make, at the edges of its values.
const VALUES: &[&str] = &[
    "true",
    "(-32768)::int2",
    "(-2147483648)::int4",
    "9223372036854775807::int8",
    "4294967295::oid",
    "'NaN'::float8",
    "'-Infinity'::float4",
    "0.1::float8",
    "null::int4",
    "''::text",
    "'ab'::char(4)",
    "'é😀'::varchar(2)",
    "'x'::\"char\"",
    "'name'::name",
    "'\\x00ff'::bytea",
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",
    "'infinity'::date",
    "'-infinity'::date",
    "'4713-01-01 BC'::date",
    "'5874897-12-31'::date",
    "'23:59:59.999999'::time",
    "'24:00:00+14'::timetz",
    "'infinity'::timestamptz",
    "'1969-12-31 23:59:59.999999+00'::timestamptz",
    "'4713-01-01 00:00:00 BC'::timestamp",
    "'294246-01-01 00:00:00'::timestamp",
    "'-178000000 years 5 days -1.5 seconds'::interval",
    "12345678901234567890.12::numeric(22,2)",
    "(-0.001)::numeric(3,3)",
    "repeat('9', 76)::numeric(76,0)",
    "'NaN'::numeric",
    "'-Infinity'::numeric",
    "1.50::numeric",
    "0.000::numeric",
    "1e-20::numeric",
    "100000000000000000000000000000::numeric",
    "12300::numeric(3,-2)",
    "0.00012::numeric(2,5)",
    "'{\"b\": 1, \"a\": [null]}'::json",
    "'{\"b\": 1, \"a\": [null]}'::jsonb",
    "'<a>1</a>'::xml",
    "'$1,234.50'::money",
    "B'101'::bit(3)",
    "B''::varbit",
    "'192.168.0.1'::inet",
    "'10.0.0.0/8'::cidr",
    "'::ffff:1.2.3.4/100'::inet",
    "'08:00:2b:01:02:03'::macaddr",
    "'08:00:2b:01:02:03:04:05'::macaddr8",
    "'[1,5)'::int4range",
    "'empty'::tsrange",
    "'{[1,2),[5,6)}'::int4multirange",
    "'a fat cat'::tsvector",
    "'a & b'::tsquery",
    "'(1.5,2)'::point",
    "'16/B374D848'::pg_lsn",
    "'pg_class'::regclass",
    "'$.a'::jsonpath",
    "row(1, 'a b', null)",
    "array[1,null,3]",
    "'{}'::text[]",
    "array['a,b','\"c\"',null]",
    "array[1.5,2.25]::numeric(5,2)[]",
    "array['[1,2)']::int4range[]",
    "array['2020-01-01'::date]",
    "array['1.2.3.4'::inet]",
    "'3 -4'::int2vector",
    "'3 4'::oidvector",
];

#[test]
fn values_at_the_edges_of_their_types_arrive_as_they_are() {
    run(async {
        let connection = Server::get().connection().await;
        let list: Vec<_> =
            VALUES.iter().enumerate().map(|(index, value)| format!("{value} AS v{index}")).collect();
        let read = read_statement(&*connection, &format!("SELECT {}", list.join(", "))).await.unwrap();
        let (columns, rows) = (columns_of(&read.arrow()).unwrap(), read.one());
        let cells = columns
            .iter()
            .zip(rows.columns())
            .map(|(column, array)| cell(column, array, 0).unwrap_or_else(|error| error.to_string()));
        let lines = VALUES.iter().zip(&columns).zip(cells).map(|((value, column), cell)| {
            format!("{value} [{}] = {cell}", column.declared.as_deref().unwrap_or_default())
        });
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
    });
}

#[test]
fn user_made_types_keep_their_names_and_values() {
    run(async {
        let schema = Schema::new("user_types").await;
        schema
            .run(
                "create type mood as enum ('sad', 'ok \"then\"'); create domain price as numeric(9,3) not null; \
                 create type pair as (a int, b text); create domain ids as int[]; \
                 create table t (id int primary key, m mood, p price, c pair, i ids, ms mood[], cs pair[]); \
                 insert into t values (1, 'ok \"then\"', 1.5, (1, 'x,y'), '{1,2}', '{sad,NULL}', array[row(1,'b')::pair])",
            )
            .await;
        let connection = schema.server.connection().await;
        let read = read_statement(&*connection, &format!("select * from {}.t", schema.name)).await.unwrap();
        let (columns, rows) = (columns_of(&read.arrow()).unwrap(), read.one());
        let cells: Vec<_> = columns
            .iter()
            .zip(rows.columns())
            .map(|(column, array)| cell(column, array, 0).unwrap())
            .collect();
        let declared: Vec<_> = columns
            .iter()
            .map(|column| column.declared.clone().unwrap().replace(&format!("{}.", schema.name), ""))
            .collect();
        assert_eq!(declared, ["integer", "mood", "price", "pair", "ids", "mood[]", "pair[]"]);
        assert_eq!(columns[1].logical, LogicalType::Enum(vec!["sad".into(), "ok \"then\"".into()]));
        assert_eq!(columns[2].logical, LogicalType::Decimal { precision: 9, scale: 3 });
        assert!(cells[1].ends_with("ok \"then\"") && cells[3].ends_with("(1,\"x,y\")"), "{cells:?}");
        assert_eq!((columns[0].nullable, columns[0].key, columns[1].nullable), (false, Some(0), true));
    });
}

#[test]
fn value_that_cannot_be_carried_stops_the_run_and_names_column_and_way_out() {
    run(async {
        let connection = Server::get().connection().await;
        for (value, text, option, hint) in [
            ("'NaN'::numeric(5,2)", "`NaN` cannot be carried as decimal(5,2)", "decimals", json!("text")),
            ("'24:00'::time", "24:00:00", "as_text", json!(["v"])),
            ("array[[1,2],[3,4]]", "2 dimensions", "as_text", json!(["v"])),
            ("'[2:3]={1,2}'::int[]", "counts from 2", "as_text", json!(["v"])),
            ("array['infinity'::date]", "infinite", "as_text", json!(["v"])),
            ("'294276-12-31 23:59'::timestamp", "later than can be carried", "as_text", json!(["v"])),
            ("'9000000 hours'::interval", "nanoseconds", "as_text", json!(["v"])),
        ] {
            let statement = format!("select {value} as v");
            let error = read_statement(&*connection, &statement).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidData, "{error}");
            assert!(error.message.contains("`v`") && error.message.contains(text), "{error}");
            assert!(error.hint.as_deref().unwrap().contains(option), "{error:?}");
            let mut options = json!({ "statement": statement });
            options[option] = hint;
            let reads = read(&*connection, options).await.unwrap();
            assert_eq!(reads[0].rows(), 1);
        }
    });
}

#[test]
fn blanks_of_a_char_stay_when_it_is_carried_as_the_server_writes_it() {
    run(async {
        let connection = Server::get().connection().await;
        let options = json!({ "statement": "select 'ab'::char(4) as v", "as_text": ["v"] });
        let read = read(&*connection, options).await.unwrap().remove(0);
        let columns = columns_of(&read.arrow()).unwrap();
        assert_eq!(cell(&columns[0], read.one().column(0), 0).unwrap(), "text ab  ");
    });
}

#[test]
fn array_of_several_dimensions_is_carried_as_the_server_writes_it_on_request() {
    run(async {
        let connection = Server::get().connection().await;
        let options = json!({ "statement": "select array[[1,2],[3,4]] as v", "as_text": ["v"] });
        let read = read(&*connection, options).await.unwrap().remove(0);
        let columns = columns_of(&read.arrow()).unwrap();
        let opaque = |type_name: &str| LogicalType::Opaque {
            type_name: type_name.into(),
            vendor_name: "postgres".into(),
            binary: false,
        };
        assert_eq!(
            (&columns[0].logical, columns[0].declared.as_deref()),
            (&opaque("_int4"), Some("integer[]"))
        );
        let cell = cell(&columns[0], read.one().column(0), 0).unwrap();
        assert!(cell.ends_with("{{1,2},{3,4}}"), "{cell}");
    });
}
