//! Every type of the servers, with the values at its edges.

use std::fmt::Write as _;

use hub_plugin_api::{
    ErrorKind,
    arrow::{
        compute::cast,
        datatypes::DataType,
        util::display::{ArrayFormatter, FormatOptions},
    },
    json,
    types::Column,
};

use crate::support::{ALL, Read, Server, Which, plan_request, read_run, read_statement, run};

/// Column by column: what it means, and its values.
fn picture(read: &Read) -> String {
    let mut text = String::new();
    let batch = read.one();
    for (field, array) in read.arrow().fields().iter().zip(batch.columns()) {
        // Without the tables of time zones that a formatter would want.
        let array = match array.data_type() {
            DataType::Timestamp(unit, Some(_)) => &cast(array, &DataType::Timestamp(*unit, None)).unwrap(),
            _ => array,
        };
        let column = Column::from_field(field).unwrap();
        let (name, nullable) = (&column.name, if column.nullable { "" } else { " not null" });
        let declared = column.declared.as_deref().unwrap_or("-");
        writeln!(text, "{name} `{declared}`{nullable} = {:?}", column.logical).unwrap();
        let options = FormatOptions::new().with_null("null");
        let formatter = ArrayFormatter::try_new(array, &options).unwrap();
        for row in 0..batch.num_rows() {
            let value = formatter.value(row).to_string();
            let cut: String = value.chars().take(160).collect();
            writeln!(text, "  {cut}").unwrap();
        }
    }
    text
}

/// Types and values that both vendors have.
pub const COMMON: &[&str] = &[
    "CREATE TABLE numbers (id int PRIMARY KEY, ti tinyint, tu tinyint unsigned, si smallint, su smallint unsigned,
        mi mediumint, mu mediumint unsigned, ii int, iu int unsigned, bi bigint, bu bigint unsigned,
        z int(6) zerofill, b boolean, f float, d double, n decimal(65,30), m decimal(38,10), p decimal(5), b1 bit(1),
        b64 bit(64), y year)",
    "INSERT INTO numbers VALUES (1, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, 7, false,
        -3.4028234e38, -1.7976931348623157e308, -99999999999999999999999999999999999.999999999999999999999999999999,
        -9999999999999999999999999999.9999999999, -99999, b'0', b'0', 1901)",
    "INSERT INTO numbers VALUES (2, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295,
        9223372036854775807, 18446744073709551615, 999999, true, 3.1415927, 2.2250738585072014e-308,
        99999999999999999999999999999999999.999999999999999999999999999999, 0.0000000001, 99999, b'1',
        b'1111111111111111111111111111111111111111111111111111111111111111', 2155)",
    "INSERT INTO numbers VALUES (3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 16777217, 0.1, 0, 0, 0, b'1', b'101', 0)",
    "INSERT INTO numbers (id) VALUES (4)",
    "CREATE TABLE texts (id int PRIMARY KEY, c char(5), v varchar(20), l varchar(20) CHARACTER SET latin1,
        t longtext, vb varbinary(20), bn binary(4), bl blob, e enum('a','it''s','ü'), s set('x','y','z') NOT NULL, j json)",
    "INSERT INTO texts VALUES (1, 'a  ', 'b  ', _latin1 x'e4f6fc', '', '', '', '', 'a', '', '{\"k\": [1, 2.5, \"ü\"]}')",
    "INSERT INTO texts VALUES (2, 'äöü𝄞', '𝄞\\'\\\\\\0\\n', 'plain', repeat('ü', 70000), x'00ff', x'ff', repeat(x'ff', 300),
        'it''s', 'x,z', '12345678901234567890')",
    "INSERT INTO texts (id, s) VALUES (3, 'z')",
    "INSERT INTO texts (id, e, s) VALUES (4, 'wrong', 'y')",
    "CREATE TABLE times (id int PRIMARY KEY, d date, t time, t6 time(6), dt datetime, dt6 datetime(6), ts timestamp NULL,
        ts6 timestamp(6) NULL)",
    "INSERT INTO times VALUES (1, '0001-01-01', '-838:59:59', '-838:59:58.999999', '0001-01-01 00:00:00',
        '0001-01-01 00:00:00.000001', '1970-01-01 00:00:01', '1970-01-01 00:00:01.000001')",
    "INSERT INTO times VALUES (2, '9999-12-31', '838:59:59', '25:00:00.5', '9999-12-31 23:59:59',
        '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07', '2038-01-19 03:14:07.999999')",
    "INSERT INTO times (id) VALUES (3)",
    "CREATE TABLE shapes (id int PRIMARY KEY, g geometry, p point NOT NULL)",
    "INSERT INTO shapes VALUES (1, ST_GeomFromText('LINESTRING(0 0,1 2)'), ST_GeomFromText('POINT(1.5 -2.5)'))",
    "INSERT INTO shapes VALUES (2, ST_GeomFromText('POINT(1 2)', 3857), ST_GeomFromText('POINT(0 0)'))",
];

/// Every width that a type is stored in, and every character set that is carried.
pub fn widths() -> Vec<String> {
    let labels = |most: u32| (1..=most).map(|label| format!("'l{label}'")).collect::<Vec<_>>().join(",");
    let create = format!(
        "CREATE TABLE widths (id int PRIMARY KEY, b7 bit(7), b10 bit(10), b33 bit(33),
            t1 time(1), t2 time(2), t3 time(3), t4 time(4), t5 time(5),
            d1 datetime(1), d2 datetime(2), d3 datetime(3), d4 datetime(4), d5 datetime(5),
            s1 timestamp(1) NULL, s2 timestamp(2) NULL, s3 timestamp(3) NULL, s4 timestamp(4) NULL, s5 timestamp(5) NULL,
            n1 decimal(1), n9 decimal(9,9), n18 decimal(18,9), n20 decimal(20,1), n65 decimal(65), nu decimal(12,3) unsigned,
            f float(7,4), d double(10,3), fu float unsigned, du double unsigned,
            tt tinytext, mt mediumtext, tb tinyblob, mb mediumblob, lb longblob, bn binary(255), vb varbinary(300),
            c255 char(255), v300 varchar(300), many enum({}), few enum('only'), flags set({}),
            u3 varchar(10) CHARACTER SET utf8mb3, u16 varchar(10) CHARACTER SET utf16, u32 char(10) CHARACTER SET utf32,
            u2 text CHARACTER SET ucs2, a varchar(10) CHARACTER SET ascii, l text CHARACTER SET latin1,
            bi varchar(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
            po polygon, mp multipoint, ml multilinestring, gc geometrycollection)",
        labels(300),
        labels(64)
    );
    let shapes = "ST_GeomFromText('POLYGON((0 0,4 0,4 4,0 0),(1 1,2 1,2 2,1 1))'), ST_GeomFromText('MULTIPOINT(1 2,3 4)'),
        ST_GeomFromText('MULTILINESTRING((0 0,1 1),(2 2,3 3))'), ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')";
    vec![
        create,
        format!(
            "INSERT INTO widths VALUES (1, b'1111111', b'1000000001', b'100000000000000000000000000000001',
            '-00:00:00.1', '-12:34:56.78', '-838:59:58.999', '-00:00:01.0001', '-99:00:00.99999',
            '2024-02-29 23:59:59.9', '2024-02-29 23:59:59.99', '2024-02-29 23:59:59.999', '2024-02-29 23:59:59.9999',
            '2024-02-29 23:59:59.99999', '2024-02-29 23:59:59.9', '2024-02-29 23:59:59.99', '2024-02-29 23:59:59.999',
            '2024-02-29 23:59:59.9999', '2024-02-29 23:59:59.99999',
            -9, -0.999999999, -999999999.999999999, -9999999999999999999.9, -99999999999999999999999999999999999999999999999999999999999999999,
            999999999.999, -999.9999, -9999999.999, 3.4028234e38, 1.7976931348623157e308,
            repeat('ü', 127), repeat('m', 70000), repeat(x'00', 255), repeat(x'ff', 66000), repeat(x'01', 70000), x'ff', repeat(x'02', 300),
            repeat('ü', 255), repeat('v', 300), 'l300', 'only', 'l1,l33,l64', '€', '𝄞ü', '𝄞', '€ü', 'plain', 'é', 'É', {shapes})"
        ),
        "INSERT INTO widths (id, b7, b10, t1, t2, t3, t4, t5, n1, n9, n18, many, flags, tt, tb, bn, vb, u16, u2, a, d1, s5)
            VALUES (2, b'0', b'1', '00:00:00.9', '01:02:03.04', '838:59:58.001', '-00:00:00.9999', '00:00:00', 0, 0.000000001,
            0.5, 'l256', '', '', '', '', '', '', '', '', '1000-01-01', '1970-01-01 00:00:01.00001')"
            .to_owned(),
        "INSERT INTO widths (id) VALUES (3)".to_owned(),
    ]
}

#[test]
fn values_of_every_width_and_character_set_arrive_as_they_are() {
    for which in ALL {
        run(async {
            let server = Server::new(which, "widths").await;
            let statements = widths();
            server.run(&statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
            let read = read_statement(&*server.connection().await, "select * from widths").await.unwrap();
            insta::assert_snapshot!(format!("widths_{which:?}"), picture(&read));
        });
    }
}

#[test]
fn values_at_the_edges_of_their_types_arrive_as_they_are() {
    for which in ALL {
        run(async {
            let server = Server::new(which, "types").await;
            server.run(COMMON).await;
            let connection = server.connection().await;
            let mut text = String::new();
            for table in ["numbers", "texts", "times", "shapes"] {
                let read = read_statement(&*connection, &format!("select * from {table}")).await.unwrap();
                text.push_str(&picture(&read));
            }
            insta::assert_snapshot!(format!("edges_{which:?}"), text);
        });
    }
}

#[test]
fn types_of_one_vendor_arrive_too() {
    run(async {
        let server = Server::new(Which::MySql, "own").await;
        server
            .run(&[
                "CREATE TABLE own (id int PRIMARY KEY, v vector(3), w point SRID 4326)",
                "INSERT INTO own VALUES (1, STRING_TO_VECTOR('[1,-2.5,3e10]'), ST_SRID(POINT(10, 20), 4326)), (2, NULL, NULL)",
            ])
            .await;
        let read = read_statement(&*server.connection().await, "select * from own").await.unwrap();
        insta::assert_snapshot!("own_MySql", picture(&read));
    });
    for (which, vector) in [(Which::MariaDb, false), (Which::NewMariaDb, true)] {
        run(async {
            let server = Server::new(which, "own").await;
            server
                .run(&[
                    "CREATE TABLE own (id int PRIMARY KEY, u uuid, a inet4, b inet6, j json)",
                    "INSERT INTO own VALUES (1, '00112233-4455-6677-8899-aabbccddeeff', '10.0.0.1', '2001:db8::1',
                     '{\"b\": 1.10, \"b\": 2}'), (2, NULL, NULL, NULL, NULL)",
                ])
                .await;
            if vector {
                server
                    .run(&[
                        "ALTER TABLE own ADD COLUMN v vector(3)",
                        "UPDATE own SET v = VEC_FromText('[1,-2.5,3e10]') WHERE id = 1",
                    ])
                    .await;
            }
            let read = read_statement(&*server.connection().await, "select * from own").await.unwrap();
            insta::assert_snapshot!(format!("own_{which:?}"), picture(&read));
        });
    }
}

#[test]
fn zero_dates_stop_the_run_or_become_null() {
    for which in ALL {
        run(async {
            let server = Server::new(which, "zero").await;
            server
                .run(&[
                    "SET sql_mode = 'ALLOW_INVALID_DATES'",
                    "CREATE TABLE zero (id int PRIMARY KEY, d date NOT NULL, t datetime(3), s timestamp NOT NULL)",
                    "INSERT INTO zero VALUES (1, '0000-00-00', '2024-02-31 10:00:00', '0000-00-00 00:00:00')",
                    "INSERT INTO zero VALUES (2, '2024-02-29', '2024-02-29 10:00:00.125', '2024-02-29 10:00:00')",
                ])
                .await;
            let connection = server.connection().await;
            let error = read_statement(&*connection, "select id, d from zero").await.unwrap_err();
            assert_eq!((error.kind, error.field.as_deref()), (ErrorKind::InvalidData, Some("zero_dates")));
            assert!(error.message.contains("`d` holds `0000-00-00`"), "{error}");
            let options = json!({ "statement": "select * from zero", "zero_dates": "null" });
            let (reads, _) = read_run(&*connection, &plan_request(options)).await.unwrap();
            let batch = reads[0].one();
            let nulls: Vec<_> = batch.columns().iter().map(|column| column.null_count()).collect();
            assert_eq!(nulls, [0, 1, 1, 1]);
        });
    }
}

#[test]
fn time_stamps_arrive_in_utc_whatever_the_session_is_in() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "zone").await;
            server
                .run(&[
                    "CREATE TABLE zone (id int PRIMARY KEY, s timestamp(6) NULL, d datetime)",
                    "INSERT INTO zone VALUES (1, '2024-03-31 01:30:00.25', '2024-03-31 01:30:00')",
                ])
                .await;
            let utc = read_statement(&*server.connection().await, "select * from zone").await.unwrap().one();
            server.config.set("time_zone", "-03:30");
            let other =
                read_statement(&*server.connection().await, "select * from zone").await.unwrap().one();
            assert_eq!(utc, other);
            let now = "select cast(timestampdiff(minute, utc_timestamp(), now()) as signed) as behind";
            let behind = read_statement(&*server.connection().await, now).await.unwrap();
            assert_eq!(crate::support::numbers(&[behind], "behind"), [-210]);
        });
    }
}
