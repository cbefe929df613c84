//! GitHub's refusals, translated into what the engine may do about them. One pure function; the
//! engine alone repeats anything.
//!
//! Rules for rate limits: GitHub's "Rate limits for the REST API", section "Exceeding the rate
//! limit".

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header::{DATE, HeaderMap, RETRY_AFTER};
use http::{HeaderName, StatusCode};
use serde_json::Value;

use crate::ToolError;

/// The least wait after a secondary limit without a header, as GitHub asks for.
const SECONDARY_LIMIT_WAIT: Duration = Duration::from_secs(60);

/// No wait longer than this is believed: the window of the primary limit is one hour.
const WAIT_MAX: Duration = Duration::from_secs(3660);

/// The reset time has whole seconds: a moment later the limit is certainly lifted.
const AFTER_RESET: Duration = Duration::from_secs(1);

/// How much of a text from GitHub an error quotes, in characters.
const QUOTE_MAX_CHARS: usize = 300;

/// How many of the entries of `errors` an error quotes.
const DETAILS_MAX: usize = 10;

const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const ACCEPTED_PERMISSIONS: HeaderName = HeaderName::from_static("x-accepted-github-permissions");

/// An answer that is not a success.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    /// What the request was about, for a person: `issue 7 of octo/demo`.
    pub(super) subject: &'a str,
    /// The configuration key that holds the credential, `github.token` or `github.app_id`.
    pub(super) credential: &'static str,
}

/// The class, code and message of `refusal`; `now` counts where GitHub sent no date.
pub(super) fn classify(refusal: Refusal<'_>, now: DateTime<Utc>) -> ToolError {
    let Refusal {
        status,
        headers,
        subject,
        credential,
        ..
    } = refusal;
    let said = said(refusal.body);
    match status {
        StatusCode::UNAUTHORIZED => ToolError::permanent(
            "github.unauthorized",
            format!(
                "GitHub does not accept the credential for {subject}; check `{credential}`: {said}"
            ),
        ),
        StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
            rate_limit(refusal, &said, now).unwrap_or_else(|| forbidden(headers, subject, &said))
        }
        StatusCode::NOT_FOUND => ToolError::permanent(
            "github.not_found",
            format!("{subject} was not found, or `{credential}` may not see it: {said}"),
        ),
        StatusCode::CONFLICT => ToolError::retryable(
            "github.conflict",
            format!("{subject} was changed at the same time: {said}"),
        ),
        StatusCode::UNPROCESSABLE_ENTITY => ToolError::permanent(
            "github.invalid",
            format!("GitHub does not accept the request about {subject}: {said}"),
        ),
        status if status.is_server_error() => ToolError {
            retry_after: retry_after(headers),
            ..ToolError::retryable(
                "github.unavailable",
                format!(
                    "GitHub could not answer about {subject} (HTTP {}): {said}",
                    status.as_u16()
                ),
            )
        },
        status if status.is_redirection() => ToolError::permanent(
            "github.moved",
            format!("{subject} has moved; use the new name of its repository: {said}"),
        ),
        status => ToolError::permanent(
            "github.refused",
            format!(
                "GitHub refused the request about {subject} (HTTP {}): {said}",
                status.as_u16()
            ),
        ),
    }
}

/// The error if the 403 or 429 is about a limit.
fn rate_limit(refusal: Refusal<'_>, said: &str, now: DateTime<Utc>) -> Option<ToolError> {
    let Refusal {
        status,
        headers,
        subject,
        ..
    } = refusal;
    if let Some(wait) = retry_after(headers) {
        return Some(secondary_limit(subject, said, wait));
    }
    if number(headers, &REMAINING) == Some(0) {
        let now = date(headers).unwrap_or(now);
        let reset = number(headers, &RESET)
            .and_then(|at| i64::try_from(at).ok())
            .and_then(|at| DateTime::from_timestamp(at, 0));
        let wait = match reset {
            Some(reset) => (reset - now).to_std().unwrap_or_default() + AFTER_RESET,
            None => SECONDARY_LIMIT_WAIT,
        };
        return Some(ToolError::rate_limited(
            "github.rate_limit",
            format!("the hourly limit of requests to GitHub is used up (at {subject}): {said}"),
            wait.min(WAIT_MAX),
        ));
    }
    let lower = said.to_ascii_lowercase();
    let is_secondary = status == StatusCode::TOO_MANY_REQUESTS
        || lower.contains("secondary rate limit")
        || lower.contains("abuse detection");
    is_secondary.then(|| secondary_limit(subject, said, SECONDARY_LIMIT_WAIT))
}

fn secondary_limit(subject: &str, said: &str, wait: Duration) -> ToolError {
    ToolError::rate_limited(
        "github.secondary_rate_limit",
        format!("GitHub asks for slower requests (at {subject}): {said}"),
        wait.min(WAIT_MAX),
    )
}

fn forbidden(headers: &HeaderMap, subject: &str, said: &str) -> ToolError {
    let needed = headers
        .get(&ACCEPTED_PERMISSIONS)
        .and_then(|value| value.to_str().ok())
        .map(|needed| format!("; it needs the permission `{}`", quote(needed)))
        .unwrap_or_default();
    ToolError::permanent(
        "github.forbidden",
        format!("GitHub does not allow the request about {subject}{needed}: {said}"),
    )
}

/// GitHub's own words: `message`, then each of `errors`; the start of the body where it is not
/// GitHub's JSON (a proxy's page, for instance).
pub(super) fn said(body: &[u8]) -> String {
    let Ok(json) = serde_json::from_slice::<Value>(body) else {
        return quote(&String::from_utf8_lossy(body));
    };
    let message = json
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or("no message");
    let mut said = quote(message);
    let details = json
        .get("errors")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    for detail in details.iter().take(DETAILS_MAX) {
        said.push_str("; ");
        said.push_str(&quote(&describe(detail)));
    }
    said
}

/// One entry of `errors`: a text, or an object with a message or with a field and a code.
fn describe(detail: &Value) -> String {
    let text = |name: &str| detail.get(name).and_then(Value::as_str);
    match (
        detail.as_str(),
        text("message"),
        text("field"),
        text("code"),
    ) {
        (Some(message), ..) | (None, Some(message), ..) => message.to_owned(),
        (None, None, Some(field), Some(code)) => format!("`{field}` is {code}"),
        _ => detail.to_string(),
    }
}

/// One line of bounded length.
fn quote(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(QUOTE_MAX_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    number(headers, &RETRY_AFTER).map(|seconds| Duration::from_secs(seconds).min(WAIT_MAX))
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// GitHub's own clock, by which it also tells the reset time.
fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let date = headers.get(DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(date)
        .ok()
        .map(|date| date.to_utc())
}

#[cfg(test)]
mod tests {
    use afu9_schemas::ErrorClass;
    use http::HeaderValue;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn classified(status: u16, headers: &[(&'static str, &str)], body: &str) -> ToolError {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let refusal = Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            headers: &map,
            body: body.as_bytes(),
            subject: "issue 7 of octo/demo",
            credential: "github.token",
        };
        classify(refusal, DateTime::from_timestamp(NOW, 0).unwrap())
    }

    #[test]
    fn every_refusal_has_its_class_and_wait() {
        use ErrorClass::{Permanent, RateLimited, Retryable};
        let reset = (NOW + 120).to_string();
        let past = (NOW - 5).to_string();
        let far = (NOW + 1_000_000).to_string();
        let used_up = |reset| vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)];
        let secondary = r#"{"message":"You have exceeded a secondary rate limit."}"#;
        let plain = r#"{"message":"no"}"#;
        let table = vec![
            (301, vec![], plain, Permanent, "github.moved", None),
            (307, vec![], plain, Permanent, "github.moved", None),
            (400, vec![], plain, Permanent, "github.refused", None),
            (401, vec![], plain, Permanent, "github.unauthorized", None),
            (403, vec![], plain, Permanent, "github.forbidden", None),
            (
                403,
                vec![("x-ratelimit-remaining", "12")],
                plain,
                Permanent,
                "github.forbidden",
                None,
            ),
            (
                403,
                used_up(&reset),
                plain,
                RateLimited,
                "github.rate_limit",
                Some(121),
            ),
            (
                403,
                used_up(&past),
                plain,
                RateLimited,
                "github.rate_limit",
                Some(1),
            ),
            (
                403,
                used_up(&far),
                plain,
                RateLimited,
                "github.rate_limit",
                Some(3660),
            ),
            (
                403,
                used_up("soon"),
                plain,
                RateLimited,
                "github.rate_limit",
                Some(60),
            ),
            (
                429,
                used_up(&reset),
                plain,
                RateLimited,
                "github.rate_limit",
                Some(121),
            ),
            (
                403,
                vec![("retry-after", "7")],
                plain,
                RateLimited,
                "github.secondary_rate_limit",
                Some(7),
            ),
            (
                403,
                vec![],
                secondary,
                RateLimited,
                "github.secondary_rate_limit",
                Some(60),
            ),
            (
                429,
                vec![],
                plain,
                RateLimited,
                "github.secondary_rate_limit",
                Some(60),
            ),
            (
                429,
                vec![("retry-after", "30")],
                plain,
                RateLimited,
                "github.secondary_rate_limit",
                Some(30),
            ),
            (404, vec![], plain, Permanent, "github.not_found", None),
            (409, vec![], plain, Retryable, "github.conflict", None),
            (410, vec![], plain, Permanent, "github.refused", None),
            (422, vec![], plain, Permanent, "github.invalid", None),
            (500, vec![], plain, Retryable, "github.unavailable", None),
            (
                502,
                vec![],
                "<html>bad gateway</html>",
                Retryable,
                "github.unavailable",
                None,
            ),
            (
                503,
                vec![("retry-after", "20")],
                "",
                Retryable,
                "github.unavailable",
                Some(20),
            ),
        ];
        for (status, headers, body, class, code, wait) in table {
            let error = classified(status, &headers, body);
            assert_eq!(error.error.class, class, "{status} {headers:?}");
            assert_eq!(error.error.code, code, "{status} {headers:?}");
            assert_eq!(
                error.retry_after,
                wait.map(Duration::from_secs),
                "{status} {headers:?}"
            );
        }
    }

    #[test]
    fn the_reset_time_is_measured_on_githubs_clock() {
        let reset = (NOW + 120).to_string();
        let date = DateTime::from_timestamp(NOW + 100, 0).unwrap();
        let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let headers = [
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", reset.as_str()),
            ("date", date.as_str()),
        ];
        let error = classified(403, &headers, "{}");
        assert_eq!(error.retry_after, Some(Duration::from_secs(21)));
    }

    #[test]
    fn messages_name_the_subject_the_key_and_the_permission() {
        let message = classified(401, &[], r#"{"message":"Bad credentials"}"#)
            .error
            .message;
        assert!(
            message.contains("`github.token`") && message.contains("Bad credentials"),
            "{message}"
        );
        let message = classified(404, &[], r#"{"message":"Not Found"}"#)
            .error
            .message;
        assert!(message.contains("issue 7 of octo/demo"), "{message}");
        let needed = [("x-accepted-github-permissions", "issues=write")];
        let message = classified(403, &needed, "{}").error.message;
        assert!(message.contains("issues=write"), "{message}");
    }

    #[test]
    fn the_entries_of_errors_are_joined() {
        let body = r#"{"message":"Validation Failed","errors":[
            {"resource":"PullRequest","field":"head","code":"invalid"},
            {"resource":"PullRequest","code":"custom","message":"No commits"},
            "plain"]}"#;
        assert_eq!(
            said(body.as_bytes()),
            "Validation Failed; `head` is invalid; No commits; plain"
        );
    }

    #[test]
    fn quotes_are_short_and_of_one_line() {
        let said = said("ü\n".repeat(1000).as_bytes());
        assert!(said.chars().count() == QUOTE_MAX_CHARS + 1 && !said.contains('\n'));
    }
}
