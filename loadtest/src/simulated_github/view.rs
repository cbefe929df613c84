//! The JSON that GitHub's API answers with. Pure: facts in, values out.

pub(crate) mod git;
pub(crate) mod issue;
pub(crate) mod pull;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::auth::Access;
use super::config::Visibility;
use super::repository::Place;

/// RFC 3339 with whole seconds, as GitHub writes times.
pub(crate) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A stable number for what GitHub numbers and the simulation does not (FNV-1a, 32 bits).
pub(crate) fn stable_id(text: &str) -> u64 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    u64::from(text.bytes().fold(0x811C_9DC5, step))
}

pub(crate) fn node_id(kind: &str, id: u64) -> String {
    STANDARD.encode(format!("{kind}{id}"))
}

pub(crate) fn user(base_url: &str, login: &str) -> Value {
    let id = stable_id(login);
    let kind = if login.ends_with("[bot]") {
        "Bot"
    } else {
        "User"
    };
    json!({
        "login": login,
        "id": id,
        "node_id": node_id("User", id),
        "avatar_url": format!("https://avatars.githubusercontent.com/u/{id}?v=4"),
        "gravatar_id": "",
        "url": format!("{base_url}/users/{login}"),
        "html_url": format!("https://github.com/{login}"),
        "type": kind,
        "site_admin": false,
    })
}

pub(crate) fn repository(place: &Place, pushed_at: DateTime<Utc>, access: Access) -> Value {
    let Place {
        id, owner, name, ..
    } = place;
    let is_private = place.visibility == Visibility::Private;
    json!({
        "id": id,
        "node_id": node_id("Repository", *id),
        "name": name,
        "full_name": place.full_name(),
        "private": is_private,
        "owner": user(&place.base_url, owner),
        "html_url": place.html(""),
        "description": null,
        "fork": false,
        "url": place.api(""),
        "clone_url": format!("{}.git", place.html("")),
        "created_at": time(place.created_at),
        "updated_at": time(pushed_at),
        "pushed_at": time(pushed_at),
        "default_branch": place.default_branch,
        "visibility": if is_private { "private" } else { "public" },
        "archived": false,
        "disabled": false,
        "has_issues": true,
        "allow_merge_commit": true,
        "allow_squash_merge": true,
        "allow_rebase_merge": true,
        "permissions": {
            "admin": false,
            "maintain": false,
            "push": access >= Access::Write,
            "triage": access >= Access::Write,
            "pull": true,
        },
    })
}
