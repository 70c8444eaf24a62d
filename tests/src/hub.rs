use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Environment, PeakMemory};

/// How long one run of a test may take.
const LIMIT: Duration = Duration::from_secs(600);

/// The program with a store and a working directory of its own.
#[derive(Debug)]
pub struct Hub {
    /// What was handed over.
    pub environment: Environment,
    folder: TempDir,
}

/// A run that ended.
#[derive(Debug)]
pub struct Run {
    /// How the process ended.
    pub status: ExitStatus,
    /// Everything on standard output.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
    /// Peak memory of the process and its children in MiB.
    pub peak_mib: f64,
    /// Wall time.
    pub elapsed: Duration,
}

impl Run {
    /// The rows that the run says it made durable.
    ///
    /// # Panics
    /// When it says nothing.
    pub fn rows(&self) -> u64 {
        let objects = self.stdout.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        for object in objects {
            if let Some(rows) = object["summary"]["rows"].as_u64().or_else(|| object["rows"].as_u64()) {
                return rows;
            }
        }
        panic!("The run printed no summary\n{}\n{}", self.stdout, self.stderr);
    }

    /// Fails the test unless the run was successful.
    ///
    /// # Panics
    /// When it was not.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        assert!(self.status.success(), "{}\n{}\n{}", self.status, self.stdout, self.stderr);
        self
    }
}

impl Running {
    /// Ends it as a service manager does, and fails the test unless it stopped in good order behind a commit.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn stop(self) -> Run {
        self.signal("TERM");
        let run = self.wait();
        // 128 and the number of the signal.
        assert_eq!(run.status.code(), Some(143), "{}\n{}", run.stdout, run.stderr);
        run
    }
}

/// A run that goes on; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
    started: Instant,
    memory: PeakMemory,
    out: PathBuf,
    err: PathBuf,
}

impl Hub {
    /// A hub that knows the plugins of this run and nothing else.
    ///
    /// # Panics
    /// When the environment is not there.
    pub fn new() -> Self {
        let folder = match tempfile::Builder::new().prefix("hub-e2e-").tempdir() {
            Ok(folder) => folder,
            Err(error) => panic!("There is no temporary directory: {error}"),
        };
        Self { environment: Environment::get(), folder }
    }

    /// A path in the working directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a pipeline file: JSON is YAML. `commit` is what a file's `commit` takes.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn pipeline(&self, name: &str, source: &Value, destination: &Value, more: &Value) -> PathBuf {
        let mut file = json!({ "version": 1, "name": name, "source": source, "destination": destination });
        if let (Some(file), Some(more)) = (file.as_object_mut(), more.as_object()) {
            file.extend(more.clone());
        }
        self.write(&format!("{name}.yaml"), &format!("{file:#}"))
    }

    /// Writes a file into the working directory.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        if let Err(error) = fs::write(&path, text) {
            panic!("`{}` cannot be written: {error}", path.display());
        }
        path
    }

    /// The program with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.environment.binary);
        command
            .args(arguments)
            .arg("--plugin-dir")
            .arg(&self.environment.plugins)
            .env("CONNECTOR_HUB_HOME", self.path("home"))
            .env("HUB_E2E_PASSWORD", crate::postgres::password().unwrap_or_default())
            .env_remove("CONNECTOR_HUB_PLUGIN_PATH")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program with these arguments to its end.
    ///
    /// # Panics
    /// When it does not start or does not end.
    pub fn call(&self, arguments: &[&str]) -> Run {
        self.start(self.command(arguments)).wait()
    }

    /// Runs a pipeline to its end.
    ///
    /// # Panics
    /// When it does not start or does not end.
    pub fn run(&self, file: &Path) -> Run {
        self.spawn(file).wait()
    }

    /// Starts a pipeline.
    ///
    /// # Panics
    /// When it does not start.
    pub fn spawn(&self, file: &Path) -> Running {
        self.spawn_with(file, &[])
    }

    /// Starts a pipeline with further arguments.
    ///
    /// # Panics
    /// When it does not start.
    pub fn spawn_with(&self, file: &Path, more: &[&str]) -> Running {
        let file = file.to_string_lossy();
        let arguments: Vec<_> = ["run", "--json", &*file].into_iter().chain(more.iter().copied()).collect();
        self.start(self.command(&arguments))
    }

    fn start(&self, mut command: Command) -> Running {
        // Files, not pipes: nobody has to read while the process runs.
        let [out, err] = ["out", "err"].map(|name| self.path(&format!("{name}-{}", unique())));
        let open = |path: &Path| match fs::File::create(path) {
            Ok(file) => file,
            Err(error) => panic!("`{}` cannot be made: {error}", path.display()),
        };
        match command.stdout(open(&out)).stderr(open(&err)).spawn() {
            Ok(child) => {
                let memory = PeakMemory::of(child.id());
                Running { child: Some(child), started: Instant::now(), memory, out, err }
            }
            Err(error) => panic!("`{}` does not start: {error}", self.environment.binary.display()),
        }
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl Running {
    /// Whether it ended.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.child.as_mut().map(Child::try_wait);
        match ended {
            Some(Ok(status)) => status.is_some(),
            Some(Err(error)) => panic!("The process cannot be asked: {error}"),
            None => true,
        }
    }

    /// Sends `TERM`, `INT` … to it.
    ///
    /// # Panics
    /// When there is no `kill`.
    pub fn signal(&self, signal: &str) {
        if let Some(child) = &self.child {
            let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
            assert!(sent.is_ok_and(|status| status.success()), "No `{signal}` could be sent");
        }
    }

    /// `kill -9`, unless it has ended.
    ///
    /// # Panics
    /// When the system does not do it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let ended = child.kill().and_then(|()| child.wait());
            assert!(ended.is_ok(), "The process cannot be killed: {ended:?}");
        }
    }

    /// What it has written on standard output so far.
    pub fn out(&self) -> String {
        self.output(&self.out)
    }

    /// What it has written on standard error so far.
    pub fn log(&self) -> String {
        self.output(&self.err)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end for ten minutes.
    pub fn wait(mut self) -> Run {
        while !self.has_ended() {
            assert!(self.started.elapsed() < LIMIT, "The run does not end:\n{}", self.output(&self.err));
            std::thread::sleep(Duration::from_millis(5));
        }
        let elapsed = self.started.elapsed();
        let status = match self.child.take().map(|mut child| child.wait()) {
            Some(Ok(status)) => status,
            other => panic!("The process cannot be waited for: {other:?}"),
        };
        Run {
            status,
            stdout: self.output(&self.out),
            stderr: self.output(&self.err),
            peak_mib: self.memory.mib(),
            elapsed,
        }
    }

    fn output(&self, file: &Path) -> String {
        String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // `kill -9`; it may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
