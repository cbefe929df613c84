//! Differences between two trees, as a list of files and as a unified diff.
//!
//! A file's difference is one hunk: the lines between the common beginning and the common end.

use std::fmt::Write as _;

use super::object::{Mode, Objects, Oid, TreeEntry};

/// Lines of context around a hunk, as `git diff` shows.
const CONTEXT_LINES: usize = 3;

#[derive(Debug, Clone)]
pub(crate) struct FileChange {
    pub(crate) path: String,
    pub(crate) before: Option<(Mode, Oid)>,
    pub(crate) after: Option<(Mode, Oid)>,
}

impl FileChange {
    /// The word of the API.
    pub(crate) fn status(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "modified",
        }
    }
}

/// The hunk of one file.
#[derive(Debug, Default)]
pub(crate) struct Patch {
    pub(crate) additions: usize,
    pub(crate) deletions: usize,
    /// `None` for content that is not text.
    pub(crate) text: Option<String>,
}

/// The files that differ, sorted by path. Equal subtrees are not visited.
pub(crate) fn changes(
    objects: &Objects,
    before: Option<Oid>,
    after: Option<Oid>,
) -> Vec<FileChange> {
    let mut found = Vec::new();
    compare(objects, before, after, "", &mut found);
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

fn compare(
    objects: &Objects,
    before: Option<Oid>,
    after: Option<Oid>,
    prefix: &str,
    found: &mut Vec<FileChange>,
) {
    if before == after {
        return;
    }
    let entries = |oid: Option<Oid>| oid.and_then(|oid| objects.tree(oid)).unwrap_or_default();
    let (old, new) = (entries(before), entries(after));
    let named = |entries: &'_ [TreeEntry], name: &str| {
        entries
            .iter()
            .find(|entry| entry.name == name)
            .map(|entry| (entry.mode, entry.oid))
    };
    let names = old
        .iter()
        .chain(new.iter().filter(|entry| named(old, &entry.name).is_none()));
    for TreeEntry { name, .. } in names {
        let (was, is) = (named(old, name), named(new, name));
        if was == is {
            continue;
        }
        let path = format!("{prefix}{name}");
        let directory =
            |side: Option<(Mode, Oid)>| side.filter(|(mode, _)| *mode == Mode::Directory);
        let file = |side: Option<(Mode, Oid)>| side.filter(|(mode, _)| *mode != Mode::Directory);
        if directory(was).or(directory(is)).is_some() {
            let below = format!("{path}/");
            let oid = |side| directory(side).map(|(_, oid)| oid);
            compare(objects, oid(was), oid(is), &below, found);
        }
        if file(was).or(file(is)).is_some() {
            found.push(FileChange {
                path,
                before: file(was),
                after: file(is),
            });
        }
    }
}

/// The hunk of one changed file.
pub(crate) fn patch(objects: &Objects, change: &FileChange) -> Patch {
    let text = |side: Option<(Mode, Oid)>| match side {
        None => Some(""),
        Some((Mode::Submodule, _)) => None,
        Some((_, oid)) => objects
            .blob(oid)
            .and_then(|content| std::str::from_utf8(content).ok()),
    };
    let (Some(old), Some(new)) = (text(change.before), text(change.after)) else {
        return Patch::default();
    };
    let (old, new): (Vec<&str>, Vec<&str>) = (
        old.split_inclusive('\n').collect(),
        new.split_inclusive('\n').collect(),
    );
    let start = old
        .iter()
        .zip(&new)
        .take_while(|(left, right)| left == right)
        .count();
    let rest = old.len().min(new.len()) - start;
    let end = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(rest)
        .take_while(|(left, right)| left == right)
        .count();
    let (removed, added) = (&old[start..old.len() - end], &new[start..new.len() - end]);
    let first = start.saturating_sub(CONTEXT_LINES);
    let (lead, tail_len) = (&old[first..start], end.min(CONTEXT_LINES));
    let tail = &old[old.len() - end..old.len() - end + tail_len];
    let mut text = String::new();
    if !(removed.is_empty() && added.is_empty()) {
        let range = |changed: usize| {
            let lines = lead.len() + changed + tail.len();
            let line = if lines == 0 { 0 } else { first + 1 };
            if lines == 1 {
                format!("{line}")
            } else {
                format!("{line},{lines}")
            }
        };
        let _ = write!(
            text,
            "@@ -{} +{} @@",
            range(removed.len()),
            range(added.len())
        );
        for (sign, lines) in [(' ', lead), ('-', removed), ('+', added), (' ', tail)] {
            for line in lines {
                let _ = write!(text, "\n{sign}{}", line.trim_end_matches('\n'));
                if !line.ends_with('\n') {
                    text.push_str("\n\\ No newline at end of file");
                }
            }
        }
    }
    Patch {
        additions: added.len(),
        deletions: removed.len(),
        text: Some(text),
    }
}

/// All changes as one unified diff in the format of git.
pub(crate) fn unified(objects: &Objects, changes: &[FileChange]) -> String {
    let mut out = String::new();
    for change in changes {
        let path = &change.path;
        let short = |side: &Option<(Mode, Oid)>| match side {
            Some((_, oid)) => oid.to_string()[..7].to_owned(),
            None => "0000000".to_owned(),
        };
        let (old, new) = (short(&change.before), short(&change.after));
        let _ = writeln!(out, "diff --git a/{path} b/{path}");
        let _ = match (&change.before, &change.after) {
            (None, Some((mode, _))) => {
                writeln!(out, "new file mode {}\nindex {old}..{new}", mode.as_str())
            }
            (Some((mode, _)), None) => {
                writeln!(
                    out,
                    "deleted file mode {}\nindex {old}..{new}",
                    mode.as_str()
                )
            }
            (Some((was, _)), Some((is, _))) if was != is => {
                let (was, is) = (was.as_str(), is.as_str());
                writeln!(out, "old mode {was}\nnew mode {is}\nindex {old}..{new}")
            }
            (_, Some((mode, _))) => writeln!(out, "index {old}..{new} {}", mode.as_str()),
            (None, None) => Ok(()),
        };
        match patch(objects, change).text {
            None => {
                let _ = writeln!(out, "Binary files differ");
            }
            Some(hunk) if hunk.is_empty() => {}
            Some(hunk) => {
                let side = |prefix: &str, side: &Option<(Mode, Oid)>| match side {
                    Some(_) => format!("{prefix}/{path}"),
                    None => "/dev/null".to_owned(),
                };
                let (from, to) = (side("a", &change.before), side("b", &change.after));
                let _ = writeln!(out, "--- {from}\n+++ {to}\n{hunk}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_hunk_has_context_and_counts() {
        let mut objects = Objects::default();
        let old = objects
            .insert_blob(Bytes::from_static(b"1\n2\n3\n4\n5\n6\n7\n8\n"))
            .oid;
        let new = objects
            .insert_blob(Bytes::from_static(b"1\n2\n3\n4\nfive\n6\n7\n8\n"))
            .oid;
        let change = FileChange {
            path: "n".to_owned(),
            before: Some((Mode::File, old)),
            after: Some((Mode::File, new)),
        };
        let patch = patch(&objects, &change);
        assert_eq!((patch.additions, patch.deletions), (1, 1));
        let expected = "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8";
        assert_eq!(patch.text.as_deref(), Some(expected));
    }
}
