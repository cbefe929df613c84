//! Pages of lists, and the `link` header that leads through them.

use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::target::Target;

const DEFAULT_PAGE_SIZE: usize = 30;
const LARGEST_PAGE_SIZE: usize = 100;

/// Which part of a list a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    /// From 1.
    number: usize,
    size: usize,
}

impl Page {
    /// Nonsense in the query counts as absent, as on GitHub.
    pub(crate) fn of(target: &Target) -> Self {
        let number = |name: &str| {
            target
                .query(name)
                .and_then(|text| text.parse::<usize>().ok())
        };
        Self {
            number: number("page").unwrap_or(1).clamp(1, 1_000_000),
            size: number("per_page")
                .filter(|size| *size > 0)
                .map_or(DEFAULT_PAGE_SIZE, |size| size.min(LARGEST_PAGE_SIZE)),
        }
    }

    pub(crate) fn skip(self) -> usize {
        (self.number - 1) * self.size
    }

    pub(crate) fn size(self) -> usize {
        self.size
    }

    /// Answers with the part of `items` that is on this page.
    pub(crate) fn respond<T>(
        self,
        target: &Target,
        items: &[T],
        view: impl Fn(&T) -> Value,
    ) -> Response {
        let shown: Vec<Value> = items
            .iter()
            .skip(self.skip())
            .take(self.size)
            .map(view)
            .collect();
        let last = items.len().div_ceil(self.size);
        self.with_links(
            target,
            axum::Json(shown).into_response(),
            Some(last),
            self.number < last,
        )
    }

    /// Adds the links to an answer whose length need not be known.
    pub(crate) fn with_links(
        self,
        target: &Target,
        mut response: Response,
        last: Option<usize>,
        has_next: bool,
    ) -> Response {
        let links = self.links(&target.simulation.base_url, &target.uri, last, has_next);
        if let Ok(value) = HeaderValue::from_str(&links)
            && !links.is_empty()
        {
            response.headers_mut().insert(header::LINK, value);
        }
        response
    }

    fn links(self, base_url: &str, uri: &Uri, last: Option<usize>, has_next: bool) -> String {
        let query = uri.query().unwrap_or_default();
        let others: Vec<&str> = query
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.starts_with("page="))
            .collect();
        let link = |number: usize, relation: &str| {
            let page = format!("page={number}");
            let mut pairs = others.clone();
            pairs.push(&page);
            format!(
                "<{base_url}{}?{}>; rel=\"{relation}\"",
                uri.path(),
                pairs.join("&")
            )
        };
        let mut links = Vec::new();
        if self.number > 1 {
            links.push(link(self.number - 1, "prev"));
        }
        if has_next {
            links.push(link(self.number + 1, "next"));
            links.extend(last.map(|last| link(last, "last")));
        }
        if self.number > 1 {
            links.push(link(1, "first"));
        }
        links.join(", ")
    }
}
