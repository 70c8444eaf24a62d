//! Reads NDJSON files: one JSON object a line, one file a stream. A whole connector, to start your own from.

#![forbid(unsafe_code)]

mod lines;
mod values;

use std::{fs, path::PathBuf};

use hub_plugin_api::{
    export_connectors,
    prelude::*,
    simple::{SingleSplit, bounded_batch_reader},
};
use lines::{At, Lines};

export_connectors!("ndjson" => Ndjson);

/// What the library brings: one value, shared by all connections.
pub struct Ndjson;

#[async_trait]
impl Connector for Ndjson {
    fn spec(&self) -> ConnectorSpec {
        let columns = "Each as `name:type`; the types are boolean, integer, number, text and json. Without it the \
                       first 1,000 lines decide, and a later line that does not fit them is an error";
        ConnectorSpec::new("ndjson", "NDJSON files")
            .kind(ConnectorKind::File)
            .parameter(Parameter::text("directory", "Directory").required())
            .strategy(
                Strategy::source("query", "By Query")
                    .option(Parameter::text("file", "File").required())
                    .option(Parameter::list("columns", "Columns").describe(columns).advanced()),
            )
    }

    async fn connect(&self, config: &Config, context: &Context) -> Result<Box<dyn Connection>> {
        let directory = PathBuf::from(config.required_text("directory")?);
        Ok(Box::new(Folder { directory, reserved: context.host().reserved_files() }))
    }
}

/// A connection: here no more than a folder's path.
#[derive(Clone)]
struct Folder {
    directory: PathBuf,
    reserved: Vec<PathBuf>,
}

#[async_trait]
impl Connection for Folder {
    async fn identity(&self) -> Result<String> {
        let path =
            fs::canonicalize(&self.directory).map_err(|error| lines::no_access(&self.directory, &error))?;
        Ok(format!("directory {}", path.display()))
    }

    async fn check(&self, request: &CheckRequest, reporter: &CheckReporter) -> Result<()> {
        if let Err(error) = fs::read_dir(&self.directory) {
            let error = lines::no_access(&self.directory, &error).with_field("directory");
            reporter.report(CheckStep::failed("access", &error));
            reporter.report(CheckStep::skipped("file", "There is no directory to look into"));
            return Ok(());
        }
        reporter.report(CheckStep::passed("access", "The directory can be listed"));
        reporter.report(match self.open(&request.options, At::default(), Budgets::default()) {
            Ok(lines) => CheckStep::passed("file", format!("The file has {} columns", lines.columns().len())),
            Err(error) => CheckStep::failed("file", &error),
        });
        Ok(())
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Box<dyn Plan>> {
        let (folder, options) = (self.clone(), request.options.clone());
        let stream = StreamId::named(options.required_text("file")?);
        Ok(Box::new(SingleSplit::new(request.run, stream.clone(), move |open| {
            let at =
                open.position.as_ref().map_or(Ok(At::default()), |position| position.read(lines::VERSION))?;
            let lines = folder.open(&options, at, open.budgets)?;
            Ok(bounded_batch_reader(stream.clone(), lines, open.budgets))
        })))
    }
}

impl Folder {
    fn open(&self, options: &Config, at: At, budgets: Budgets) -> Result<Lines> {
        let file = options.required_text("file")?;
        if PathBuf::from(file).file_name().is_none_or(|name| name != file) {
            return Err(Error::config(
                "file",
                format!("`{file}` is not the name of a file in the directory"),
            ));
        }
        let path = self.directory.join(file);
        if fs::canonicalize(&path).is_ok_and(|path| self.reserved.contains(&path)) {
            return Err(Error::config("file", format!("`{file}` is the hub's own")));
        }
        let lines = Lines::open(&path, &options.list("columns"), at, budgets);
        lines.map_err(|error| if error.field.is_none() { error.with_field("file") } else { error })
    }
}
