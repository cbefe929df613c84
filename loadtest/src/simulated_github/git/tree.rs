//! Reading trees by path, and building a tree from another one and a list of edits.

use std::collections::BTreeMap;

use super::object::{Inserted, Mode, Objects, Oid, TreeEntry};

/// Deeper paths are refused, because building a tree recurses once per directory.
pub(crate) const PATH_DEPTH_LIMIT: usize = 64;

/// What to do at one path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Put { mode: Mode, oid: Oid },
    Remove,
}

#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) path: String,
    pub(crate) change: Change,
}

/// Why a tree cannot be built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EditError {
    /// Empty, absolute, with `.` or `..` or `.git`, or too deep.
    MalformedPath(String),
    /// A removal of what is not there.
    AbsentPath(String),
}

/// Finds the entry at `path` below the tree `root`.
pub(crate) fn lookup(objects: &Objects, root: Oid, path: &str) -> Option<TreeEntry> {
    let mut found: Option<TreeEntry> = None;
    for name in path.split('/') {
        let directory = match &found {
            None => root,
            Some(entry) if entry.mode == Mode::Directory => entry.oid,
            Some(_) => return None,
        };
        let entries = objects.tree(directory)?;
        found = Some(entries.iter().find(|entry| entry.name == name)?.clone());
    }
    found
}

/// All entries below `root` in depth-first order, directories before what they hold, as full paths.
pub(crate) fn walk(objects: &Objects, root: Oid) -> Vec<(String, TreeEntry)> {
    let mut found = Vec::new();
    walk_into(objects, root, "", &mut found);
    found
}

fn walk_into(objects: &Objects, tree: Oid, prefix: &str, found: &mut Vec<(String, TreeEntry)>) {
    for entry in objects.tree(tree).unwrap_or_default() {
        let path = format!("{prefix}{}", entry.name);
        let below = format!("{path}/");
        found.push((path, entry.clone()));
        if entry.mode == Mode::Directory {
            walk_into(objects, entry.oid, &below, found);
        }
    }
}

/// Stores the tree that results from `edits` on top of `base`; later edits of a path win.
pub(crate) fn build(
    objects: &mut Objects,
    base: Option<Oid>,
    edits: &[Edit],
) -> Result<Inserted, EditError> {
    let mut split = Vec::with_capacity(edits.len());
    for edit in edits {
        let parts: Vec<&str> = edit.path.split('/').collect();
        let malformed = |part: &&str| {
            part.is_empty() || matches!(*part, "." | ".." | ".git") || part.contains('\0')
        };
        if parts.len() > PATH_DEPTH_LIMIT || parts.iter().any(malformed) {
            return Err(EditError::MalformedPath(edit.path.clone()));
        }
        split.push((parts, edit.change));
    }
    let borrowed: Vec<(&[&str], Change)> = split
        .iter()
        .map(|(parts, change)| (parts.as_slice(), *change))
        .collect();
    let entries = build_level(objects, base, &borrowed)?;
    Ok(objects.insert_tree(entries))
}

fn build_level(
    objects: &mut Objects,
    base: Option<Oid>,
    edits: &[(&[&str], Change)],
) -> Result<Vec<TreeEntry>, EditError> {
    let mut entries: BTreeMap<String, (Mode, Oid)> = base
        .and_then(|oid| objects.tree(oid))
        .unwrap_or_default()
        .iter()
        .map(|entry| (entry.name.clone(), (entry.mode, entry.oid)))
        .collect();
    let mut below: BTreeMap<&str, Vec<(&[&str], Change)>> = BTreeMap::new();
    for (path, change) in edits {
        match (path, change) {
            ([name], Change::Put { mode, oid }) => {
                entries.insert((*name).to_owned(), (*mode, *oid));
            }
            ([name], Change::Remove) => {
                if entries.remove(*name).is_none() {
                    return Err(EditError::AbsentPath((*name).to_owned()));
                }
            }
            ([name, rest @ ..], change) => below.entry(name).or_default().push((rest, *change)),
            ([], _) => {}
        }
    }
    for (name, edits) in below {
        let child = match entries.get(name) {
            Some((Mode::Directory, oid)) => Some(*oid),
            _ => None,
        };
        let inner = build_level(objects, child, &edits)?;
        if inner.is_empty() {
            // git has no empty directories.
            entries.remove(name);
        } else {
            let oid = objects.insert_tree(inner).oid;
            entries.insert(name.to_owned(), (Mode::Directory, oid));
        }
    }
    let build_entry = |(name, (mode, oid))| TreeEntry { name, mode, oid };
    Ok(entries.into_iter().map(build_entry).collect())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn put(path: &str, oid: Oid) -> Edit {
        Edit {
            path: path.to_owned(),
            change: Change::Put {
                mode: Mode::File,
                oid,
            },
        }
    }

    #[test]
    fn an_edit_keeps_what_it_does_not_name_and_drops_empty_directories() {
        let mut objects = Objects::default();
        let blob = objects.insert_blob(Bytes::from_static(b"x")).oid;
        let edits = [put("a/b/c", blob), put("d", blob)];
        let first = build(&mut objects, None, &edits).expect("well-formed").oid;
        let remove = Edit {
            path: "a/b/c".to_owned(),
            change: Change::Remove,
        };
        let second = build(&mut objects, Some(first), &[remove])
            .expect("present")
            .oid;
        assert!(lookup(&objects, first, "a/b/c").is_some());
        let left: Vec<String> = walk(&objects, second)
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        assert_eq!(left, ["d"]);
    }

    #[test]
    fn paths_that_leave_the_tree_are_refused() {
        let mut objects = Objects::default();
        let blob = objects.insert_blob(Bytes::new()).oid;
        for path in [
            "",
            "/a",
            "a//b",
            "../a",
            ".git/config",
            &"a/".repeat(PATH_DEPTH_LIMIT + 1),
        ] {
            let built = build(&mut objects, None, &[put(path, blob)]);
            assert_eq!(built.err(), Some(EditError::MalformedPath(path.to_owned())));
        }
    }
}
