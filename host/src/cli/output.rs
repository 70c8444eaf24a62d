//! Results on standard output, everything else on standard error.

use std::{
    env, fmt,
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
};

use connector_hub::api::{Value, json};
use serde::Serialize;

use super::{exit::Failure, logging::above_bar, text::plain};

/// Why a result could not be written, the first time that happened.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// Where results go and how they look.
pub struct Output {
    pub json: bool,
    color_out: bool,
    color_error: bool,
}

/// A colour of a word; nothing when the output is not a terminal.
#[derive(Clone, Copy)]
pub enum Color {
    Bold,
    Red,
    Green,
    Yellow,
    Cyan,
    Dim,
}

impl Color {
    const fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Red => "1;31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Cyan => "36",
            Self::Dim => "2",
        }
    }
}

impl Output {
    pub fn new(json: bool) -> Self {
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            json,
            color_out: wanted && io::stdout().is_terminal(),
            color_error: wanted && io::stderr().is_terminal(),
        }
    }

    /// A line of the result.
    pub fn line(&self, line: impl fmt::Display) {
        self.text(format!("{line}\n").as_bytes());
    }

    /// A result that has its own lines.
    pub fn text(&self, text: &[u8]) {
        let mut stdout = io::stdout().lock();
        // A reader that went away (`| head`) is no failure of ours. A disk that is full is.
        if let Err(error) = stdout.write_all(text).and_then(|()| stdout.flush())
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            LOST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    /// Says that results were lost, if they were, and whether.
    pub fn lost(&self) -> bool {
        let lost = LOST.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(error) = &lost {
            let label = paint(self.color_error, Color::Red, "error:");
            self.note(format!("{label} The results could not be written: {error}"));
        }
        lost.is_some()
    }

    /// A result, or a part of one, as JSON on one line.
    pub fn json_line(&self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.line(text),
            Err(error) => self.note(format!("A result cannot be written as JSON: {error}")),
        }
    }

    /// A whole result as JSON for people and programs.
    pub fn json_pretty(&self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.line(text),
            Err(error) => self.note(format!("A result cannot be written as JSON: {error}")),
        }
    }

    /// A line about what happens, on standard error.
    pub fn note(&self, line: impl fmt::Display) {
        note(line);
    }

    /// Hints on standard error, each on a line of its own.
    pub fn hint(&self, hints: impl fmt::Display) {
        for hint in hints.to_string().lines() {
            self.note(format!("{} {}", paint(self.color_error, Color::Cyan, "hint:"), plain(hint)));
        }
    }

    /// What to know although the command goes on.
    pub fn warning(&self, warning: impl fmt::Display) {
        let label = paint(self.color_error, Color::Yellow, "warning:");
        self.note(format!("{label} {}", plain(&warning.to_string())));
    }

    /// Why the command failed: one line an error, and its hints; with `--json` also as the last line of the result.
    pub fn failure(&self, failure: &Failure) {
        let label = paint(self.color_error, Color::Red, "error:");
        match failure {
            Failure::Error(error) | Failure::Run(error) => {
                self.note(format!("{label} {}", plain(&error.to_string())));
                error.hint.iter().for_each(|hint| self.hint(hint));
            }
            Failure::File(error) => {
                for (line, hint) in error.lines() {
                    self.note(format!("{label} {}", plain(&line)));
                    hint.iter().for_each(|hint| self.hint(hint));
                }
            }
        }
        if self.json {
            let error: Value = match failure {
                Failure::Error(error) => json!(error),
                Failure::File(error) => json!({"kind": "invalid-config", "message": error.to_string(),
                    "file": error.file.to_string_lossy(), "problems": error.problems}),
                Failure::Run(_) => return,
            };
            self.json_line(&json!({"error": error}));
        }
    }

    /// A word in colour, for a line of the result.
    pub fn paint(&self, color: Color, text: &str) -> String {
        paint(self.color_out, color, text)
    }
}

fn paint(enabled: bool, color: Color, text: &str) -> String {
    if enabled { format!("\x1b[{}m{text}\x1b[0m", color.code()) } else { text.to_owned() }
}

/// A line on standard error, above a progress bar.
pub fn note(line: impl fmt::Display) {
    above_bar(|| {
        let mut stderr = io::stderr().lock();
        // Nobody is left to tell that this failed.
        let _ = writeln!(stderr, "{line}").and_then(|()| stderr.flush());
    });
}
