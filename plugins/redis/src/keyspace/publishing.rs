//! Whether masters publish what happens to their keys. One whose setting is changed, or that took over with another one,
//! only falls silent.

use std::collections::{BTreeMap, BTreeSet};

use hub_plugin_api::{Error, ErrorKind, Level, Result};

use crate::{
    check::setting,
    cluster::Master,
    connection::{Address, Server, Session},
};

const SETTING: &str = "notify-keyspace-events";
/// What class `A` stands for (Redis manual, "Redis keyspace notifications").
const ALL: &str = "g$lshzxetd";

/// What is known of the masters.
#[derive(Default)]
pub struct Publishing {
    sessions: BTreeMap<Address, Session>,
    /// The classes that each sent before.
    classes: BTreeMap<Address, BTreeSet<char>>,
}

impl Publishing {
    /// Fails when a master sends no events of keys; classes that it sent before and does not send now are told. One that
    /// cannot be asked, or may not be, is left alone.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with what to set.
    pub async fn look(&mut self, server: &Server, masters: &[Master]) -> Result<()> {
        let is_master = |address: &Address| masters.iter().any(|master| master.address == *address);
        self.sessions.retain(|address, _| is_master(address));
        for master in masters {
            let address = &master.address;
            let session = match self.sessions.remove(address) {
                Some(session) => Ok(session),
                None => server.node(address).await,
            };
            // Whoever listens there meets the same trouble.
            let Ok(mut session) = session else { continue };
            let Ok(answer) = setting(&mut session, SETTING).await else { continue };
            self.sessions.insert(address.clone(), session);
            let Some(text) = answer else { continue };
            let classes = classes(&text);
            let (host, port) = address;
            if !sends_key_events(&text) {
                let message = format!("`{host}:{port}` sends no key events: `{SETTING}` is `{text}`");
                return Err(Error::new(ErrorKind::InvalidConfig, message).with_hint(format!(
                    "Run `CONFIG SET {SETTING} KEA` on every node, replicas as well, and set it in their \
                     configuration; what happened meanwhile is found with `reconcile` only"
                )));
            }
            if let Some(before) = self.classes.insert(address.clone(), classes.clone()) {
                let gone: String = before.difference(&classes).collect();
                if !gone.is_empty() {
                    let message = format!("`{host}:{port}` no longer sends events of classes `{gone}`");
                    server.context().log(Level::Warn, "redis::keyspace", message);
                }
            }
        }
        Ok(())
    }
}

/// Whether a server with this setting publishes events by their name, of any class.
pub fn sends_key_events(setting: &str) -> bool {
    setting.contains('E') && setting.chars().any(|class| class != 'E' && class != 'K')
}

fn classes(setting: &str) -> BTreeSet<char> {
    let all = if setting.contains('A') { ALL } else { "" };
    setting.chars().filter(|class| *class != 'A').chain(all.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_say_what_is_sent() {
        for (setting, sends) in [("", false), ("KE", false), ("KA", false), ("Ex", true), ("AKE", true)] {
            assert_eq!(sends_key_events(setting), sends, "{setting}");
        }
        assert_eq!(classes("AKE"), classes("Kg$lshzxetdE"));
        assert!(classes("AKE").is_superset(&classes("KEx")));
    }
}
