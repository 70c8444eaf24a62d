//! Statements of the log.

use hub_plugin_api::Result;

use super::{charset::Charsets, cursor::Cursor, event::unpack, lexer::Quotes};

/// A statement of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The database that was in use.
    pub database: String,
    /// How its session read quotes.
    pub quotes: Quotes,
    /// The character set of the server: that of databases that name none.
    pub server_charset: Option<String>,
    /// The statement.
    pub text: String,
}

impl Query {
    /// Reads a query event, packed or not.
    ///
    /// # Errors
    /// When it is not as documented.
    pub fn parse(body: &[u8], packed: bool, charsets: &Charsets) -> Result<Self> {
        let mut cursor = Cursor(body);
        cursor.take(8)?;
        let database = usize::from(cursor.u8()?);
        cursor.u16()?;
        let variables = cursor.u16()?.into();
        let Variables { quotes, client, server } = Variables::read(cursor.take(variables)?);
        let database = String::from_utf8_lossy(cursor.take(database)?).into_owned();
        cursor.u8()?;
        let text = if packed { unpack(cursor.0)? } else { cursor.0.to_vec() };
        // A statement lies in the log as its client wrote it.
        let charset = client
            .and_then(|client| charsets.of_collation(client))
            .and_then(|name| charsets.named(name).ok());
        let mut utf8 = Vec::new();
        let text = match charset.map(|charset| charset.decode(&text, &mut utf8)) {
            Some(Ok(())) => String::from_utf8_lossy(&utf8),
            _ => String::from_utf8_lossy(&text),
        };
        let server_charset = server.and_then(|server| charsets.of_collation(server)).map(str::to_owned);
        Ok(Self { database, quotes, server_charset, text: text.into_owned() })
    }
}

/// What a statement's variables say of how it is to be read.
#[derive(Default)]
struct Variables {
    quotes: Quotes,
    /// The collation of its bytes.
    client: Option<u16>,
    /// The collation of the server.
    server: Option<u16>,
}

impl Variables {
    fn read(bytes: &[u8]) -> Self {
        let (mut found, mut cursor) = (Self::default(), Cursor(bytes));
        // What stands behind one that is not known cannot be told apart.
        while found.next(&mut cursor).is_some() {}
        found
    }

    fn next(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        match cursor.u8().ok()? {
            // Flags.
            0 => drop(cursor.u32().ok()?),
            // `sql_mode`.
            1 => {
                let mode = cursor.uint(8).ok()?;
                self.quotes = Quotes { names: mode & 1 << 2 != 0, no_escapes: mode & 1 << 20 != 0 };
            }
            // The catalog, of old servers with a zero behind it.
            2 => {
                let length = cursor.u8().ok()?;
                cursor.take(usize::from(length) + 1).ok()?;
            }
            // Steps of AUTO_INCREMENT.
            3 => drop(cursor.take(4).ok()?),
            // Collations of client, connection and server.
            4 => {
                self.client = Some(cursor.u16().ok()?);
                cursor.u16().ok()?;
                self.server = Some(cursor.u16().ok()?);
            }
            // The zone, the catalog.
            5 | 6 => {
                let length = cursor.u8().ok()?;
                cursor.take(length.into()).ok()?;
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::binlog::charset::Characters;

    #[test]
    fn query_knows_its_database_packed_or_not() {
        let mut body = vec![0; 8];
        // No flags; ANSI_QUOTES.
        body.extend_from_slice(&[4, 0, 0, 14, 0]);
        body.extend_from_slice(&[0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0, 0, 0, 0]);
        body.extend_from_slice(b"shop\0");
        let plain = [&body[..], b"BEGIN"].concat();
        let expected = Query {
            database: "shop".into(),
            quotes: Quotes { names: true, no_escapes: false },
            server_charset: None,
            text: "BEGIN".into(),
        };
        assert_eq!(Query::parse(&plain, false, &Charsets::default()).unwrap(), expected);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(b"BEGIN").unwrap();
        let packed = [&body[..], &[0x81, 5], &zlib.finish().unwrap()].concat();
        assert_eq!(Query::parse(&packed, true, &Charsets::default()).unwrap(), expected);
        let mut lying = packed.clone();
        lying[body.len() + 1] = 6;
        assert!(Query::parse(&lying, true, &Charsets::default()).is_err());
        assert!(Query::parse(&plain, true, &Charsets::default()).is_err());
    }

    #[test]
    fn statement_is_read_in_the_character_set_of_its_client() {
        let mut body = vec![0; 8];
        body.extend_from_slice(&[0, 0, 0, 21, 0]);
        // Flags, mode, catalog, character sets.
        body.extend_from_slice(&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        body.extend_from_slice(&[4, 8, 0, 8, 0, 255, 0]);
        body.extend_from_slice(b"\0CREATE TABLE `\xfc` (a int)");
        let points: String = (0..256).map(|point| format!("{point:08x}")).collect();
        let latin1 = std::sync::Arc::new(Characters::of_utf32(&points).unwrap());
        let charsets = Charsets {
            of_collations: [(8, "latin1".into()), (255, "utf8mb4".into())].into(),
            single: [("latin1".into(), latin1)].into(),
        };
        let query = Query::parse(&body, false, &charsets).unwrap();
        assert_eq!(query.text, "CREATE TABLE `ü` (a int)");
        assert_eq!(query.server_charset.as_deref(), Some("utf8mb4"));
        assert!(Query::parse(&body, false, &Charsets::default()).unwrap().text.contains('\u{fffd}'));
    }
}
