use hub_plugin_api::{CheckRequest, CheckStep, Error, ErrorKind, Result};

use super::PERMISSIONS;
use crate::{
    connection::{Server, Session},
    reply,
};

const DOING: &str = "Could not look for rights";

/// Commands with a key that may be in the way, and what is granted for it.
struct Needed {
    command: Vec<String>,
    grant: String,
}

fn needed(command: &[&str]) -> Needed {
    let command: Vec<String> = command.iter().map(|part| String::from(*part)).collect();
    Needed { grant: format!("+{}", command[0].to_ascii_lowercase()), command }
}

/// What a strategy sends, as far as its options say.
fn commands(request: &CheckRequest) -> Vec<Needed> {
    let list = |id: &str| request.options.list(id);
    let text = |id: &str| request.options.text(id).map(String::from);
    match request.strategy.as_str() {
        "keys" => {
            let kind = text("type").unwrap_or_else(|| "any".into());
            let mut all = vec![needed(&["SCAN", "0"])];
            let keys = list("keys");
            let key = keys.first().map_or("any", String::as_str);
            all.push(needed(&["TYPE", key]));
            all.push(needed(&["PTTL", key]));
            for (of, names) in [
                ("string", &["GETRANGE", "GET", "MGET", "STRLEN", "EXISTS"][..]),
                ("hash", &["HLEN", "HGETALL", "HSCAN"]),
                ("list", &["LLEN", "LRANGE"]),
                ("set", &["SCARD", "SMEMBERS", "SSCAN"]),
                ("zset", &["ZCARD", "ZRANGE"]),
                ("stream", &["XLEN", "XRANGE"]),
            ] {
                if kind == "any" || kind == of {
                    all.extend(names.iter().map(|name| {
                        let more: &[&str] = match *name {
                            "GETRANGE" | "LRANGE" | "ZRANGE" => &["0", "1"],
                            "HSCAN" | "SSCAN" => &["0"],
                            "XRANGE" => &["-", "+"],
                            _ => &[],
                        };
                        needed(&[&[*name, key], more].concat())
                    }));
                }
            }
            all
        }
        "streams" => {
            let group = text("group");
            let mut all = Vec::new();
            for stream in list("streams") {
                let stream = stream.as_str();
                all.push(needed(&["XINFO", "STREAM", stream]));
                match &group {
                    None => all.push(needed(&["XREAD", "COUNT", "1", "STREAMS", stream, "0"])),
                    Some(group) => {
                        all.push(needed(&["XREADGROUP", "GROUP", group, "c", "STREAMS", stream, ">"]));
                        all.push(needed(&["XACK", stream, group, "0-0"]));
                        all.push(needed(&["XAUTOCLAIM", stream, group, "c", "0", "0-0"]));
                        all.push(needed(&["XPENDING", stream, group]));
                        all.push(needed(&["XGROUP", "CREATE", stream, group, "0", "MKSTREAM"]));
                    }
                }
            }
            all
        }
        "keyspace" => vec![needed(&["PSUBSCRIBE", "__keyevent@0__:*"]), needed(&["SCAN", "0"])],
        _ => {
            let kind = text("type").unwrap_or_else(|| "hash".into());
            let prefix = text("key_prefix").unwrap_or_default();
            let key = format!("{prefix}{}", text("key").unwrap_or_else(|| "any".into()));
            let key = key.as_str();
            let lane = "__hub_commits:pipeline:0";
            let mut all = vec![
                needed(&["HINCRBY", lane, "fence", "1"]),
                needed(&["HGET", lane, "token"]),
                needed(&["HSET", lane, "token", "t"]),
                needed(&["WATCH", lane]),
                needed(&["MULTI"]),
                needed(&["EXEC"]),
            ];
            let by_type: &[&[&str]] = match kind.as_str() {
                "string" => &[&["MSET", key, "v"], &["SET", key, "v"], &["UNLINK", key]],
                "list" => &[&["TYPE", key], &["RPUSH", key, "v"]],
                "set" => &[&["TYPE", key], &["SADD", key, "v"], &["SREM", key, "v"]],
                "zset" => &[&["TYPE", key], &["ZADD", key, "1", "v"], &["ZREM", key, "v"]],
                "stream" => &[&["TYPE", key], &["XADD", key, "*", "f", "v"]],
                "json" => &[&["JSON.SET", key, "$", "1"], &["UNLINK", key]],
                "from-rows" => &[&["UNLINK", key], &["SET", key, "v"], &["PEXPIRE", key, "1"]],
                _ => &[&["TYPE", key], &["HSET", key, "f", "v"], &["HDEL", key, "f"], &["UNLINK", key]],
            };
            if request.options.get("commands").is_none() {
                all.extend(by_type.iter().map(|command| needed(command)));
            }
            all
        }
    }
}

/// Whether the user may send what the strategy sends, as `ACL DRYRUN` tells it.
pub async fn permissions(server: &Server, session: &mut Session, request: &CheckRequest) -> CheckStep {
    let user = server.settings().username.clone().unwrap_or_else(|| "default".into());
    match missing(session, &user, &commands(request)).await {
        Ok(None) => CheckStep::skipped(
            PERMISSIONS,
            format!("User `{user}` may not ask for its own rights; the first run will tell what is missing"),
        )
        .with_hint("Servers before 7.0 do not know ACL DRYRUN; later ones need the right `+acl|dryrun`"),
        Ok(Some(missing)) if missing.is_empty() => {
            CheckStep::passed(PERMISSIONS, format!("User `{user}` may send what the strategy sends"))
        }
        Ok(Some(missing)) => {
            let reasons: Vec<_> = missing.iter().map(|(reason, _)| reason.as_str()).collect();
            let mut grants: Vec<_> = missing.iter().map(|(_, grant)| grant.as_str()).collect();
            grants.sort_unstable();
            grants.dedup();
            let message = format!("User `{user}` lacks rights: {}", reasons.join("; "));
            CheckStep::failed(PERMISSIONS, &Error::new(ErrorKind::PermissionDenied, message))
                .with_field("username")
                .with_fix(format!("ACL SETUSER {user} {}", grants.join(" ")))
        }
        Err(error) => CheckStep::failed(PERMISSIONS, &error),
    }
}

/// What is refused, and the grant that would help; nothing where the server does not tell.
async fn missing(
    session: &mut Session,
    user: &str,
    commands: &[Needed],
) -> Result<Option<Vec<(String, String)>>> {
    let mut missing = Vec::new();
    for needed in commands {
        let mut dry_run = redis::cmd("ACL");
        dry_run.arg("DRYRUN").arg(user).arg(&needed.command);
        match session.call(DOING, &dry_run).await {
            Err(error)
                if error.kind == ErrorKind::PermissionDenied || error.kind == ErrorKind::Unsupported =>
            {
                return Ok(None);
            }
            // Of a module that is not there, or not of this version: not a matter of rights.
            Err(error) if error.kind == ErrorKind::InvalidStatement => {}
            Err(error) => return Err(error),
            Ok(answer) => {
                let text = reply::text(DOING, answer)?;
                if text != "OK" {
                    missing.push((text.clone(), grant(needed, &text)));
                }
            }
        }
    }
    Ok(Some(missing))
}

/// The rule of an ACL that is missing, by what the server says is in the way.
fn grant(needed: &Needed, reason: &str) -> String {
    if reason.contains("channel") {
        return "&__key*".into();
    }
    if reason.contains("access the") && reason.contains("key") {
        let key = reason.split('\'').nth(1).unwrap_or("*");
        return format!("~{key}");
    }
    needed.grant.clone()
}
