//! Which names the expressions of a node can know.

use afu9_schemas::view::StepRole;

use super::Node;
use crate::expression::{Expression, Path, Segment};

/// The place of an expression: what it sees beside the steps before it.
pub(super) struct Names<'a> {
    pub(super) nodes: &'a [Node],
    /// Numbers of the nodes whose outputs it sees.
    pub(super) sees: &'a dyn Fn(u32) -> bool,
    /// Roots it knows beside `input`, `repo`, `execution` and `steps`.
    pub(super) extra: Vec<&'a str>,
}

impl Names<'_> {
    /// Each mistake with the character of its string at which it stands.
    pub(super) fn mistakes_of(&self, expression: &Expression) -> Vec<(usize, String)> {
        let mut mistakes = Vec::new();
        for (at, path) in expression.paths() {
            if !self.knows(path.root()) {
                let (source, root) = (expression.source(), path.root());
                let known = self.known();
                let message =
                    format!("`${{{source}}}`: there is no `{root}`; known here are {known}");
                mistakes.push((at, message));
            } else if let Some(message) = self.step_mistake(&path) {
                mistakes.push((at, message));
            }
        }
        mistakes
    }

    fn knows(&self, root: &str) -> bool {
        matches!(root, "input" | "repo" | "execution" | "steps")
            || self.extra.contains(&root)
            || self
                .visible()
                .any(|node| node.assign.as_deref() == Some(root))
    }

    fn known(&self) -> String {
        let mut known = vec!["input", "repo", "execution", "steps.<name>.output"];
        known.extend(&self.extra);
        known.extend(self.visible().filter_map(|node| node.assign.as_deref()));
        known.dedup();
        known.join(", ")
    }

    fn visible(&self) -> impl Iterator<Item = &Node> {
        self.nodes
            .iter()
            .enumerate()
            .filter(|(index, node)| {
                node.role != StepRole::Compensation
                    && (self.sees)(u32::try_from(*index).unwrap_or(u32::MAX))
            })
            .map(|(_, node)| node)
    }

    /// `steps.x` must be a step that is ordered before.
    fn step_mistake(&self, path: &Path) -> Option<String> {
        if path.root() != "steps" {
            return None;
        }
        let Some(Segment::Field(name)) = path.segments().first() else {
            return None;
        };
        if self.visible().any(|node| node.name == *name) {
            return None;
        }
        let exists = self.nodes.iter().any(|node| node.name == *name);
        Some(if exists {
            format!("`steps.{name}` is not ordered before this step; add it to `needs`")
        } else {
            format!("there is no step `{name}`")
        })
    }
}
