use std::sync::{Arc, PoisonError};

use crate::{
    CheckReporter, CheckRequest, CheckStatus, CheckStep, Config, Connection, ErrorKind, Role,
    testing::{
        Broken, TestContext, block_on,
        report::{Kept, Stop, failed, require},
        session::{Run, plain_table},
    },
};

/// The connection test passes with the good config, for reading and for writing; with each broken one the right step
/// fails and names the field.
pub(in crate::testing) fn check_truthful(run: &Run) -> Kept {
    let requests = requests(run)?;
    let session = run.connect()?;
    let mut names = Vec::new();
    for request in &requests {
        let steps = steps(&*session.connection, request)?;
        require(!steps.is_empty(), || format!("The test for strategy `{}` has no steps", request.strategy))?;
        if let Some(step) = steps.iter().find(|step| step.status == CheckStatus::Failed) {
            return failed(format!("Step `{}` fails with the good config: {}", step.step, step.message));
        }
        names = steps.into_iter().map(|step| step.step).collect();
    }
    let broken = run.subject.broken();
    require(!broken.is_empty(), || "`Subject::broken` names no config that does not work".into())?;
    for broken in &broken {
        check_broken(run, broken, &requests[0]).map_err(|stop| stop.during(&broken.what))?;
    }
    Ok(format!("steps {}; {} broken configs found out", names.join(", "), broken.len()))
}

/// The test's request for each role that the connector has.
pub(super) fn requests(run: &Run) -> Result<Vec<CheckRequest>, Stop> {
    let table = plain_table("hub_check", 0..3, 5);
    let mut requests = Vec::new();
    let mut add = |strategy: String, options: &Config| {
        requests.push(CheckRequest { options: run.options(&strategy, options)?, strategy });
        Ok::<_, Stop>(())
    };
    if run.needs(Role::Source).is_ok() {
        let source = run.source(&table)?;
        add(source.strategy, &source.options)?;
    }
    if run.needs(Role::Destination).is_ok() {
        let destination = run.destination(&table)?;
        add(destination.strategy, &destination.options)?;
    }
    require(!requests.is_empty(), || "The manifest has no strategy".into())?;
    Ok(requests)
}

pub(super) fn steps(connection: &dyn Connection, request: &CheckRequest) -> crate::Result<Vec<CheckStep>> {
    let (reporter, steps) = CheckReporter::collecting();
    block_on(connection.check(request, &reporter))?;
    let steps = steps.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(steps)
}

fn check_broken(run: &Run, broken: &Broken, request: &CheckRequest) -> Result<(), Stop> {
    run.spec.validate(&secrets_marked(broken), None).map_err(|error| {
        Stop::Failed(format!("The manifest alone refuses this config, so it shows nothing: {error}"))
    })?;
    let host = Arc::new(context_of(broken));
    let connection = match run.try_connect(&broken.config, &broken.secrets, &host) {
        Ok(connection) => connection,
        // A config that does not make sense may be refused before any step.
        Err(error) if error.kind == ErrorKind::InvalidConfig => {
            let field = error.field.as_deref();
            return require(field == Some(&*broken.field), || format!("The error names {field:?}: {error}"));
        }
        Err(error) => return failed(format!("`connect` fails, and no step says why: {error}")),
    };
    let steps = steps(&*connection, request)?;
    let shown: Vec<_> = steps.iter().map(|step| format!("{} {:?}", step.step, step.status)).collect();
    let Some(place) = steps.iter().position(|step| step.status == CheckStatus::Failed) else {
        return failed(format!("No step fails: {}", shown.join(", ")));
    };
    let step = &steps[place];
    require(step.step == broken.step, || {
        format!("Step `{}` fails, not `{}`: {}", step.step, broken.step, step.message)
    })?;
    require(step.field.as_deref() == Some(&*broken.field), || {
        format!("Step `{}` names the field {:?}, not `{}`", step.step, step.field, broken.field)
    })?;
    require(!step.message.is_empty(), || format!("Step `{}` says nothing", step.step))?;
    require(steps[place + 1..].iter().all(|later| later.status == CheckStatus::Skipped), || {
        format!("Steps behind the failed one must be skipped: {}", shown.join(", "))
    })
}

fn secrets_marked(broken: &Broken) -> Config {
    broken.secrets.iter().fold(broken.config.clone(), |config, (id, _)| config.with(id, true))
}

fn context_of(broken: &Broken) -> TestContext {
    broken.secrets.iter().fold(TestContext::new(), |host, (id, secret)| host.with_secret(id, secret))
}
