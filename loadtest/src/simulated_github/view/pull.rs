//! Pull requests as JSON.

use serde_json::{Value, json};

use super::super::auth::Access;
use super::super::git::diff;
use super::super::repository::{Issue, IssueState, PullRequest, Repository};
use super::{issue, node_id, time, user};

/// A pull request as lists show it.
pub(crate) fn pull(repository: &Repository, issue: &Issue, pull: &PullRequest) -> Value {
    let place = &repository.place;
    let number = issue.number;
    let path = format!("/pulls/{number}");
    let html_url = place.html(&format!("/pull/{number}"));
    let owner = &place.owner;
    let side = |branch: &str, sha: String| {
        json!({
            "label": format!("{owner}:{branch}"),
            "ref": branch,
            "sha": sha,
            "user": user(&place.base_url, owner),
            "repo": super::repository(place, repository.pushed_at, Access::Write),
        })
    };
    let link = |href: String| json!({"href": href});
    let merged = pull.merged.as_ref();
    json!({
        "url": place.api(&path),
        "id": issue.id,
        "node_id": node_id("PullRequest", issue.id),
        "html_url": html_url,
        "diff_url": format!("{html_url}.diff"),
        "patch_url": format!("{html_url}.patch"),
        "issue_url": place.api(&format!("/issues/{number}")),
        "number": number,
        "state": issue.state.as_str(),
        "locked": false,
        "title": issue.title,
        "user": user(&place.base_url, &issue.author),
        "body": issue.body,
        "created_at": time(issue.created_at),
        "updated_at": time(issue.updated_at),
        "closed_at": issue.closed_at.map(time),
        "merged_at": merged.map(|merged| time(merged.at)),
        "merge_commit_sha": merged.map(|merged| merged.commit.to_string()),
        "assignee": null,
        "assignees": [],
        "requested_reviewers": [],
        "requested_teams": [],
        "labels": issue::labels(place, issue),
        "milestone": null,
        "draft": pull.is_draft,
        "commits_url": place.api(&format!("{path}/commits")),
        "review_comments_url": place.api(&format!("{path}/comments")),
        "comments_url": place.api(&format!("/issues/{number}/comments")),
        "statuses_url": place.api(&format!("/statuses/{}", pull.head_sha)),
        "head": side(&pull.head, pull.head_sha.to_string()),
        "base": side(&pull.base, repository.base_tip(pull).to_string()),
        "_links": {
            "self": link(place.api(&path)),
            "html": link(html_url.clone()),
            "issue": link(place.api(&format!("/issues/{number}"))),
            "comments": link(place.api(&format!("/issues/{number}/comments"))),
            "commits": link(place.api(&format!("{path}/commits"))),
        },
        "author_association": "MEMBER",
        "auto_merge": null,
        "active_lock_reason": null,
    })
}

/// A pull request by itself: with counts, and whether it can be merged.
pub(crate) fn detailed(repository: &mut Repository, number: u64) -> Option<Value> {
    let (_, request) = repository.pull(number).ok()?;
    let (base, head) = (repository.base_tip(request), request.head_sha);
    let is_open = repository.issue(number).ok()?.state == IssueState::Open;
    let mergeable = is_open.then(|| repository.merged_tree(base, head).is_some());
    let (issue, request) = repository.pull(number).ok()?;
    let between = repository.pull_divergence(request);
    let before = between.merge_base.and_then(|oid| repository.tree_of(oid));
    let changes = diff::changes(&repository.objects, before, repository.tree_of(head));
    let (files, additions, deletions) =
        super::git::files(&repository.place, &repository.objects, head, &changes);
    let state = match mergeable {
        None => "unknown",
        Some(false) => "dirty",
        Some(true) if request.is_draft => "draft",
        Some(true) => "clean",
    };
    let mut view = pull(repository, issue, request);
    let merged = request.merged.as_ref();
    let base_url = &repository.place.base_url;
    let more = [
        ("merged", merged.is_some().into()),
        ("mergeable", mergeable.into()),
        ("rebaseable", mergeable.into()),
        ("mergeable_state", state.into()),
        (
            "merged_by",
            merged.map(|merged| user(base_url, &merged.by)).into(),
        ),
        ("comments", issue.comments.len().into()),
        ("review_comments", 0.into()),
        ("maintainer_can_modify", false.into()),
        ("commits", between.ahead.len().into()),
        ("additions", additions.into()),
        ("deletions", deletions.into()),
        ("changed_files", files.len().into()),
    ];
    for (key, value) in more {
        view[key] = value;
    }
    Some(view)
}
