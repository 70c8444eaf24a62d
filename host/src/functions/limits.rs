//! What a guest may use: one builder for every limit, with its unit and default.

use std::time::Duration;

use hub_plugin_api::{Config, Parameter, Result};

const MIB: usize = 1 << 20;
const KIB: usize = 1 << 10;

/// What a guest may use. Each can be set for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the guest's memories and tables together. Default 256 MiB.
    pub memory_bytes: usize,
    /// Time that the guest may compute in one call; what it waits for inside the hub does not count. Default 30 s.
    pub call_time: Duration,
    /// Time that one statement may take until its last row. Default 300 s.
    pub query_time: Duration,
    /// Bytes of one batch that the guest hands over. Default 64 MiB.
    pub batch_bytes: usize,
    /// Bytes that the guest may log in one run; the rest is dropped, and said so once. Default 1 MiB.
    pub log_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 * MIB,
            call_time: Duration::from_secs(30),
            query_time: Duration::from_secs(300),
            batch_bytes: 64 * MIB,
            log_bytes: MIB,
        }
    }
}

/// One limit as a parameter: id without prefix, label, description, unit, default in its unit.
struct Declared {
    id: &'static str,
    label: &'static str,
    description: &'static str,
    of_connectors: bool,
    default: fn(&Limits) -> u64,
    set: fn(Limits, u64) -> Limits,
}

const DECLARED: [Declared; 5] = [
    Declared {
        id: "memory_mib",
        label: "Memory",
        description: "MiB of memory that the module may use",
        of_connectors: true,
        default: |limits| (limits.memory_bytes / MIB) as u64,
        set: |limits, value| limits.memory_bytes(size(value, MIB)),
    },
    Declared {
        id: "call_seconds",
        label: "Time a Call",
        description: "Seconds that the module may compute in one call; waiting for the database does not count",
        of_connectors: true,
        default: |limits| limits.call_time.as_secs(),
        set: |limits, value| limits.call_time(Duration::from_secs(value)),
    },
    Declared {
        id: "query_seconds",
        label: "Time a Query",
        description: "Seconds that one statement may take until its last row",
        of_connectors: false,
        default: |limits| limits.query_time.as_secs(),
        set: |limits, value| limits.query_time(Duration::from_secs(value)),
    },
    Declared {
        id: "batch_mib",
        label: "Batch Size",
        description: "MiB of one batch that the module hands over",
        of_connectors: true,
        default: |limits| (limits.batch_bytes / MIB) as u64,
        set: |limits, value| limits.batch_bytes(size(value, MIB)),
    },
    Declared {
        id: "log_kib",
        label: "Log Size",
        description: "KiB that the module may log in one run; the rest is dropped",
        of_connectors: true,
        default: |limits| (limits.log_bytes / KIB) as u64,
        set: |limits, value| limits.log_bytes(size(value, KIB)),
    },
];

fn size(value: u64, unit: usize) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX).saturating_mul(unit)
}

impl Limits {
    /// The default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same limits with other bytes of memory.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// The same limits with another time a call.
    #[must_use]
    pub fn call_time(mut self, time: Duration) -> Self {
        self.call_time = time;
        self
    }

    /// The same limits with another time a statement.
    #[must_use]
    pub fn query_time(mut self, time: Duration) -> Self {
        self.query_time = time;
        self
    }

    /// The same limits with other bytes a batch.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes;
        self
    }

    /// The same limits with other bytes of log.
    #[must_use]
    pub fn log_bytes(mut self, bytes: usize) -> Self {
        self.log_bytes = bytes;
        self
    }

    /// The limits as parameters, whose ids begin with `prefix`. `whole_connector`: without those of a function's queries.
    pub(crate) fn parameters(prefix: &str, whole_connector: bool) -> impl Iterator<Item = Parameter> {
        let defaults = Self::default();
        DECLARED.iter().filter(move |limit| limit.of_connectors || !whole_connector).map(move |limit| {
            Parameter::number(format!("{prefix}{}", limit.id), limit.label)
                .default((limit.default)(&defaults))
                .range(1, 1 << 20)
                .describe(limit.description)
                .advanced()
        })
    }

    /// The limits that parameters of [`Limits::parameters`] set.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field for a negative number.
    pub(crate) fn read(prefix: &str, config: &Config) -> Result<Self> {
        DECLARED.iter().try_fold(Self::default(), |limits, limit| {
            let id = format!("{prefix}{}", limit.id);
            let Some(value) = config.integer(&id) else { return Ok(limits) };
            let value = u64::try_from(value).map_err(|_| {
                hub_plugin_api::Error::config(&id, format!("`{id}` must be at least 1, not `{value}`"))
            })?;
            Ok((limit.set)(limits, value))
        })
    }

    /// The limits for people: label, value with its unit, and the id of the parameter that sets it.
    pub fn described(&self) -> Vec<(&'static str, String, &'static str)> {
        let unit =
            |id: &str| id.rsplit('_').next().unwrap_or_default().replace("mib", "MiB").replace("kib", "KiB");
        DECLARED
            .iter()
            .map(|limit| (limit.label, format!("{} {}", (limit.default)(self), unit(limit.id)), limit.id))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_a_parameter_with_its_default_and_is_read_back() {
        let declared: Vec<_> = Limits::parameters("", false).collect();
        assert_eq!(declared.len(), 5);
        let defaults: Config =
            declared.iter().map(|one| (one.id.clone(), one.default.clone().unwrap())).collect();
        assert_eq!(Limits::read("", &defaults).unwrap(), Limits::default());
        let other = Config::new().with("sandbox_memory_mib", 1).with("sandbox_log_kib", 2);
        let expected = Limits::new().memory_bytes(1 << 20).log_bytes(2 << 10);
        assert_eq!(Limits::read("sandbox_", &other).unwrap(), expected);
        assert!(Limits::parameters("x_", true).all(|one| one.id != "x_query_seconds"));
    }
}
