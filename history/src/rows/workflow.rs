//! Rows of `workflows`.

use std::collections::BTreeMap;

use afu9_schemas::Timestamp;
use afu9_schemas::message::DefinitionRecord;
use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::rows::int;
use crate::text;

/// The state of a workflow after a definition was applied, enabled or disabled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DefinitionRow {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) definition: String,
    pub(crate) version: i32,
    pub(crate) enabled: bool,
    pub(crate) hash: String,
    pub(crate) applied_by: String,
    pub(crate) applied_at: DateTime<Utc>,
    pub(crate) changed_at: DateTime<Utc>,
}

impl DefinitionRow {
    pub(crate) fn new(at: Timestamp, record: &DefinitionRecord) -> Self {
        let description = record.definition.get("description").and_then(Value::as_str);
        Self {
            id: record.workflow.id.as_uuid(),
            name: text::name(&record.workflow.name),
            description: description.map(text::clean),
            definition: text::json(&record.definition),
            version: int(record.workflow.version),
            enabled: record.enabled,
            hash: record.workflow.hash.to_string(),
            applied_by: text::clean(&record.applied_by),
            applied_at: record.applied_at.to_datetime(),
            changed_at: at.to_datetime(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.definition.len()
    }

    /// What decides which of two rows is the newer. Version and flag only break ties, so that the
    /// outcome never depends on the order of arrival.
    fn age(&self) -> (DateTime<Utc>, i32, bool) {
        (self.changed_at, self.version, self.enabled)
    }
}

/// At most one row for each name and for each id.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Definitions(BTreeMap<String, DefinitionRow>);

impl Definitions {
    pub(crate) fn add(&mut self, row: DefinitionRow) {
        let same = |known: &DefinitionRow| known.id == row.id || known.name == row.name;
        if self
            .0
            .values()
            .any(|known| same(known) && known.age() >= row.age())
        {
            return;
        }
        self.0.retain(|_, known| !same(known));
        self.0.insert(row.name.clone(), row);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &DefinitionRow> + Clone {
        self.0.values()
    }
}
