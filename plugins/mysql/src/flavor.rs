//! Which of the two servers answers, and in which version.

use std::fmt;

/// Who makes the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// Oracle's MySQL, and what calls itself so.
    MySql,
    /// MariaDB.
    MariaDb,
}

impl Vendor {
    /// The connector's id, and what stands in `hub:engine` and `vendor_name`.
    pub const fn engine(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::MariaDb => "mariadb",
        }
    }

    /// The product's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        }
    }
}

/// A session's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Who makes it.
    pub vendor: Vendor,
    /// Major, minor and patch.
    pub version: (u16, u16, u16),
    /// The version as the server says it.
    pub text: String,
}

impl Server {
    /// Reads the version of a handshake. MariaDB up to 10 says `5.5.5-10.11.18-MariaDB-…`, so that old replicas of MySQL
    /// would connect (MariaDB knowledge base, "Connecting to MariaDB: handshake").
    pub fn of_handshake(text: &str) -> Self {
        let vendor = if text.contains("MariaDB") { Vendor::MariaDb } else { Vendor::MySql };
        let plain = text.strip_prefix("5.5.5-").filter(|_| vendor == Vendor::MariaDb).unwrap_or(text);
        let mut numbers = plain
            .split(|character: char| !character.is_ascii_digit())
            .map(|digits| digits.parse::<u16>().unwrap_or_default());
        let mut next = || numbers.next().unwrap_or_default();
        Self { vendor, version: (next(), next(), next()), text: plain.to_owned() }
    }

    /// Whether it is this vendor's, and at least of this version.
    pub fn is(&self, vendor: Vendor, since: (u16, u16, u16)) -> bool {
        self.vendor == vendor && self.version >= since
    }
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.vendor.name(), self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_of_both_vendors_are_told_apart() {
        let mysql = Server::of_handshake("9.7.4-2");
        assert_eq!((mysql.vendor, mysql.version), (Vendor::MySql, (9, 7, 4)));
        let old = Server::of_handshake("5.5.5-10.11.18-MariaDB-0+deb12u1-log");
        assert_eq!((old.vendor, old.version), (Vendor::MariaDb, (10, 11, 18)));
        let new = Server::of_handshake("11.8.6-MariaDB-0+deb13u1 from Debian-log");
        assert_eq!((new.vendor, new.version), (Vendor::MariaDb, (11, 8, 6)));
        assert!(new.is(Vendor::MariaDb, (11, 7, 0)) && !new.is(Vendor::MySql, (9, 0, 0)));
        assert_eq!(Server::of_handshake("").version, (0, 0, 0));
    }
}
