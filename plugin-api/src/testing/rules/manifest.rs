use crate::{
    ConnectorSpec, Parameter, ParameterKind,
    testing::{
        report::{Kept, Stop, require},
        session::Run,
    },
};

/// What the connector declares does not contradict itself, and is the same every time.
pub(in crate::testing) fn manifest_valid(run: &Run) -> Kept {
    let spec = &run.spec;
    spec.check()?;
    let same = run.connector.spec() == *spec && holds(spec, &run.subject.connector().spec());
    require(same, || "`spec` does not answer the same every time".into())?;
    let again: ConnectorSpec =
        serde_json::to_value(spec).and_then(serde_json::from_value).map_err(crate::Error::from)?;
    require(again == *spec, || "The manifest does not survive its own JSON".into())?;
    check_parameters(spec, "the connection", &spec.parameters)?;
    for strategy in &spec.strategies {
        require(!strategy.label.is_empty(), || format!("Strategy `{}` has no label", strategy.id))?;
        check_parameters(spec, &format!("strategy `{}`", strategy.id), &strategy.options)?;
    }
    Ok(format!("{} parameters, {} strategies", spec.parameters.len(), spec.strategies.len()))
}

/// Whether all that the author declares is there. A hub that has loaded the connector adds what is its own.
fn holds(spec: &ConnectorSpec, declared: &ConnectorSpec) -> bool {
    (&spec.id, &spec.label) == (&declared.id, &declared.label)
        && declared.parameters.iter().all(|parameter| spec.parameters.contains(parameter))
        && declared.strategies.iter().all(|strategy| spec.strategies.contains(strategy))
}

fn check_parameters(spec: &ConnectorSpec, whose: &str, parameters: &[Parameter]) -> Result<(), Stop> {
    for parameter in parameters {
        let wrong = |what: &str| format!("Parameter `{}` of {whose} {what}", parameter.id);
        require(!parameter.label.is_empty(), || wrong("has no label"))?;
        let secret = parameter.kind == ParameterKind::Password;
        require(!secret || parameter.default.is_none(), || wrong("is a password with a default"))?;
        require(parameter.min.zip(parameter.max).is_none_or(|(min, max)| min <= max), || {
            wrong("has bounds that nothing lies between")
        })?;
        for id in &parameter.applies_to {
            require(spec.strategies.iter().any(|strategy| strategy.id == *id), || {
                wrong(&format!("applies to strategy `{id}`, which is not there"))
            })?;
        }
    }
    Ok(())
}
