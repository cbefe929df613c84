//! Three-way merge of trees, path by path.
//!
//! A path that both sides changed differently is a conflict, even where a merge of lines would
//! succeed: the simulation errs on the side of a conflict.

use std::collections::BTreeMap;

use super::object::{Mode, Objects, Oid};
use super::tree::{self, Change, Edit};

/// The merged tree, or `None` on a conflict.
pub(crate) fn merge_trees(
    objects: &mut Objects,
    ancestor: Oid,
    ours: Oid,
    theirs: Oid,
) -> Option<Oid> {
    if theirs == ancestor || theirs == ours {
        return Some(ours);
    }
    if ours == ancestor {
        return Some(theirs);
    }
    let (before, left, right) = (
        files(objects, ancestor),
        files(objects, ours),
        files(objects, theirs),
    );
    let mut edits = Vec::new();
    let paths = before
        .keys()
        .chain(right.keys().filter(|path| !before.contains_key(*path)));
    for path in paths {
        let (was, mine, other) = (before.get(path), left.get(path), right.get(path));
        if other == was || other == mine {
            continue;
        }
        if mine != was {
            return None;
        }
        let change = match other {
            Some((mode, oid)) => Change::Put {
                mode: *mode,
                oid: *oid,
            },
            None => Change::Remove,
        };
        edits.push(Edit {
            path: path.clone(),
            change,
        });
    }
    tree::build(objects, Some(ours), &edits)
        .ok()
        .map(|inserted| inserted.oid)
}

fn files(objects: &Objects, root: Oid) -> BTreeMap<String, (Mode, Oid)> {
    tree::walk(objects, root)
        .into_iter()
        .filter(|(_, entry)| entry.mode != Mode::Directory)
        .map(|(path, entry)| (path, (entry.mode, entry.oid)))
        .collect()
}
