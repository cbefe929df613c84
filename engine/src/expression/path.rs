//! Plain paths (`issue.labels[0].name`), by far the most frequent expressions.

use serde_json::Value;

use super::Scope;

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

impl Path {
    /// Reads a path; `None` if `text` is anything else, which is then for CEL to judge.
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
        Some(Self {
            root: root.to_owned(),
            segments,
        })
    }

    /// The root name.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The way down from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The value at the path, or a description of the first part that is not there.
    pub(super) fn resolve(&self, scope: &dyn Scope) -> Result<Value, String> {
        let root = scope
            .root(&self.root)
            .ok_or_else(|| format!("`{}`", self.root))?;
        let mut value: &Value = &root;
        for (depth, segment) in self.segments.iter().enumerate() {
            let next = match segment {
                Segment::Field(name) => value.get(name.as_str()),
                Segment::Index(index) => value.get(*index),
            };
            value =
                next.ok_or_else(|| format!("{} in `{}`", describe(segment), self.prefix(depth)))?;
        }
        Ok(value.clone())
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

fn describe(segment: &Segment) -> String {
    match segment {
        Segment::Field(name) => format!("`{name}`"),
        Segment::Index(index) => format!("element {index}"),
    }
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
