//! The JSON Schema of a pipeline file, for editors that complete and check while one types.

use hub_plugin_api::{ConnectorSpec, Group, Parameter, ParameterKind, Role, Strategy, Value, json};
use serde_json::Map;

use super::{
    CommitSpec, FILE_VERSION, RetrySpec,
    file::{
        COMMIT_FIELDS, ENDPOINT_FIELDS, FIELDS, MAX_PARALLEL, ON_LOST_SNAPSHOT, ON_REJECTED, RETRY_FIELDS,
    },
};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
const DURATION: &str = "^[0-9]+ *(ms|s|m|h|d)$";
const SIZE: &str = "^[0-9]+ *(B|kB|MB|GB|KiB|MiB|GiB)$";

/// The schema of a pipeline file, with the parameters of these connectors.
pub fn pipeline_schema(connectors: &[ConnectorSpec]) -> Value {
    let described = |field: &str| match field {
        "version" => json!({"const": FILE_VERSION, "description": "The version of the file's format"}),
        "name" => json!({
            "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
            "description": "Names the pipeline in the store, at the destination and on the source's server",
        }),
        "source" => side(Role::Source, connectors),
        "destination" => side(Role::Destination, connectors),
        "commit" => commit(),
        "on_rejected" => json!({
            "enum": ON_REJECTED.map(|(word, _)| word), "default": "stop",
            "description": "What happens to rows that a side refuses",
        }),
        "on_lost_snapshot" => json!({
            "enum": ON_LOST_SNAPSHOT.map(|(word, _)| word), "default": "stop",
            "description": "What happens when an interrupted plan's snapshot is gone",
        }),
        "allow_duplicates" => json!({
            "type": "boolean", "default": false,
            "description": "Accepts that a repeat into `append` may double rows",
        }),
        "lanes" => parallel("How many writers share the splits of a bounded source"),
        "parallel" => parallel("How many splits are read at the same time"),
        _ => retry(),
    };
    let properties: Map<_, _> = FIELDS.iter().map(|field| ((*field).to_owned(), described(field))).collect();
    json!({
        "$schema": DIALECT,
        "title": "Connector Hub pipeline",
        "type": "object",
        "additionalProperties": false,
        "required": ["version", "name", "source", "destination"],
        "properties": properties,
    })
}

/// The schema of one connector's `config`, and of each strategy's `options`.
pub fn connector_schema(connector: &ConnectorSpec) -> Value {
    let strategies: Map<_, _> = connector
        .strategies
        .iter()
        .map(|strategy| {
            let mut schema = parameters(&strategy.options, None);
            schema["title"] = strategy.label.as_str().into();
            schema["description"] = strategy.description.as_str().into();
            (strategy.id.clone(), schema)
        })
        .collect();
    json!({
        "$schema": DIALECT,
        "title": connector.label,
        "type": "object",
        "additionalProperties": false,
        "required": ["config"],
        "properties": {
            "config": parameters(&connector.parameters, None),
            "strategy": {"enum": connector.strategies.iter().map(|strategy| &strategy.id).collect::<Vec<_>>()},
            "options": {"type": "object"},
        },
        "$defs": strategies,
        "allOf": connector.strategies.iter().map(|strategy| json!({
            "if": {"required": ["strategy"], "properties": {"strategy": {"const": strategy.id}}},
            "then": {"properties": {"options": {"$ref": format!("#/$defs/{}", strategy.id)}}},
        })).collect::<Vec<_>>(),
    })
}

fn commit() -> Value {
    let default = CommitSpec::default();
    let [every, bytes, rows] = COMMIT_FIELDS;
    json!({
        "type": "object",
        "additionalProperties": false,
        "description": "When rows become visible at the destination: whichever comes first",
        "properties": {
            every: {"type": "string", "pattern": DURATION, "default": duration(default.every_ms)},
            bytes: {"type": "string", "pattern": SIZE, "default": format!("{}MiB", default.bytes >> 20)},
            rows: {"type": "integer", "minimum": 1},
        },
    })
}

fn retry() -> Value {
    let default = RetrySpec::default();
    let [attempts, first_delay, max_delay] = RETRY_FIELDS;
    json!({
        "type": "object",
        "additionalProperties": false,
        "description": "How often and how fast a retryable failure is tried again",
        "properties": {
            attempts: {"type": "integer", "minimum": 1, "default": default.attempts},
            first_delay: {"type": "string", "pattern": DURATION, "default": duration(default.first_delay_ms)},
            max_delay: {"type": "string", "pattern": DURATION, "default": duration(default.max_delay_ms)},
        },
    })
}

fn duration(milliseconds: u64) -> String {
    if milliseconds.is_multiple_of(1000) {
        format!("{}s", milliseconds / 1000)
    } else {
        format!("{milliseconds}ms")
    }
}

fn parallel(description: &str) -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": MAX_PARALLEL, "default": 1, "description": description})
}

/// A side: what every connector has, and under which condition what each connector declares.
fn side(role: Role, connectors: &[ConnectorSpec]) -> Value {
    let fitting: Vec<_> =
        connectors.iter().filter(|connector| connector.default_strategy(role).is_ok()).collect();
    let ids: Vec<_> = fitting.iter().map(|connector| connector.id.as_str()).collect();
    let [connector, config, strategy, options] = ENDPOINT_FIELDS;
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": [connector],
        "properties": {
            connector: {
                "type": "string",
                "description": "A connector's id, perhaps with a version: `postgres`, `postgres@1`, `postgres@^1.2`",
                "examples": ids,
            },
            config: {"type": "object", "description": "The connection's parameters"},
            strategy: {"type": "string", "description": "How rows are read or written"},
            options: {"type": "object", "description": "The strategy's options"},
        },
        "allOf": fitting.iter().map(|one| {
            json!({"if": is_connector(&one.id), "then": side_of(one, role)})
        }).collect::<Vec<_>>(),
    })
}

fn is_connector(id: &str) -> Value {
    json!({"required": ["connector"], "properties": {"connector": {"pattern": format!("^{id}(@.*)?$")}}})
}

fn side_of(connector: &ConnectorSpec, role: Role) -> Value {
    let strategies: Vec<&Strategy> =
        connector.strategies.iter().filter(|strategy| strategy.role == role).collect();
    let default = strategies.first().map(|strategy| strategy.id.as_str());
    let condition = |strategy: &Strategy| {
        let is = json!({"properties": {"strategy": {"const": strategy.id}}});
        // Without a strategy the first one counts, and the condition holds for an absent field.
        if Some(strategy.id.as_str()) == default {
            is
        } else {
            json!({"required": ["strategy"], "properties": is["properties"]})
        }
    };
    json!({
        "properties": {
            "config": parameters(&connector.parameters, None),
            "strategy": {
                "oneOf": strategies.iter().map(|one| json!({"const": one.id, "description": one.label})).collect::<Vec<_>>(),
                "default": default,
            },
        },
        "allOf": strategies.iter().map(|strategy| json!({
            "if": condition(strategy),
            "then": {"properties": {
                "config": parameters(&connector.parameters, Some(&strategy.id)),
                "options": parameters(&strategy.options, None),
            }},
        })).collect::<Vec<_>>(),
    })
}

fn parameters(parameters: &[Parameter], strategy: Option<&str>) -> Value {
    let applies = |parameter: &Parameter| {
        parameter.applies_to.is_empty()
            || strategy.is_some_and(|id| parameter.applies_to.iter().any(|one| one == id))
    };
    let required: Vec<_> = parameters
        .iter()
        .filter(|parameter| parameter.required && parameter.default.is_none() && applies(parameter))
        .map(|parameter| parameter.id.as_str())
        .collect();
    let properties: Map<_, _> =
        parameters.iter().map(|parameter| (parameter.id.clone(), parameter_schema(parameter))).collect();
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}

fn parameter_schema(parameter: &Parameter) -> Value {
    let mut schema = match &parameter.kind {
        ParameterKind::Number => json!({"type": "integer"}),
        ParameterKind::Boolean => json!({"type": "boolean"}),
        ParameterKind::Dropdown(options) => {
            let options = options.iter().map(|(id, label)| json!({"const": id, "title": label}));
            json!({"oneOf": options.collect::<Vec<_>>()})
        }
        ParameterKind::List => json!({"type": "array", "items": {"type": "string"}}),
        ParameterKind::Structured => json!({"type": ["array", "object"]}),
        _ => json!({"type": "string"}),
    };
    schema["title"] = parameter.label.as_str().into();
    if !parameter.description.is_empty() {
        schema["description"] = parameter.description.as_str().into();
    }
    if let Some(default) = &parameter.default {
        schema["default"] = default.clone();
    }
    for (name, bound) in [("minimum", parameter.min), ("maximum", parameter.max)] {
        if let Some(bound) = bound {
            schema[name] = bound.into();
        }
    }
    if parameter.kind == ParameterKind::Password {
        schema["writeOnly"] = true.into();
        schema["examples"] = json!(["${env:PASSWORD}", "${file:password.txt}"]);
    }
    if parameter.group == Group::Advanced {
        schema["$comment"] = "advanced".into();
    }
    schema
}
