//! Plain paths (`issue.labels[0].name`), by far the most frequent expressions.

use std::borrow::Cow;

use afu9_schemas::definition::RESERVED_ROOTS;
use serde_json::Value;

use super::budget::{Budget, OverBudget};
use super::error::part;
use super::value::{Val, charge_data};
use super::{LENDING_ROOTS, Scope};

/// A root name and the way down from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    root: String,
    segments: Vec<Segment>,
}

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// A field of an object.
    Field(String),
    /// An element of a list; also written `.0`, as the predecessor did.
    Index(usize),
}

/// Why a path leads nowhere.
pub(super) enum Lost {
    /// What is not there, in words.
    Missing(String),
    /// It leads to more than may be copied.
    TooLarge(OverBudget),
}

impl Path {
    /// Reads a path; `None` if `text` is anything else, which is then to be parsed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (root, mut rest) = identifier(text)?;
        if matches!(root, "true" | "false" | "null" | "in") {
            return None;
        }
        let mut segments = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let digits = after.bytes().take_while(u8::is_ascii_digit).count();
                if digits > 0 {
                    segments.push(Segment::Index(after[..digits].parse().ok()?));
                    rest = &after[digits..];
                } else {
                    let (name, after) = identifier(after)?;
                    segments.push(Segment::Field(name.to_owned()));
                    rest = after;
                }
            } else if let Some(after) = rest.strip_prefix('[') {
                let (inside, after) = after.split_once(']')?;
                segments.push(bracketed(inside.trim())?);
                rest = after;
            } else {
                return None;
            }
        }
        let mut root = root;
        let variable = match segments.first() {
            Some(Segment::Field(name)) if is_variable(root, name) => Some(name.clone()),
            _ => None,
        };
        if let Some(name) = &variable {
            root = name;
            segments.remove(0);
        }
        Some(Self {
            root: root.to_owned(),
            segments,
        })
    }

    pub(super) fn new(root: &str, segments: Vec<Segment>) -> Self {
        Self {
            root: root.to_owned(),
            segments,
        }
    }

    /// The root name.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The way down from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// A copy of the value at the path.
    pub(super) fn resolve(&self, scope: &dyn Scope, budget: &mut Budget) -> Result<Value, Lost> {
        let lent = match self.segments.as_slice() {
            [Segment::Field(field), Segment::Field(part), ..]
                if LENDING_ROOTS.contains(&self.root.as_str()) =>
            {
                scope.lend(&self.root, field, part)
            }
            _ => None,
        };
        let (start, done) = match (lent, self.segments.first()) {
            (Some(lent), _) => (Some(Cow::Borrowed(lent)), 2),
            (None, Some(Segment::Field(field))) => (scope.field(&self.root, field), 1),
            (None, _) => (scope.root(&self.root), 0),
        };
        let start = start.ok_or_else(|| match scope.root(&self.root) {
            Some(root) => Lost::Missing(self.missing(0, &root)),
            None => Lost::Missing(format!("`{}`", self.root)),
        })?;
        let mut value: &Value = &start;
        for (depth, segment) in self.segments.iter().enumerate().skip(done) {
            let next = match segment {
                Segment::Field(name) => value.get(name.as_str()),
                // The keys of objects are strings, also those that look like numbers.
                Segment::Index(index) if value.is_object() => value.get(index.to_string()),
                Segment::Index(index) => value.get(*index),
            };
            value = next.ok_or_else(|| Lost::Missing(self.missing(depth, value)))?;
        }
        charge_data(value, 0, budget).map_err(Lost::TooLarge)?;
        // What was built for this question alone need not be copied once more.
        if self.segments.len() == done
            && let Cow::Owned(value) = start
        {
            return Ok(value);
        }
        Ok(value.clone())
    }

    fn missing(&self, depth: usize, within: &Value) -> String {
        let key = match &self.segments[depth] {
            Segment::Field(name) => Val::text(name.as_str()),
            Segment::Index(index) => Val::int(*index),
        };
        part(&key, &Val::of(within), &self.prefix(depth))
    }

    fn prefix(&self, segments: usize) -> String {
        let mut text = self.root.clone();
        for segment in &self.segments[..segments] {
            match segment {
                Segment::Field(name) => {
                    text.push('.');
                    text.push_str(name);
                }
                Segment::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }
}

/// Whether `root.name` is the predecessor's way to write `name`: it kept what steps assigned under
/// `variables`.
pub(super) fn is_variable(root: &str, name: &str) -> bool {
    root == "variables" && !RESERVED_ROOTS.contains(&name)
}

fn identifier(text: &str) -> Option<(&str, &str)> {
    let length = text
        .bytes()
        .enumerate()
        .take_while(|(at, b)| {
            b.is_ascii_alphabetic() || *b == b'_' || (*at > 0 && b.is_ascii_digit())
        })
        .count();
    (length > 0).then(|| text.split_at(length))
}

fn bracketed(text: &str) -> Option<Segment> {
    if let Ok(index) = text.parse::<usize>() {
        return Some(Segment::Index(index));
    }
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let name = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let plain = !name.contains(['\\', '"', '\'']);
    plain.then(|| Segment::Field(name.to_owned()))
}
