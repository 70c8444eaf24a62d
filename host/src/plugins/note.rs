//! Step `note`: what a library says about itself, before any of its code runs.

use hub_plugin_abi::ABI_REVISION;
use semver::Version;
use serde::Deserialize;

use super::report::{LoadStep, PluginNote, Refusal};

/// The format of the note itself; see `hub_plugin_abi::NOTE_PREFIX`.
const NOTE_FORMAT: u32 = 1;

/// What this host speaks.
#[derive(Clone, Debug)]
pub(super) struct HostApi {
    pub(super) abi_revision: u32,
    pub(super) api: Version,
}

impl HostApi {
    pub(super) fn current() -> Self {
        let api = Version::parse(hub_plugin_api::API_VERSION).unwrap_or(Version::new(0, 0, 0));
        Self { abi_revision: ABI_REVISION, api }
    }
}

/// As it is written. Two fields are read first: what a later format or revision says after them is not ours to judge.
#[derive(Deserialize)]
struct Head {
    connector_hub_note: u32,
    abi_revision: u32,
}

#[derive(Deserialize)]
struct Body {
    api: String,
    requires_api: String,
    plugin: String,
    version: String,
    connectors: Vec<String>,
}

fn refuse(reason: impl Into<String>) -> Refusal {
    Refusal::new(LoadStep::Note, reason)
}

/// Reads the content of the note's section, or refuses the library for having none.
pub(super) fn read(section: Option<&[u8]>, section_name: &str) -> Result<PluginNote, Refusal> {
    let Some(bytes) = section else {
        return Err(refuse(format!("Is a library but no plugin: it has no section `{section_name}`"))
            .hint("A plugin written in Rust gets it from `export_connectors!`"));
    };
    let damaged = |detail: String| {
        refuse(format!("Has a note that cannot be read: {detail}"))
            .hint("Build the plugin again with hub-plugin-api")
    };
    // Linkers fill sections up with zero bytes.
    let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let text = std::str::from_utf8(&bytes[..length]).map_err(|_| damaged("it is not text".into()))?;
    let head: Head = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
    if head.connector_hub_note != NOTE_FORMAT {
        return Err(refuse(format!(
            "Has a note of format {}, and this host reads format {NOTE_FORMAT}",
            head.connector_hub_note
        ))
        .hint("Update the hub"));
    }
    let body: Body = match serde_json::from_str(text) {
        Ok(body) => body,
        // Of another revision: that is what has to be said, not what is odd about its note.
        Err(_) if head.abi_revision != ABI_REVISION => Body {
            api: "0.0.0".into(),
            requires_api: "0.0.0".into(),
            plugin: "unknown".into(),
            version: "0.0.0".into(),
            connectors: Vec::new(),
        },
        Err(error) => return Err(damaged(error.to_string())),
    };
    let version = |field: &str, text: &str| {
        Version::parse(text).map_err(|error| damaged(format!("`{field}` is `{text}`: {error}")))
    };
    Ok(PluginNote {
        version: version("version", &body.version)?,
        abi_revision: head.abi_revision,
        api: version("api", &body.api)?,
        requires_api: version("requires_api", &body.requires_api)?,
        plugin: body.plugin,
        connectors: body.connectors,
    })
}

/// Compares a note with what this host speaks; what was found, in a few words.
pub(super) fn check(note: &PluginNote, host: &HostApi) -> Result<String, Refusal> {
    let (theirs, ours) = (note.abi_revision, host.abi_revision);
    if theirs != ours {
        let hint = if theirs > ours {
            format!(
                "Update the hub to one that speaks revision {theirs}, or get an older build of the plugin"
            )
        } else {
            format!("Update the plugin to a build for revision {ours}, or run an older hub")
        };
        return Err(refuse(format!(
            "Was built for revision {theirs} of the binary interface, and this host speaks revision {ours}"
        ))
        .hint(hint));
    }
    if note.requires_api > host.api {
        return Err(refuse(format!(
            "Needs plugin API {} or newer, and this host has {}",
            note.requires_api, host.api
        ))
        .hint("Update the hub, or get an older version of the plugin"));
    }
    if note.plugin.is_empty() || note.connectors.is_empty() {
        return Err(refuse("Has a note that names no plugin or no connectors")
            .hint("Build the plugin again with `export_connectors!`"));
    }
    let age = match note.api.cmp(&host.api) {
        std::cmp::Ordering::Less => ", older than this host's",
        std::cmp::Ordering::Equal => "",
        std::cmp::Ordering::Greater => ", newer than this host's",
    };
    Ok(format!("{} {}, revision {theirs}, API {}{age}", note.plugin, note.version, note.api))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostApi {
        HostApi { abi_revision: 1, api: Version::new(1, 4, 0) }
    }

    fn note(revision: u32, api: &str, requires: &str) -> Vec<u8> {
        format!(
            "{{\"connector_hub_note\":1,\"abi_revision\":{revision},\"api\":\"{api}\",\"requires_api\":\"{requires}\",\
             \"plugin\":\"demo\",\"version\":\"0.3.1\",\"connectors\":[\"one\"]}}\0\0\0"
        )
        .into_bytes()
    }

    fn verdict(bytes: &[u8]) -> Result<String, String> {
        read(Some(bytes), ".hub_note")
            .and_then(|note| check(&note, &host()))
            .map_err(|refusal| refusal.reason)
    }

    #[test]
    fn same_revision_loads_whatever_the_api_is() {
        assert_eq!(verdict(&note(1, "1.4.0", "1.0.0")).unwrap(), "demo 0.3.1, revision 1, API 1.4.0");
        assert_eq!(
            verdict(&note(1, "1.2.0", "1.0.0")).unwrap(),
            "demo 0.3.1, revision 1, API 1.2.0, older than this host's"
        );
        assert_eq!(
            verdict(&note(1, "2.0.0", "1.4.0")).unwrap(),
            "demo 0.3.1, revision 1, API 2.0.0, newer than this host's"
        );
    }

    #[test]
    fn requires_api_above_the_hosts_is_refused() {
        assert_eq!(
            verdict(&note(1, "1.5.0", "1.4.1")).unwrap_err(),
            "Needs plugin API 1.4.1 or newer, and this host has 1.4.0"
        );
    }

    #[test]
    fn another_revision_says_which_side_to_update() {
        let refusal = |revision| {
            check(&read(Some(&note(revision, "1.4.0", "1.0.0")), "").unwrap(), &host()).unwrap_err()
        };
        assert!(refusal(0).hint.unwrap().starts_with("Update the plugin"));
        assert!(refusal(2).hint.unwrap().starts_with("Update the hub"));
    }

    #[test]
    fn another_revision_is_named_also_when_its_note_has_another_shape() {
        let bytes = b"{\"connector_hub_note\":1,\"abi_revision\":7,\"of_tomorrow\":true}";
        assert_eq!(
            verdict(bytes).unwrap_err(),
            "Was built for revision 7 of the binary interface, and this host speaks revision 1"
        );
    }

    #[test]
    fn damaged_notes_are_refused() {
        for (bytes, reason) in [
            (&b""[..], "Has a note that cannot be read: EOF while parsing a value at line 1 column 0"),
            (b"\xff\xfe", "Has a note that cannot be read: it is not text"),
            (
                b"{\"connector_hub_note\":2,\"abi_revision\":1}",
                "Has a note of format 2, and this host reads format 1",
            ),
            (
                b"{\"connector_hub_note\":1,\"abi_revision\":1,\"api\":\"1.0\",\"requires_api\":\"1.0.0\",\"plugin\":\"a\",\
                  \"version\":\"1.0.0\",\"connectors\":[]}",
                "Has a note that cannot be read: `api` is `1.0`: unexpected end of input while parsing minor version number",
            ),
        ] {
            assert_eq!(verdict(bytes).unwrap_err(), reason);
        }
    }
}
