//! Every type of PostgreSQL with the values at its edges.

/// Types that share a table.
#[derive(Clone, Copy)]
pub(crate) struct Group {
    pub name: &'static str,
    pub columns: &'static [Column],
    /// Why the group is carried as the server writes it, where it must be.
    pub as_text: Option<&'static str>,
}

/// One column: its declared type, and literals without quotation marks. The first literal stands where NULL may not.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    pub declared: &'static str,
    pub literals: &'static [&'static str],
    /// Carried as a JSON list by a destination without arrays.
    pub is_list: bool,
}

const fn column(declared: &'static str, literals: &'static [&'static str]) -> Column {
    Column { declared, literals, is_list: false }
}

const fn list(declared: &'static str, literals: &'static [&'static str]) -> Column {
    Column { declared, literals, is_list: true }
}

/// What the types of the last groups need.
pub(crate) const PREPARE: &str = "
    create type mood as enum ('so so', 'happy', 'it''s', 'ünïcode');
    create domain positive as numeric(10,2) check (value > 0);
    create domain short as varchar(7) not null;
    create type pair as (left_one integer, right_one text);
";

pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "whole_numbers",
        as_text: None,
        columns: &[
            column("smallint", &["-32768", "32767", "0"]),
            column("integer", &["-2147483648", "2147483647", "0"]),
            column("bigint", &["-9223372036854775808", "9223372036854775807", "0"]),
            column("oid", &["0", "4294967295"]),
            column("boolean", &["true", "false"]),
        ],
    },
    Group {
        name: "floats",
        as_text: None,
        columns: &[
            column("real", &["0", "-0", "NaN", "Infinity", "-Infinity", "3.4028235e38", "1e-45", "0.1"]),
            column(
                "double precision",
                &["0", "-0", "NaN", "Infinity", "-Infinity", "1.7976931348623157e308", "5e-324", "0.1"],
            ),
        ],
    },
    Group {
        name: "decimals",
        as_text: None,
        columns: &[
            column("numeric(12,2)", &["0.01", "-9999999999.99", "9999999999.99", "0", "-0.01"]),
            column("numeric(38,10)", &["9999999999999999999999999999.9999999999", "-0.0000000001"]),
            column(
                "numeric(76,38)",
                &[
                    "12345678901234567890123456789012345678.12345678901234567890123456789012345678",
                    "-99999999999999999999999999999999999999.99999999999999999999999999999999999999",
                ],
            ),
            column("numeric(5,5)", &["0.99999", "-0.00001"]),
            column(
                "numeric(1000,3)",
                &["123456789012345678901234567890123456789012345678901234567890123456789012345678.901"],
            ),
        ],
    },
    Group {
        name: "numerics_without_bounds",
        as_text: None,
        columns: &[column(
            "numeric",
            &[
                "NaN",
                "Infinity",
                "-Infinity",
                "0",
                "0.000",
                "1.50",
                "-1e-100",
                "1e1000",
                "12345678901234567890.0987654321",
            ],
        )],
    },
    Group {
        name: "texts",
        as_text: None,
        columns: &[
            column(
                "text",
                &[
                    "",
                    "plain",
                    "tab\tnewline\nreturn\r",
                    "back\\slash ''quoted'' \"double\"",
                    "ünïcode 𝄞 漢字",
                    "\\N",
                    "NULL",
                ],
            ),
            column("character varying(10)", &["", "0123456789", "  spaces  "]),
            column("character varying", &["", "x"]),
            column("character(5)", &["abc", "     ", "fünf5"]),
            column("\"char\"", &["a", " "]),
            column("name", &["pg_name", ""]),
        ],
    },
    Group {
        name: "bytes_and_ids",
        as_text: None,
        columns: &[
            column("bytea", &["", "\\x00ff80c328", "\\x5c5c"]),
            column("uuid", &["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
        ],
    },
    Group {
        name: "dates_and_times",
        as_text: None,
        columns: &[
            column(
                "date",
                &["2024-02-29", "infinity", "-infinity", "4713-01-01 BC", "5874897-12-31", "0001-12-31 BC"],
            ),
            column("time without time zone", &["00:00:00", "23:59:59.999999"]),
            column("time(3) without time zone", &["12:34:56.789"]),
            column(
                "timestamp without time zone",
                &[
                    "2024-02-29 12:00:00.123456",
                    "infinity",
                    "-infinity",
                    "4713-01-01 00:00:00 BC",
                    "294246-12-31 23:59:59.999999",
                ],
            ),
            column("timestamp(0) without time zone", &["1999-12-31 23:59:59"]),
            column(
                "timestamp with time zone",
                &["2024-02-29 12:00:00.123456+05:30", "infinity", "-infinity", "4713-01-02 00:00:00+00 BC"],
            ),
            column("timestamp(3) with time zone", &["1969-12-31 23:59:59.999+00"]),
        ],
    },
    Group {
        name: "times_out_of_range",
        as_text: Some("microseconds since 1970 end 30 years before those since 2000"),
        columns: &[
            column("timestamp without time zone", &["294276-12-31 23:59:59.999999", "infinity"]),
            column("timestamp with time zone", &["294276-12-31 23:59:59.999999+00", "-infinity"]),
            column("time without time zone", &["24:00:00"]),
        ],
    },
    Group {
        name: "times_of_other_kinds",
        as_text: None,
        columns: &[
            column("time with time zone", &["00:00:00+15:59", "23:59:59.999999-15:59", "24:00:00+00"]),
            column(
                "interval",
                &[
                    "0",
                    "1 year 2 mons 3 days 04:05:06.789012",
                    "-1 year -2 mons +3 days -04:05:06",
                    "178000000 years",
                    "-106751 days",
                ],
            ),
            column("interval(3)", &["00:00:00.123"]),
            column("interval year to month", &["1 year 2 mons"]),
        ],
    },
    Group {
        name: "documents",
        as_text: None,
        columns: &[
            column(
                "json",
                &[
                    "{}",
                    "{\"b\": 1,  \"a\":2, \"a\": 3}",
                    "[1.10, 1e400, null]",
                    "\"text\"",
                    "null",
                    "12345678901234567890.123",
                ],
            ),
            column(
                "jsonb",
                &[
                    "{}",
                    "{\"a\": {\"b\": [1, 2.50, null]}}",
                    "\"ünïcode\"",
                    "null",
                    "12345678901234567890.123",
                ],
            ),
            column("xml", &["<a>text</a>", "<a b=\"c\"/>"]),
        ],
    },
    Group {
        name: "bits_and_networks",
        as_text: None,
        columns: &[
            column("bit(8)", &["10101010", "00000000"]),
            column("bit varying(10)", &["", "1", "1010101010"]),
            column("bit varying", &["", "111"]),
            column("inet", &["192.168.0.1", "192.168.0.1/24", "::1", "2001:db8::/32"]),
            column("cidr", &["10.0.0.0/8", "::/0"]),
            column("macaddr", &["08:00:2b:01:02:03"]),
            column("macaddr8", &["08:00:2b:01:02:03:04:05"]),
            column("money", &["-92233720368547758.08", "92233720368547758.07", "0"]),
        ],
    },
    Group {
        name: "geometry",
        as_text: None,
        columns: &[
            column("point", &["(0,0)", "(1.5,-2.25)", "(NaN,Infinity)"]),
            column("line", &["{1,-1,0}"]),
            column("lseg", &["[(0,0),(1,1)]"]),
            column("box", &["(1,1),(0,0)"]),
            column("path", &["[(0,0),(1,1)]", "((0,0),(1,1))"]),
            column("polygon", &["((0,0),(1,1),(2,0))"]),
            column("circle", &["<(0,0),1>"]),
        ],
    },
    Group {
        name: "ranges",
        as_text: None,
        columns: &[
            column("int4range", &["empty", "[1,10)", "(,5)", "(,)"]),
            column("int8range", &["[1,10)"]),
            column("numrange", &["[1.5,2.50]", "empty", "(NaN,)"]),
            column("daterange", &["[2024-01-01,2024-02-01)", "[-infinity,infinity)"]),
            column("tsrange", &["[\"2024-01-01 00:00:00\",\"2024-01-02 00:00:00\")"]),
            column("tstzrange", &["[\"2024-01-01 00:00:00+00\",)"]),
            column("int4multirange", &["{}", "{[1,3),[5,8)}"]),
            column("datemultirange", &["{[2024-01-01,2024-02-01)}"]),
        ],
    },
    Group {
        name: "search_and_system",
        as_text: None,
        columns: &[
            column("tsvector", &["", "''fat'':1A ''cat'':2"]),
            column("tsquery", &["''fat'' & ''rat''"]),
            column("pg_lsn", &["0/0", "FFFFFFFF/FFFFFFFF"]),
            column("jsonpath", &["$.\"a\"[*]"]),
            column("xid8", &["18446744073709551615"]),
            column("tid", &["(0,1)"]),
            column("regclass", &["pg_class"]),
        ],
    },
    Group {
        name: "lists",
        as_text: None,
        columns: &[
            list("integer[]", &["{}", "{1,NULL,-2147483648}"]),
            list("bigint[]", &["{9223372036854775807}"]),
            list("text[]", &["{}", "{NULL,\"NULL\",\"a,b\",\"quote \\\" and \\\\\",\"\"}"]),
            list("boolean[]", &["{t,f,NULL}"]),
            list("numeric(10,2)[]", &["{1.50,NULL,-99999999.99}"]),
            list("uuid[]", &["{00000000-0000-0000-0000-000000000001}"]),
            list("date[]", &["{2024-02-29,NULL}"]),
            list("timestamp without time zone[]", &["{\"2024-02-29 12:00:00.5\"}"]),
            list("double precision[]", &["{1.5,NULL}"]),
            list("bytea[]", &["{\"\\\\x00ff\"}"]),
            list("character varying(5)[]", &["{abcde}"]),
        ],
    },
    Group {
        name: "lists_of_other_shapes",
        as_text: Some("dimensions are no part of the declared type"),
        columns: &[list("integer[]", &["{{1,2},{3,4}}", "[0:1]={5,6}", "{1}"])],
    },
    Group {
        name: "lists_of_other_types",
        as_text: None,
        columns: &[
            list("int4range[]", &["{\"[1,3)\",empty}"]),
            list("inet[]", &["{10.0.0.1,10.0.0.0/8}"]),
            list("interval[]", &["{\"1 day\",\"-00:00:01\"}"]),
            list("jsonb[]", &["{\"{\\\"a\\\": 1}\"}"]),
        ],
    },
    Group {
        name: "types_of_the_users_own",
        as_text: None,
        columns: &[
            column("mood", &["so so", "happy", "it''s", "ünïcode"]),
            column("positive", &["0.01", "99999999.99"]),
            column("pair", &["(1,\"a, b\")", "(,)", "(-5,\"\")"]),
            list("mood[]", &["{happy,NULL}"]),
        ],
    },
];
