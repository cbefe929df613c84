//! `github.addComment`: the comment's text carries the key.
//!
//! GitHub takes any number of equal comments, so two runs at the same time may both write one. Each
//! run looks again after it has written: the oldest comment of the key stays, later ones are
//! deleted. Ids grow with time, hence all runs keep the same one.
//!
//! A comment counts only if it is our own: whoever may comment can copy a marker.

use afu9_schemas::tool::github::{AddCommentParams, CommentOutput};
use http::StatusCode;
use http::header::{HeaderMap, LINK};
use serde::Deserialize;
use serde_json::json;

use super::address::{Repository, invalid};
use super::auth::Author;
use super::client::{Client, Request};
use super::marker;
use crate::{Call, ToolError};

/// GitHub's largest page.
const PAGE_COMMENTS: usize = 100;

/// How many pages are read: the first, which tells how many there are, and the newest. A thousand
/// comments between two attempts at a step would be a conversation of machines.
const PAGES_MAX: usize = 10;

#[derive(Deserialize)]
struct Comment {
    id: u64,
    html_url: String,
    created_at: String,
    body: Option<String>,
    #[serde(flatten)]
    author: Author,
}

/// One call's constants.
struct Work<'a> {
    client: &'a Client,
    call: &'a Call,
    repository: Repository,
    number: u64,
}

/// Writes the comment, or finds it.
///
/// # Errors
/// Whatever GitHub's refusal means. After an error the comment may be there, even twice; the next
/// attempt finds it and deletes the second.
pub(super) async fn run(
    client: &Client,
    call: &Call,
    params: AddCommentParams,
) -> Result<CommentOutput, ToolError> {
    let repository = Repository::new(&params.owner, &params.repo)?;
    if params.body.trim().is_empty() {
        return Err(invalid("`body` is empty".to_owned()));
    }
    let work = Work {
        client,
        call,
        repository,
        number: params.number,
    };
    super::stop_if_cancelled(call)?;
    let mut comments = work.find().await?;
    if comments.is_empty() {
        super::stop_if_cancelled(call)?;
        let created = work.write(&params.body).await?;
        // No look at `cancelled` from here: a second comment must not stay behind.
        comments = work.find().await?;
        comments.retain(|comment| comment.id != created.id);
        comments.push(created);
    }
    work.keep_oldest(comments).await
}

impl Work<'_> {
    /// Our comments with the key.
    async fn find(&self) -> Result<Vec<Comment>, ToolError> {
        let (mut comments, last) = self.page(1).await?;
        for page in (2..=last).rev().take(PAGES_MAX - 1) {
            comments.extend(self.page(page).await?.0);
        }
        let mut ours = Vec::new();
        for comment in comments {
            let text = comment.body.as_deref().unwrap_or("");
            if marker::is_marked(text, &self.call.idempotency_key)
                && self.client.is_ours(&comment.author).await?
            {
                ours.push(comment);
            }
        }
        Ok(ours)
    }

    /// One page of the comments, oldest first, and the number of the last page.
    async fn page(&self, page: usize) -> Result<(Vec<Comment>, usize), ToolError> {
        let Self {
            client,
            repository,
            number,
            ..
        } = self;
        let path = format!("issues/{number}/comments?per_page={PAGE_COMMENTS}&page={page}");
        let request = Request::get(repository.path(&path)).about(self.subject());
        let response = client.send(repository, request).await?;
        let comments = response.json()?;
        Ok((comments, last_page(response.headers()).unwrap_or(page)))
    }

    async fn write(&self, text: &str) -> Result<Comment, ToolError> {
        let path = self
            .repository
            .path(&format!("issues/{}/comments", self.number));
        let body = json!({ "body": marker::mark(text, &self.call.idempotency_key) });
        let request = Request::post(path, &body).about(self.subject());
        self.client.send(&self.repository, request).await?.json()
    }

    async fn keep_oldest(&self, mut comments: Vec<Comment>) -> Result<CommentOutput, ToolError> {
        comments.sort_unstable_by_key(|comment| comment.id);
        let mut comments = comments.into_iter();
        let Some(oldest) = comments.next() else {
            return Err(ToolError::retryable(
                "github.bad_response",
                "GitHub lost the comment",
            ));
        };
        for later in comments {
            let path = self
                .repository
                .path(&format!("issues/comments/{}", later.id));
            let request =
                Request::delete(path).about(format!("comment {} of {}", later.id, self.repository));
            let response = self.client.send(&self.repository, request).await?;
            // Not found: the run that wrote it was quicker to delete it.
            if response.status() != StatusCode::NOT_FOUND {
                response.accepted()?;
            }
        }
        Ok(CommentOutput {
            id: oldest.id,
            html_url: oldest.html_url,
            created_at: oldest.created_at,
        })
    }

    fn subject(&self) -> String {
        format!("issue {} of {}", self.number, self.repository)
    }
}

/// The number in the link to the last page. GitHub sends none with the last page itself.
fn last_page(headers: &HeaderMap) -> Option<usize> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let last = links
        .split(',')
        .find(|link| link.contains("rel=\"last\""))?;
    let address = last.split_once('<')?.1.split_once('>')?.0;
    let query = address.split_once('?')?.1;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("page="))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_last_page_comes_from_the_link() {
        let mut headers = HeaderMap::new();
        assert_eq!(last_page(&headers), None);
        let links = "<https://api.github.com/x?per_page=100&page=2>; rel=\"next\", \
                     <https://api.github.com/x?per_page=100&page=17>; rel=\"last\"";
        headers.insert(LINK, HeaderValue::from_static(links));
        assert_eq!(last_page(&headers), Some(17));
        headers.insert(
            LINK,
            HeaderValue::from_static("<https://x/?page=1>; rel=\"prev\""),
        );
        assert_eq!(last_page(&headers), None);
        headers.insert(LINK, HeaderValue::from_static("nonsense rel=\"last\""));
        assert_eq!(last_page(&headers), None);
    }
}
