//! As much of HTTP as it takes to read a file from a place on: RFC 9110 and 9112, over the sockets of WASI.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use hub_connector::{Error, Result};

/// How long the server may take for each piece of an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest line of a head, in bytes.
const MAX_HEAD_LINE: u64 = 16 << 10;

/// An address `http://HOST:PORT/PATH`.
#[derive(Clone, Debug)]
pub(crate) struct Url {
    host: String,
    port: u16,
    path: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| Error::config("url", format!("`{text}` {what}"));
        let rest = text.strip_prefix("http://").ok_or_else(|| {
            wrong("does not begin with `http://`").with_hint("Encryption is not supported by this example")
        })?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
        let port = port.parse().map_err(|_| wrong("has no valid port"))?;
        if host.is_empty() || path.contains(['?', '#', ' ']) {
            return Err(wrong("is not of the form `http://HOST:PORT/FOLDER`"));
        }
        Ok(Self { host: host.into(), port, path: format!("/{}", path.trim_end_matches('/')) })
    }

    /// A file in this folder.
    pub(crate) fn join(&self, name: &str) -> Self {
        Self { path: format!("{}/{name}", self.path.trim_end_matches('/')), ..self.clone() }
    }

    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(crate) fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).map_err(|error| {
            let message = format!("The server at `{}` cannot be reached: {error}", self.authority());
            // What the sandbox refuses is no fault of the network, and trying again does not help.
            let denied = error.kind() == io::ErrorKind::PermissionDenied;
            Error::new(if denied { "permission-denied" } else { "network" }, message)
        })?;
        // Not every host has these clocks; without them the hub's own limit of a call holds.
        let _ = stream.set_read_timeout(Some(PATIENCE));
        Ok(stream)
    }

    /// The bytes of the file from `from` on.
    pub(crate) fn get(&self, from: u64) -> Result<Body> {
        let mut stream = self.connect()?;
        let range = if from > 0 { format!("Range: bytes={from}-\r\n") } else { String::new() };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nAccept-Encoding: identity\r\nConnection: close\r\n{range}\r\n",
            self.path,
            self.authority()
        );
        stream.write_all(request.as_bytes()).map_err(|error| self.broken(&error))?;
        let mut reader = BufReader::with_capacity(1 << 16, stream);
        let head = Head::read(&mut reader).map_err(|error| self.broken(&error))?;
        match (head.status, from) {
            (200, 0) | (206, 1..) => {}
            (200, _) => {
                return Err(Error::new(
                    "unsupported",
                    "The server does not answer requests for a part of a file",
                )
                .with_hint("Start again with `--from-scratch`, or use a server that knows ranges"));
            }
            (416, _) => {
                let message = format!("`{self}` has become shorter than the place to go on at");
                return Err(Error::new("position-lost", message)
                    .with_hint("The file was replaced: start again with `--from-scratch`"));
            }
            (404, _) => return Err(Error::new("not-found", format!("There is no `{self}`"))),
            (401 | 403, _) => {
                return Err(Error::new("permission-denied", format!("`{self}` may not be read")));
            }
            (status @ 500.., _) => {
                return Err(Error::new(
                    "unavailable",
                    format!("The server answers `{self}` with status {status}"),
                ));
            }
            (status, _) => {
                return Err(Error::new(
                    "protocol",
                    format!("The server answers `{self}` with status {status}"),
                ));
            }
        }
        let Some(left) = head.length else {
            return Err(Error::new("unsupported", "The server does not say how long its answer is")
                .with_hint("Only answers with a `Content-Length` can be told from ones that were cut off"));
        };
        Ok(Body { reader, left })
    }

    fn broken(&self, error: &io::Error) -> Error {
        Error::new("network", format!("The server's answer to `{self}` cannot be read: {error}"))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}{}", self.authority(), self.path)
    }
}

struct Head {
    status: u16,
    length: Option<u64>,
}

impl Head {
    fn read(reader: &mut impl BufRead) -> io::Result<Self> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "this is not HTTP");
        let mut line = || -> io::Result<String> {
            let mut line = String::new();
            reader.by_ref().take(MAX_HEAD_LINE).read_line(&mut line)?;
            if line.ends_with('\n') { Ok(line.trim_end().to_owned()) } else { Err(wrong()) }
        };
        let status = line()?;
        let status = status.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).ok_or_else(wrong)?;
        let mut head = Self { status: status.parse().map_err(|_| wrong())?, length: None };
        loop {
            let line = line()?;
            let Some((name, value)) = line.split_once(':') else {
                return if line.is_empty() { Ok(head) } else { Err(wrong()) };
            };
            if name.eq_ignore_ascii_case("content-length") {
                head.length = Some(value.trim().parse().map_err(|_| wrong())?);
            }
        }
    }
}

/// What the server sends: an end before the announced length is an error.
pub(crate) struct Body {
    reader: BufReader<TcpStream>,
    left: u64,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let read = available.len().min(buffer.len());
        buffer[..read].copy_from_slice(&available[..read]);
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let available = self.reader.fill_buf()?;
        if available.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut off"));
        }
        let length = available.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        Ok(&available[..length])
    }

    fn consume(&mut self, bytes: usize) {
        self.left -= bytes as u64;
        self.reader.consume(bytes);
    }
}
