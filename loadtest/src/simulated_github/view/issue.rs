//! Issues, comments and labels as JSON.

use serde_json::{Value, json};

use super::super::repository::{Comment, Issue, Place};
use super::{node_id, stable_id, time, user};

pub(crate) fn label(place: &Place, name: &str) -> Value {
    let id = stable_id(name);
    let color = if name == "bug" { "d73a4a" } else { "ededed" };
    json!({
        "id": id,
        "node_id": node_id("Label", id),
        "url": place.api(&format!("/labels/{name}")),
        "name": name,
        "color": color,
        "default": name == "bug",
        "description": null,
    })
}

pub(crate) fn labels(place: &Place, issue: &Issue) -> Vec<Value> {
    issue.labels.iter().map(|name| label(place, name)).collect()
}

pub(crate) fn issue(place: &Place, issue: &Issue) -> Value {
    let path = format!("/issues/{}", issue.number);
    let kind = if issue.pull.is_some() {
        "pull"
    } else {
        "issues"
    };
    let html_url = place.html(&format!("/{kind}/{}", issue.number));
    let assignees: Vec<Value> = issue
        .assignees
        .iter()
        .map(|login| user(&place.base_url, login))
        .collect();
    let mut view = json!({
        "url": place.api(&path),
        "repository_url": place.api(""),
        "labels_url": place.api(&format!("{path}/labels{{/name}}")),
        "comments_url": place.api(&format!("{path}/comments")),
        "events_url": place.api(&format!("{path}/events")),
        "html_url": html_url,
        "id": issue.id,
        "node_id": node_id("Issue", issue.id),
        "number": issue.number,
        "title": issue.title,
        "user": user(&place.base_url, &issue.author),
        "labels": labels(place, issue),
        "state": issue.state.as_str(),
        "locked": false,
        "assignee": assignees.first(),
        "assignees": assignees,
        "milestone": null,
        "comments": issue.comments.len(),
        "created_at": time(issue.created_at),
        "updated_at": time(issue.updated_at),
        "closed_at": issue.closed_at.map(time),
        "author_association": "MEMBER",
        "active_lock_reason": null,
        "body": issue.body,
        "closed_by": null,
        "timeline_url": place.api(&format!("{path}/timeline")),
        "performed_via_github_app": null,
        "state_reason": issue.state_reason,
    });
    if let Some(pull) = &issue.pull {
        view["draft"] = pull.is_draft.into();
        view["pull_request"] = json!({
            "url": place.api(&format!("/pulls/{}", issue.number)),
            "html_url": html_url,
            "diff_url": format!("{html_url}.diff"),
            "patch_url": format!("{html_url}.patch"),
            "merged_at": pull.merged.as_ref().map(|merged| time(merged.at)),
        });
    }
    view
}

pub(crate) fn comment(place: &Place, number: u64, comment: &Comment) -> Value {
    let at = time(comment.created_at);
    json!({
        "url": place.api(&format!("/issues/comments/{}", comment.id)),
        "html_url": place.html(&format!("/issues/{number}#issuecomment-{}", comment.id)),
        "issue_url": place.api(&format!("/issues/{number}")),
        "id": comment.id,
        "node_id": node_id("IssueComment", comment.id),
        "user": user(&place.base_url, &comment.author),
        "created_at": at,
        "updated_at": at,
        "author_association": "MEMBER",
        "body": comment.body,
        "performed_via_github_app": null,
    })
}
