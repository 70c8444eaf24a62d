use std::{env, fs::File, io::Write};

/// Says that the running test has nothing to run against. Returns only where that is no failure.
///
/// # Panics
/// Under `CI=true`, where every server must be there.
pub fn skip(reason: &str) {
    assert!(env::var("CI").map_or(true, |ci| ci != "true"), "Nothing may be skipped under CI=true: {reason}");
    let thread = std::thread::current();
    let line = format!("{}: {reason}\n", thread.name().unwrap_or("a test"));
    if let Some(file) = env::var_os("HUB_TEST_SKIPS") {
        let written = File::options()
            .create(true)
            .append(true)
            .open(file)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        if let Err(error) = written {
            eprintln!("The skip cannot be counted: {error}");
        }
    }
    eprint!("skipped: {line}");
}
