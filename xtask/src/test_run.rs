//! Runs one test program and counts what it says.

use std::{
    io::Read,
    ops::AddAssign,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::Outcome;

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Counts {
    pub(crate) fn total(self) -> u64 {
        self.passed + self.failed + self.skipped
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// How a test program ended.
#[derive(Debug)]
pub(crate) struct Report {
    pub counts: Counts,
    /// For the terminal: its closing lines; everything where a test failed.
    pub text: String,
}

/// Runs a test program for at most `limit`.
///
/// Tests that found no server add a line to `skips`: the runner counts them as passed, we as skipped.
pub(crate) fn run(name: &str, mut command: Command, limit: Duration, skips: &Path) -> Outcome<Report> {
    let known_skips = skip_lines(skips).len();
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (sender, receiver) = mpsc::channel();
    let pipes = [
        child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
    ];
    for mut pipe in pipes.into_iter().flatten() {
        let sender = sender.clone();
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(read @ 1..) = pipe.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
    }
    drop(sender);
    let mut output = Vec::new();
    let mut late = false;
    let status = loop {
        match receiver.recv_timeout(Duration::from_millis(50)) {
            Ok(bytes) => output.extend_from_slice(&bytes),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break child.wait()?,
        }
        // A child of a test that outlives it may hold the pipes open: the program's own end is what counts.
        if let Some(status) = child.try_wait()? {
            while let Ok(bytes) = receiver.recv_timeout(Duration::from_millis(200)) {
                output.extend_from_slice(&bytes);
            }
            break status;
        }
        if start.elapsed() > limit && !late {
            late = true;
            child.kill()?;
        }
    };
    let output = String::from_utf8_lossy(&output);
    let mut counts = Counts::default();
    let mut closing = Vec::new();
    for line in output.lines() {
        if let Some(line_counts) = parse_closing_line(line) {
            counts += line_counts;
            closing.push(line);
        }
    }
    if !status.success() && counts.failed == 0 {
        // It crashed, or was killed: what did not report has not passed.
        counts.failed = 1;
    }
    let new_skips = skip_lines(skips).split_off(known_skips);
    let skipped = (new_skips.len() as u64).min(counts.passed);
    counts.passed -= skipped;
    counts.skipped += skipped;

    let mut text = format!("     {name}\n");
    let mut add = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    if counts.failed > 0 {
        add(&output);
        if late {
            add(&format!("{name} was killed after {} s", limit.as_secs()));
        } else if closing.is_empty() {
            add(&format!("{name} ended without a result: {status}"));
        }
    } else {
        closing.iter().for_each(|line| add(line));
    }
    new_skips.iter().for_each(|line| add(&format!("skipped: {line}")));
    Ok(Report { counts, text })
}

fn skip_lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s`
fn parse_closing_line(line: &str) -> Option<Counts> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = Counts::default();
    for part in numbers.split("; ") {
        let Some((number, word)) = part.split_once(' ') else { continue };
        let Ok(number) = number.parse() else { continue };
        match word {
            "passed" => counts.passed = number,
            "failed" => counts.failed = number,
            "ignored" => counts.skipped = number,
            _ => {}
        }
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn counts_what_the_closing_line_says() {
        let line = "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.01s";
        assert_eq!(parse_closing_line(line), Some(Counts { passed: 3, failed: 2, skipped: 1 }));
        assert_eq!(parse_closing_line("test a ... ok"), None);
    }

    #[test]
    fn a_program_that_dies_without_a_result_has_failed() {
        let counts =
            run("crash", shell("kill -9 $$"), Duration::from_secs(10), Path::new("none")).unwrap().counts;
        assert_eq!(counts, Counts { passed: 0, failed: 1, skipped: 0 });
    }

    #[test]
    fn a_program_that_hangs_is_killed_and_has_failed() {
        let counts =
            run("hang", shell("sleep 60"), Duration::from_millis(100), Path::new("none")).unwrap().counts;
        assert_eq!(counts.failed, 1);
    }

    #[test]
    fn a_test_that_found_no_server_counts_as_skipped() {
        let file = std::env::temp_dir().join(format!("xtask-skips-{}", std::process::id()));
        let script = format!(
            "echo 'reads_all: no server' >> {}; echo 'test result: ok. 2 passed; 0 failed; 0 ignored'",
            file.display()
        );
        let counts = run("skips", shell(&script), Duration::from_secs(10), &file).unwrap().counts;
        std::fs::remove_file(&file).unwrap();
        assert_eq!(counts, Counts { passed: 1, failed: 0, skipped: 1 });
    }
}
