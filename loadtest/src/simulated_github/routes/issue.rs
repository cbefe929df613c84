//! Issues, their comments and labels. Pull requests are issues, too.

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::{delete, get};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

use super::super::auth::Area;
use super::super::effect::EffectKind;
use super::super::failure::Failure;
use super::super::page::Page;
use super::super::repository::issue::{Direction, Filter, NewIssue, Order};
use super::super::repository::{IssueState, Repository};
use super::super::target::{Happening, Target};
use super::super::view::issue as view;
use super::{Answer, Routes, created, ok};

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/repos/{owner}/{repo}/issues", get(list).post(create))
        .route(
            "/repos/{owner}/{repo}/issues/{number}",
            get(show).patch(update),
        )
        .route(
            "/repos/{owner}/{repo}/issues/{number}/comments",
            get(comments).post(comment),
        )
        .route(
            "/repos/{owner}/{repo}/issues/comments/{id}",
            delete(delete_comment),
        )
        .route(
            "/repos/{owner}/{repo}/issues/{number}/labels",
            get(labels).post(add_labels),
        )
}

async fn show(target: Target) -> Answer {
    let repository = target.reading(Area::Issues)?;
    ok(view::issue(
        &repository.place,
        repository.issue(target.number()?)?,
    ))
}

async fn list(target: Target) -> Answer {
    let repository = target.reading(Area::Issues)?;
    let issues = repository.list_issues(&filter(&target)?);
    let place = &repository.place;
    Ok(Page::of(&target).respond(&target, &issues, |issue| view::issue(place, issue)))
}

fn filter(target: &Target) -> Result<Filter, Failure> {
    let invalid = |field| Failure::invalid_field("Issue", field, "invalid");
    let since = match target.query("since") {
        Some(text) => Some(DateTime::parse_from_rfc3339(text).map_err(|_| invalid("since"))?),
        None => None,
    };
    let labels = target.query("labels").unwrap_or_default();
    Ok(Filter {
        state: state_filter(target)?,
        labels: labels
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect(),
        since: since.map(|since| since.to_utc()),
        order: match target.query("sort") {
            None | Some("created") => Order::Created,
            Some("updated") => Order::Updated,
            Some("comments") => Order::Comments,
            Some(_) => return Err(invalid("sort")),
        },
        direction: match target.query("direction") {
            None | Some("desc") => Direction::Descending,
            Some("asc") => Direction::Ascending,
            Some(_) => return Err(invalid("direction")),
        },
    })
}

/// The `state` of a list of issues or pull requests; `None` for all.
pub(super) fn state_filter(target: &Target) -> Result<Option<IssueState>, Failure> {
    match target.query("state") {
        None | Some("open") => Ok(Some(IssueState::Open)),
        Some("closed") => Ok(Some(IssueState::Closed)),
        Some("all") => Ok(None),
        Some(_) => Err(Failure::invalid_field("Issue", "state", "invalid")),
    }
}

/// A label is named by a string or by an object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum LabelName {
    Name(String),
    Object { name: String },
}

fn names(labels: Vec<LabelName>) -> Vec<String> {
    let name = |label| match label {
        LabelName::Name(name) | LabelName::Object { name } => name,
    };
    labels.into_iter().map(name).collect()
}

#[derive(Debug, Deserialize)]
struct CreateIssue {
    title: String,
    body: Option<String>,
    #[serde(default)]
    labels: Vec<LabelName>,
    #[serde(default)]
    assignees: Vec<String>,
}

async fn create(target: Target) -> Answer {
    let mut repository = target.writing(Area::Issues)?;
    let request: CreateIssue = target.payload()?;
    require_text("Issue", "title", &request.title)?;
    let text = request.body.clone().unwrap_or_default();
    let new = NewIssue {
        title: request.title,
        body: request.body,
        labels: names(request.labels),
        assignees: request.assignees,
        author: target.context.caller.login().to_owned(),
        now: Utc::now(),
    };
    let number = repository.open_issue(new).number;
    let subject = format!("#{number}");
    let happening = Happening::new(EffectKind::CreateIssue, subject);
    target.record(
        &repository,
        Happening {
            text: &text,
            ..happening
        },
    );
    created(view::issue(&repository.place, repository.issue(number)?))
}

pub(super) fn require_text(resource: &str, field: &str, text: &str) -> Result<(), Failure> {
    if text.trim().is_empty() {
        return Err(Failure::invalid_field(resource, field, "missing_field"));
    }
    Ok(())
}

/// Tells an absent field from one that is null.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StateName {
    Open,
    Closed,
}

#[derive(Debug, Deserialize)]
struct UpdateIssue {
    title: Option<String>,
    #[serde(default, deserialize_with = "present")]
    body: Option<Option<String>>,
    state: Option<StateName>,
    state_reason: Option<String>,
    labels: Option<Vec<LabelName>>,
    assignees: Option<Vec<String>>,
}

async fn update(target: Target) -> Answer {
    let mut repository = target.writing(Area::Issues)?;
    let number = target.number()?;
    update_issue(&target, &mut repository, EffectKind::UpdateIssue)?;
    ok(view::issue(&repository.place, repository.issue(number)?))
}

/// Changes what the body of the request names, of an issue or of a pull request.
pub(super) fn update_issue(
    target: &Target,
    repository: &mut Repository,
    kind: EffectKind,
) -> Result<(), Failure> {
    let number = target.number()?;
    let pull = repository.issue(number)?.pull.clone();
    let request: UpdateIssue = target.payload()?;
    if let Some(title) = &request.title {
        require_text("Issue", "title", title)?;
    }
    let state = request.state.map(|state| match state {
        StateName::Open => IssueState::Open,
        StateName::Closed => IssueState::Closed,
    });
    let reopened_head = match (&pull, state) {
        (Some(pull), Some(IssueState::Open)) => {
            let head = repository
                .branch(&pull.head)
                .filter(|_| pull.merged.is_none());
            let invalid = || Failure::invalid_field("PullRequest", "state", "invalid");
            Some(head.ok_or_else(invalid)?)
        }
        _ => None,
    };
    let text = request.body.clone().flatten().unwrap_or_default();
    let issue = repository.touch_issue(number)?;
    if let Some(title) = request.title {
        issue.title = title;
    }
    if let Some(body) = request.body {
        issue.body = body;
    }
    if let Some(labels) = request.labels {
        issue.labels.clear();
        issue.add_labels(names(labels));
    }
    if let Some(assignees) = request.assignees {
        issue.assignees = assignees;
    }
    if let Some(state) = state {
        issue.set_state(state, request.state_reason);
    }
    if let (Some(pull), Some(head)) = (&mut issue.pull, reopened_head) {
        pull.head_sha = head;
    }
    let happening = Happening::new(kind, format!("#{number}"));
    target.record(
        repository,
        Happening {
            text: &text,
            ..happening
        },
    );
    Ok(())
}

async fn comments(target: Target) -> Answer {
    let repository = target.reading(Area::Issues)?;
    let number = target.number()?;
    let since = match target.query("since").map(DateTime::parse_from_rfc3339) {
        Some(Ok(since)) => since.to_utc(),
        Some(Err(_)) => return Err(Failure::invalid_field("IssueComment", "since", "invalid")),
        None => DateTime::<Utc>::MIN_UTC,
    };
    let comments = &repository.issue(number)?.comments;
    let found: Vec<_> = comments
        .iter()
        .filter(|comment| comment.created_at >= since)
        .collect();
    let place = &repository.place;
    Ok(Page::of(&target).respond(&target, &found, |comment| {
        view::comment(place, number, comment)
    }))
}

#[derive(Debug, Deserialize)]
struct CreateComment {
    body: String,
}

async fn comment(target: Target) -> Answer {
    let mut repository = target.writing(Area::Issues)?;
    let number = target.number()?;
    repository.issue(number)?;
    let CreateComment { body } = target.payload()?;
    require_text("IssueComment", "body", &body)?;
    let login = target.context.caller.login();
    let comment = repository.add_comment(number, login, body)?;
    let happening = Happening::new(EffectKind::CreateComment, format!("#{number}"));
    target.record(
        &repository,
        Happening {
            text: &comment.body,
            ..happening
        },
    );
    created(view::comment(&repository.place, number, &comment))
}

async fn delete_comment(target: Target) -> Answer {
    let mut repository = target.writing(Area::Issues)?;
    let id = target.parameter("id").parse();
    let id: u64 = id.map_err(|_| Failure::not_found())?;
    let (number, comment) = repository.delete_comment(id)?;
    let happening = Happening::new(EffectKind::DeleteComment, format!("#{number}"));
    target.record(
        &repository,
        Happening {
            text: &comment.body,
            ..happening
        },
    );
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn labels(target: Target) -> Answer {
    let repository = target.reading(Area::Issues)?;
    let labels = view::labels(&repository.place, repository.issue(target.number()?)?);
    Ok(Page::of(&target).respond(&target, &labels, Clone::clone))
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum AddLabels {
    Bare(Vec<LabelName>),
    Wrapped { labels: Vec<LabelName> },
}

async fn add_labels(target: Target) -> Answer {
    let mut repository = target.writing(Area::Issues)?;
    let number = target.number()?;
    repository.issue(number)?;
    let (AddLabels::Bare(labels) | AddLabels::Wrapped { labels }) = target.payload()?;
    let issue = repository.touch_issue(number)?;
    let before = issue.labels.len();
    issue.add_labels(names(labels));
    let is_new = issue.labels.len() > before;
    let happening = Happening::new(EffectKind::AddLabels, format!("#{number}"));
    target.record(
        &repository,
        Happening {
            is_new,
            ..happening
        },
    );
    Ok(Json(view::labels(&repository.place, repository.issue(number)?)).into_response())
}
