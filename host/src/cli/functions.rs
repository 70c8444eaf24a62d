use std::{path::PathBuf, time::Instant};

use clap::{Args, Subcommand};
use connector_hub::{
    api::{Context, Error, HostContext, Level, LogRecord, Metric, Result, Secret, Spill, json},
    functions::{CONTRACT_VERSION, Function, Grant, Limits, Module, World, grant_of},
};

use super::{
    exit::{Exit, Outcome},
    output::{Color, Output},
    setup::Setup,
    text::plain,
};

/// What is done with functions.
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  connector-hub functions check pages.wasm
  connector-hub preview sqlite --set file=orders.db --strategy custom-function --option module=pages.wasm")]
pub enum Command {
    /// Show what a module is and asks for, and try it out without a database
    Check(Check),
}

#[derive(Args)]
pub struct Check {
    /// A WebAssembly module: a component, a core module with its type in it, or a WASI program that prints JSON lines
    #[arg(value_name = "MODULE")]
    module: PathBuf,
}

pub fn run(command: &Command, setup: &Setup, output: &Output) -> Outcome {
    match command {
        Command::Check(arguments) => check(arguments, setup, output),
    }
}

fn check(arguments: &Check, setup: &Setup, output: &Output) -> Outcome {
    let module = Module::read(&arguments.module)?;
    let limits = Limits::default();
    if !output.json {
        show(output, &module, &limits);
    }
    let tried =
        if module.world == World::Connector { Ok(None) } else { try_out(setup, &module, limits).map(Some) };
    if output.json {
        let imports: Vec<_> = module.imports.iter().map(|import| import_as_json(import)).collect();
        let limits: Vec<_> = limits
            .described()
            .into_iter()
            .map(|(_, value, id)| json!({"option": id, "default": value}))
            .collect();
        let dry_run = match &tried {
            Ok(Some(tried)) => json!({"passed": true, "position_version": tried.position_version,
                "compile_ms": tried.compile_ms, "start_ms": tried.start_ms}),
            Ok(None) => json!({"passed": true}),
            Err(error) => json!({"passed": false, "error": error}),
        };
        output.json_pretty(&json!({"module": arguments.module, "sha256": module.sha256,
            "world": module.world.as_str(), "contract": CONTRACT_VERSION.to_string(), "imports": imports,
            "exports": module.exports, "limits": limits, "dry_run": dry_run}));
        return tried.map(|_| Exit::Done).map_err(Into::into);
    }
    output.line("");
    match tried? {
        Some(tried) => {
            let positions = match tried.position_version {
                Some(version) => format!("positions of version {version}"),
                None => "no positions: all rows become visible together, at the end".into(),
            };
            let times =
                format!("compiled in {:.1} ms, started in {:.1} ms", tried.compile_ms, tried.start_ms);
            output.line(format!("{} {times}; {positions}", output.paint(Color::Green, "✓")));
        }
        None => output.hint("This is a plugin, not a function: put it into a plugin folder"),
    }
    Ok(Exit::Done)
}

struct Tried {
    position_version: Option<u32>,
    compile_ms: f64,
    start_ms: f64,
}

/// Compiles it and makes an instance, without opening it: nothing is queried.
fn try_out(setup: &Setup, module: &Module, limits: Limits) -> Result<Tried> {
    let began = Instant::now();
    let function = Function::new(setup.registry()?.sandbox(), module)?;
    let compile_ms = began.elapsed().as_secs_f64() * 1e3;
    let began = Instant::now();
    let position_version = function.try_out(limits, &Context::new(std::sync::Arc::new(LogOnly)))?;
    Ok(Tried { position_version, compile_ms, start_ms: began.elapsed().as_secs_f64() * 1e3 })
}

fn import_as_json(import: &str) -> connector_hub::api::Value {
    let (granted, what) = described(import);
    json!({"import": import, "granted": granted, "what": what})
}

fn described(import: &str) -> (&'static str, &'static str) {
    match grant_of(import) {
        Some((Grant::Granted, what)) => ("yes", what),
        Some((Grant::Empty, what)) => ("empty", what),
        Some((Grant::Denied, what)) => ("no", what),
        None => ("unknown", "no function gets that"),
    }
}

fn show(output: &Output, module: &Module, limits: &Limits) {
    output.line(format!(
        "{}  world {}, contract {CONTRACT_VERSION}",
        output.paint(Color::Bold, &plain(&module.name)),
        module.world.as_str()
    ));
    output.line(format!("sha256 {}", module.sha256));
    output.line("");
    output.line(output.paint(Color::Bold, "Imports"));
    let width = module.imports.iter().map(String::len).max().unwrap_or(0);
    for import in module.imports.iter().filter(|_| module.world != World::Connector) {
        let (granted, what) = described(import);
        let color = match granted {
            "yes" => Color::Green,
            "empty" => Color::Yellow,
            _ => Color::Red,
        };
        output.line(format!(
            "  {:<width$}  {} {what}",
            plain(import),
            output.paint(color, &format!("{granted:<7}"))
        ));
    }
    for import in module.imports.iter().filter(|_| module.world == World::Connector) {
        output.line(format!("  {}", plain(import)));
    }
    output.line("");
    output.line(output.paint(Color::Bold, "Limits (options of the strategy `custom-function`)"));
    for (label, value, id) in limits.described() {
        output.line(format!("  {id:<14} {value:<12} {label}"));
    }
}

/// The host's side of a function that is only tried out: what it logs goes to the log.
struct LogOnly;

impl HostContext for LogOnly {
    fn log(&self, record: LogRecord) {
        tracing::warn!(target: "function", "{}", record.message);
    }

    fn log_level(&self) -> Level {
        Level::Info
    }

    fn metric(&self, _: Metric) {}

    fn secret(&self, _: &str) -> Result<Option<Secret>> {
        Ok(None)
    }

    fn state_get(&self, _: &str) -> Result<Option<String>> {
        Err(Error::unsupported("Stored state of a function that is only tried out"))
    }

    fn state_put(&self, _: &str, _: Option<&str>) -> Result<()> {
        Err(Error::unsupported("Stored state of a function that is only tried out"))
    }

    fn state_list(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn spill(&self) -> Result<Spill> {
        Err(Error::unsupported("A directory of a function that is only tried out"))
    }

    fn reserved_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}
