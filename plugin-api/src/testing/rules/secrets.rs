use std::sync::Arc;

use crate::{
    Budgets, Config, Error, OpenRequest, ParameterKind, Role, Statement, WriterRequest,
    testing::{
        TestContext, block_on,
        report::{Kept, Stop, failed, require},
        rules::check::{requests, steps},
        session::{Run, plain_table},
        subject::{Broken, Source},
    },
};

/// A shorter secret may stand anywhere by chance.
const SHORTEST: usize = 6;

/// Nothing that the connector says holds a secret: no log, error, step, plan, position or identity, whether the secret
/// is right or wrong.
pub(in crate::testing) fn secrets_never_in_output(run: &Run) -> Kept {
    let passwords = run.spec.parameters.iter().filter(|one| one.kind == ParameterKind::Password);
    let ids: Vec<_> = passwords.map(|one| one.id.clone()).collect();
    if ids.is_empty() {
        return Err(Stop::NotApplicable("The manifest has no password".into()));
    }
    let right = run.subject.secrets();
    require(!right.is_empty(), || {
        "`Subject::secrets` gives no password, though the manifest has one".into()
    })?;
    for (id, secret) in &right {
        require(secret.len() >= SHORTEST, || {
            format!("The password `{id}` is too short to be looked for: give one of {SHORTEST} bytes or more")
        })?;
    }
    let config = run.subject.config();
    let wrong: Vec<_> = ids.iter().map(|id| (id.clone(), format!("canary '{id}' \"x\" %41 ü"))).collect();
    let mut attempts = vec![(config.clone(), right), (config, wrong)];
    attempts.extend(run.subject.broken().into_iter().map(|Broken { config, secrets, .. }| (config, secrets)));
    let mut said = 0;
    for (config, secrets) in attempts {
        let host = secrets.iter().fold(TestContext::new(), |host, (id, secret)| host.with_secret(id, secret));
        let host = Arc::new(host);
        let mut output = Output::default();
        use_everything(run, &config, &secrets, &host, &mut output)?;
        host.logs().iter().for_each(|record| output.add("a log", record));
        host.metrics().iter().for_each(|metric| output.add("a metric", metric));
        output.add("a state", &host.state());
        for (id, secret) in secrets.iter().filter(|(_, secret)| secret.len() >= SHORTEST) {
            let escaped = serde_json::to_string(secret).map_err(Error::from)?;
            for (what, text) in &output.0 {
                if text.contains(secret.as_str()) || text.contains(escaped.trim_matches('"')) {
                    return failed(format!(
                        "The secret `{id}` is in {what}: {}",
                        text.replace(secret, "***")
                    ));
                }
            }
        }
        said += output.0.len();
    }
    Ok(format!("{said} texts looked through"))
}

/// Texts that came from the connector, each with what it is.
#[derive(Default)]
struct Output(Vec<(&'static str, String)>);

impl Output {
    fn add(&mut self, what: &'static str, value: &impl serde::Serialize) {
        self.0.push((what, serde_json::to_string(value).unwrap_or_default()));
    }

    /// Keeps a call's error, or goes on with its result.
    fn kept<T>(&mut self, what: &'static str, result: crate::Result<T>) -> Option<T> {
        result
            .inspect_err(|error| {
                self.0.push((what, error.to_string()));
                self.add(what, error);
            })
            .ok()
    }
}

/// Calls whatever answers text; a failure is as good as a success here.
fn use_everything(
    run: &Run,
    config: &Config,
    secrets: &[(String, String)],
    host: &Arc<TestContext>,
    output: &mut Output,
) -> Result<(), Stop> {
    let requests = requests(run)?;
    let connected = run.try_connect(config, secrets, host);
    let Some(connection) = output.kept("an error of `connect`", connected) else { return Ok(()) };
    if let Some(identity) = output.kept("an error of `identity`", block_on(connection.identity())) {
        output.add("the identity", &identity);
    }
    for request in &requests {
        let steps = output.kept("an error of `check`", steps(&*connection, request));
        steps.into_iter().flatten().for_each(|step| output.add("a step of the test", &step));
    }
    let no_sense = Statement::Text("no sense at all '".into());
    if let Some(mut reader) = output.kept("an error of `query`", block_on(connection.query(&no_sense, None)))
    {
        output.kept("an error of `query`", block_on(reader.next(std::time::Duration::from_millis(100))));
    }
    let table = plain_table("hub_secrets", 0..5, 5);
    if run.needs(Role::Source).is_ok() {
        let source: Source = run.source(&table)?;
        let request = run.plan_request(&source, &run.pipeline(), None)?;
        if let Some(plan) = output.kept("an error of `plan`", block_on(connection.plan(&request))) {
            let description = plan.description();
            output.add("the plan", &description);
            for split in description.splits {
                let open = OpenRequest { split, position: None, budgets: Budgets::default(), peek: false };
                let Some(mut reader) = output.kept("an error of `open`", block_on(plan.open(&open))) else {
                    continue;
                };
                for _ in 0..5 {
                    let next = block_on(reader.next(std::time::Duration::from_millis(100)));
                    match output.kept("an error of `next`", next) {
                        Some(crate::Event::Boundary(boundary)) => output.add("a boundary", &boundary),
                        Some(crate::Event::End) | None => break,
                        Some(_) => {}
                    }
                }
            }
        }
        output.kept("an error of `release`", block_on(connection.release(&request.pipeline)));
    }
    if run.needs(Role::Destination).is_ok() {
        let destination = run.destination(&table)?;
        let request = WriterRequest {
            pipeline: run.pipeline(),
            lane: 0,
            generation: 1,
            run: 1,
            options: run.options(&destination.strategy, &destination.options)?,
            strategy: destination.strategy,
        };
        if let Some(writer) = output.kept("an error of `writer`", block_on(connection.writer(&request))) {
            output.add("the writer's start", &writer.start());
        }
    }
    Ok(())
}
