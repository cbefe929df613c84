//! Rows of `repositories`.

use std::collections::BTreeMap;

use afu9_schemas::Timestamp;
use afu9_schemas::message::Repository;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{identity, text};

/// A repository that executions refer to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RepositoryRow {
    pub(crate) id: Uuid,
    pub(crate) owner: String,
    pub(crate) name: String,
    /// Its default branch and when that was seen, where a trigger knew it.
    pub(crate) branch: Option<(DateTime<Utc>, String)>,
}

impl RepositoryRow {
    /// Adds what an event at `at` says about `repository`; the latest branch wins.
    pub(crate) fn add(
        rows: &mut BTreeMap<(String, String), Self>,
        at: Timestamp,
        repository: &Repository,
    ) {
        let (owner, name) = (text::name(&repository.owner), text::name(&repository.name));
        let branch = repository
            .default_branch
            .as_deref()
            .map(|branch| (at.to_datetime(), text::clean(branch)));
        let row = rows
            .entry((owner, name))
            .or_insert_with_key(|(owner, name)| Self {
                id: identity::repository(owner, name),
                owner: owner.clone(),
                name: name.clone(),
                branch: None,
            });
        // None is below Some, and a tie in time is broken by the name.
        row.branch = row.branch.take().max(branch);
    }
}
