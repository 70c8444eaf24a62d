//! Between the traits and the contract's calls.

use std::{cell::RefCell, rc::Rc};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    Budgets, Connector, Error, Result, bindings::connector_hub::plugin::reporter, events::SourceReader,
};

/// A connection of an exported connector.
pub struct ConnectionOf<C>(Rc<C>);

/// A plan of one split.
pub struct PlanOf<C> {
    connection: Rc<C>,
    options: Map<String, Value>,
    stream: Value,
    split: String,
}

/// An error as it crosses the boundary.
pub fn crossing<T>(result: Result<T>) -> Result<T, String> {
    result.map_err(|error| error.to_json())
}

/// The manifest.
pub fn spec_of<C: Connector>() -> String {
    let (plugin, version, connector) = C::spec();
    let manifest =
        json!({ "plugin": plugin, "version": version, "requires_api": "1.0.0", "connectors": [connector] });
    manifest.to_string()
}

/// An error for a call that a connector that only reads does not answer.
pub fn not_supported<T>(what: &str) -> Result<T, String> {
    crossing(Err(Error::new("unsupported", format!("{what} is not supported"))))
}

#[derive(Deserialize)]
struct ConnectRequest {
    #[serde(default)]
    config: Map<String, Value>,
}

#[derive(Deserialize)]
struct OptionsRequest {
    #[serde(default)]
    options: Map<String, Value>,
    #[serde(default)]
    run: u64,
}

#[derive(Deserialize)]
struct OpenRequest {
    split: SplitId,
    #[serde(default)]
    position: Option<Value>,
    budgets: Budgets,
}

#[derive(Deserialize)]
struct SplitId {
    id: String,
}

impl<C: Connector> ConnectionOf<C> {
    /// `connect`.
    ///
    /// # Errors
    /// The connector's own.
    pub fn connect(request: &str) -> Result<Self> {
        let request: ConnectRequest = serde_json::from_str(request)?;
        Ok(Self(Rc::new(C::connect(&request.config)?)))
    }

    /// `connection.identity`.
    ///
    /// # Errors
    /// The connector's own.
    pub fn identity(&self) -> Result<String> {
        Ok(json!({ "identity": self.0.identity()? }).to_string())
    }

    /// `connection.check`.
    ///
    /// # Errors
    /// The connector's own.
    pub fn check(&self, request: &str) -> Result<String> {
        let request: OptionsRequest = serde_json::from_str(request)?;
        let mut failed = None;
        self.0.check(&request.options, &mut |step| match serde_json::to_string(&step) {
            Ok(step) => reporter::step(&step),
            Err(error) => failed = Some(error),
        })?;
        failed.map_or_else(|| Ok("{}".into()), |error| Err(error.into()))
    }

    /// `connection.plan`: the answer and the plan.
    ///
    /// # Errors
    /// The connector's own.
    pub fn plan(&self, request: &str) -> Result<(String, PlanOf<C>)> {
        let OptionsRequest { options, run } = serde_json::from_str(request)?;
        let stream = json!({ "name": self.0.stream(&options)? });
        let split = format!("all-{run}");
        let answer = json!({ "plan": {
            "splits": [{ "id": split, "streams": [stream], "bounded": true, "portable": true }],
            "snapshot": "new",
            "guarantee": "at-least-once",
            "reason": "Every run reads everything again",
            "repeats_rows": true,
        }});
        Ok((answer.to_string(), PlanOf { connection: Rc::clone(&self.0), options, stream, split }))
    }
}

impl<C: Connector> PlanOf<C> {
    /// `plan.open`.
    ///
    /// # Errors
    /// The connector's own.
    pub fn open(&self, request: &str) -> Result<RefCell<SourceReader>> {
        let OpenRequest { split, position, budgets } = serde_json::from_str(request)?;
        if split.id != self.split {
            return Err(Error::new("internal", format!("Split `{}` is not of this plan", split.id)));
        }
        let batches = self.connection.open(&self.options, position, budgets)?;
        Ok(RefCell::new(SourceReader::new(self.stream.clone(), batches, budgets)))
    }
}

/// Makes a type that is a [`Connector`](crate::Connector) the component's own. Once a component.
#[macro_export]
macro_rules! export_connector {
    ($connector:ty) => {
        const _: () = {
            use $crate::{bindings, internal};

            struct Exported;

            impl bindings::exports::connector_hub::plugin::plugin::Guest for Exported {
                type Connection = internal::ConnectionOf<$connector>;
                type Plan = internal::PlanOf<$connector>;
                type Reader = internal::ReaderOf;
                type Writer = internal::NoWriter;

                fn spec() -> Result<String, String> {
                    Ok(internal::spec_of::<$connector>())
                }

                fn connect(
                    request: String,
                ) -> Result<bindings::exports::connector_hub::plugin::plugin::Connection, String> {
                    let made = internal::ConnectionOf::<$connector>::connect(&request);
                    internal::crossing(made)
                        .map(bindings::exports::connector_hub::plugin::plugin::Connection::new)
                }

                fn tick() {
                    internal::tick();
                }
            }

    bindings::export!(Exported with_types_in bindings);
        };
    };
}
