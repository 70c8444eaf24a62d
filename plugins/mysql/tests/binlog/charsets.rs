use hub_plugin_api::json;

use super::{Followed, follow, own_server_id};
use crate::support::{Server, Which, run};

/// Characters that a set may have, as bytes: all signs, and of the letters behind them enough to find one that is
/// decoded otherwise by ranges.
fn candidates(charset: &str, longest: u32) -> Vec<String> {
    let mut all: Vec<_> = (1..=0xff).map(|byte| format!("{byte:02X}")).collect();
    if longest > 1 {
        let leads =
            (0x81..0xff).filter(|lead| matches!(lead, 0x81 | 0x82 | 0xa1..=0xa6 | 0xfe) || lead % 16 == 0);
        all.extend(leads.flat_map(|lead| (0x30..0xff).map(move |trail| format!("{lead:02X}{trail:02X}"))));
    }
    if longest == 3 {
        // Above lies what applications define.
        all.extend(
            (0xa1..0xf3)
                .flat_map(|second| (0xa1..0xff).map(move |third| format!("8F{second:02X}{third:02X}"))),
        );
    }
    if longest == 4 {
        let four = (0x81..0x85).flat_map(|first| {
            (0x81..0xff).step_by(7).map(move |third| format!("{first:02X}31{third:02X}35"))
        });
        all.extend(four);
    }
    let own = match charset {
        "big5" => "C6A1"..="C8FE",
        "ujis" | "eucjpms" => "F5A1"..="FEFE",
        _ => "Z"..="Z",
    };
    all.retain(|bytes| bytes.len() != 4 || !own.contains(&bytes.as_str()));
    all
}

/// Fills table `t_NAME` with all characters that the server knows of a set, without leaving others in the log.
fn fill(charset: &str, longest: u32) -> Vec<String> {
    let values: Vec<_> = candidates(charset, longest).iter().map(|bytes| format!("(x'{bytes}')")).collect();
    let mut statements = vec![
        "SET sql_mode = '', max_error_count = 0, group_concat_max_len = 1000000".to_owned(),
        format!("CREATE TABLE t_{charset} (id int PRIMARY KEY, v mediumtext CHARACTER SET {charset})"),
        "CREATE TEMPORARY TABLE raw (id int AUTO_INCREMENT PRIMARY KEY, b varbinary(4))".into(),
        format!(
            "CREATE TEMPORARY TABLE stage (id int PRIMARY KEY, b varbinary(4), v varchar(4) CHARACTER SET {charset})"
        ),
    ];
    statements
        .extend(values.chunks(5000).map(|part| format!("INSERT INTO raw (b) VALUES {}", part.join(","))));
    statements.extend([
        "INSERT IGNORE INTO stage SELECT id, b, b FROM raw".into(),
        // A question mark is what the server makes of a character that it knows nothing of.
        format!(
            "INSERT INTO t_{charset} SELECT CONV(LEFT(HEX(b), 1), 16, 10), GROUP_CONCAT(v ORDER BY id SEPARATOR '') \
             FROM stage WHERE HEX(v) = HEX(b) AND LOCATE('3F', HEX(CONVERT(v USING utf8mb4))) = 0 \
             GROUP BY LEFT(HEX(b), 1)"
        ),
        "DROP TEMPORARY TABLE raw, stage".into(),
    ]);
    statements
}

#[test]
fn texts_of_every_character_set_are_the_servers_own() {
    for which in [Which::MySql, Which::MariaDb] {
        run(async {
            let mut server = Server::new(which, "charsets").await;
            own_server_id(&mut server);
            let charsets = server
                .rows(
                    "SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS \
                     WHERE CHARACTER_SET_NAME NOT LIKE 'u%f%' AND CHARACTER_SET_NAME NOT IN ('ucs2', 'binary')",
                )
                .await;
            assert!(charsets.len() > 30, "{charsets:?}");
            let mut reader = follow(&server, json!({})).await;
            let fills = charsets.iter().flat_map(|charset| fill(&charset[0], charset[1].parse().unwrap()));
            let statements: Vec<_> = fills.collect();
            server.run(&statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
            let texts = charsets
                .iter()
                .map(|charset| format!("SELECT '{0}', id, CONVERT(v USING utf8mb4) FROM t_{0}", charset[0]));
            let rows = server.rows(&texts.collect::<Vec<_>>().join(" UNION ALL ")).await;
            let line = |row: &Vec<String>| format!("insert t_{} {} | {}", row[0], row[1], row[2]);
            let mut expected: Vec<_> = rows.iter().map(line).collect();
            assert!(expected.len() >= 8 * charsets.len(), "{}", expected.len());
            let mut followed = Followed::default();
            followed.more(&mut *reader, expected.len()).await.unwrap();
            let mut lines = followed.lines();
            lines.sort();
            expected.sort();
            for (line, expected) in lines.iter().zip(&expected) {
                assert_eq!(line, expected, "{which:?}");
            }
            assert_eq!(lines.len(), expected.len());
        });
    }
}
