//! The server that the launcher started, and what the tests ask it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

/// A session of a test's own on the launched server, in a database of its own.
pub(crate) struct Redis {
    stream: BufReader<TcpStream>,
    address: [String; 4],
    database: u8,
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Nil,
    Number(i64),
    Text(String),
    List(Vec<Answer>),
    Error(String),
}

impl Answer {
    pub(crate) fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            other => panic!("{other:?} is no number"),
        }
    }

    pub(crate) fn list(&self) -> &[Answer] {
        match self {
            Self::List(items) => items,
            other => panic!("{other:?} is no list"),
        }
    }
}

impl Redis {
    /// Opens it on an empty database; nothing where there is no server.
    pub(crate) fn open(database: u8) -> Option<Self> {
        let url = std::env::var("HUB_TEST_REDIS_URL").ok()?;
        let rest = url.strip_prefix("redis://").unwrap();
        let (login, place) = rest.rsplit_once('@').unwrap();
        let ((user, password), (host, port)) =
            (login.split_once(':').unwrap(), place.split_once(':').unwrap());
        let stream = TcpStream::connect(place).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let address = [host, port, user, password].map(str::to_owned);
        let mut redis = Self { stream: BufReader::new(stream), address, database };
        let [_, _, user, password] = redis.address.clone();
        redis.ask(&["AUTH", &user, &password]);
        redis.ask(&["SELECT", &database.to_string()]);
        redis.ask(&["FLUSHDB"]);
        Some(redis)
    }

    /// As a pipeline file's `config`.
    pub(crate) fn config(&self) -> Value {
        let [host, port, user, _] = &self.address;
        json!({
            "host": host,
            "port": port.parse::<u16>().unwrap(),
            "username": user,
            "password": "${env:HUB_TEST_REDIS_PASSWORD}",
            "database_index": self.database,
        })
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, command: &[&str]) -> Answer {
        match self.ask_all(&[command.iter().map(|part| part.to_string()).collect()]).remove(0) {
            Answer::Error(text) => panic!("{command:?}: {text}"),
            answer => answer,
        }
    }

    /// Many commands at once.
    pub(crate) fn ask_all(&mut self, commands: &[Vec<String>]) -> Vec<Answer> {
        let mut bytes = Vec::new();
        for command in commands {
            bytes.extend(format!("*{}\r\n", command.len()).into_bytes());
            for part in command {
                bytes.extend(format!("${}\r\n{part}\r\n", part.len()).into_bytes());
            }
        }
        self.stream.get_mut().write_all(&bytes).unwrap();
        commands.iter().map(|_| self.answer()).collect()
    }

    fn answer(&mut self) -> Answer {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let rest = line[1..].trim_end().to_owned();
        match line.as_bytes()[0] {
            b'+' => Answer::Text(rest),
            b'-' => Answer::Error(rest),
            b':' => Answer::Number(rest.parse().unwrap()),
            b'$' if rest == "-1" => Answer::Nil,
            b'$' => {
                let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
                self.stream.read_exact(&mut bytes).unwrap();
                bytes.truncate(bytes.len() - 2);
                Answer::Text(String::from_utf8_lossy(&bytes).into_owned())
            }
            b'*' if rest == "-1" => Answer::Nil,
            b'*' => Answer::List((0..rest.parse::<usize>().unwrap()).map(|_| self.answer()).collect()),
            other => panic!("`{}` begins no answer", char::from(other)),
        }
    }
}
