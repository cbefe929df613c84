//! Blobs, trees and commits, their git encodings, and the database that keeps them.
//!
//! Invariant: every parent of a stored commit and every tree of a stored commit is stored; the
//! callers check before they insert, and objects are never removed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use chrono::{DateTime, FixedOffset};
use sha1::{Digest as _, Sha1};

/// The SHA-1 of an object's git encoding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Oid([u8; 20]);

impl Oid {
    fn of(kind: &str, body: &[u8]) -> Self {
        let mut hasher = Sha1::new();
        hasher.update(kind.as_bytes());
        hasher.update(b" ");
        hasher.update(body.len().to_string().as_bytes());
        hasher.update([0]);
        hasher.update(body);
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Oid {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 20];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// The type of an object, as GitHub spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Blob,
    Tree,
    Commit,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Tree => "tree",
            Self::Commit => "commit",
        }
    }
}

/// The mode of a tree entry; git knows exactly these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    File,
    Executable,
    Symlink,
    Directory,
    Submodule,
}

impl Mode {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "100644" => Some(Self::File),
            "100755" => Some(Self::Executable),
            "120000" => Some(Self::Symlink),
            "040000" => Some(Self::Directory),
            "160000" => Some(Self::Submodule),
            _ => None,
        }
    }

    /// Six digits, as the API shows it; the encoding drops the leading zero.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
            Self::Directory => "040000",
            Self::Submodule => "160000",
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::File | Self::Executable | Self::Symlink => Kind::Blob,
            Self::Directory => Kind::Tree,
            Self::Submodule => Kind::Commit,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeEntry {
    pub(crate) name: String,
    pub(crate) mode: Mode,
    pub(crate) oid: Oid,
}

/// Who made a commit, and when. The offset is part of the encoding, so it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) when: DateTime<FixedOffset>,
}

impl Signature {
    fn encode(&self) -> String {
        // git drops the characters that would end a field of the line.
        let clean = |text: &str| text.replace(['<', '>', '\n', '\0'], "").trim().to_owned();
        format!(
            "{} <{}> {} {}",
            clean(&self.name),
            clean(&self.email),
            self.when.timestamp(),
            self.when.format("%z"),
        )
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) tree: Oid,
    pub(crate) parents: Vec<Oid>,
    pub(crate) author: Signature,
    pub(crate) committer: Signature,
    pub(crate) message: String,
}

#[derive(Debug)]
enum Object {
    Blob(Bytes),
    Tree(Vec<TreeEntry>),
    Commit { commit: Commit, generation: u64 },
}

/// The result of storing an object: equal content is stored once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inserted {
    pub(crate) oid: Oid,
    pub(crate) is_new: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Objects {
    by_oid: HashMap<Oid, Object>,
}

impl Objects {
    pub(crate) fn blob(&self, oid: Oid) -> Option<&Bytes> {
        match self.by_oid.get(&oid) {
            Some(Object::Blob(content)) => Some(content),
            _ => None,
        }
    }

    pub(crate) fn tree(&self, oid: Oid) -> Option<&[TreeEntry]> {
        match self.by_oid.get(&oid) {
            Some(Object::Tree(entries)) => Some(entries),
            _ => None,
        }
    }

    pub(crate) fn commit(&self, oid: Oid) -> Option<&Commit> {
        match self.by_oid.get(&oid) {
            Some(Object::Commit { commit, .. }) => Some(commit),
            _ => None,
        }
    }

    /// One more than the longest way to a root: an ancestor's generation is always smaller.
    pub(crate) fn generation(&self, oid: Oid) -> u64 {
        match self.by_oid.get(&oid) {
            Some(Object::Commit { generation, .. }) => *generation,
            _ => 0,
        }
    }

    pub(crate) fn insert_blob(&mut self, content: Bytes) -> Inserted {
        let oid = Oid::of("blob", &content);
        self.insert(oid, Object::Blob(content))
    }

    /// Stores a tree; the entries may come in any order.
    pub(crate) fn insert_tree(&mut self, mut entries: Vec<TreeEntry>) -> Inserted {
        entries.sort_by_key(sort_key);
        let mut body = Vec::new();
        for entry in &entries {
            body.extend_from_slice(entry.mode.as_str().trim_start_matches('0').as_bytes());
            body.push(b' ');
            body.extend_from_slice(entry.name.as_bytes());
            body.push(0);
            body.extend_from_slice(&entry.oid.0);
        }
        self.insert(Oid::of("tree", &body), Object::Tree(entries))
    }

    pub(crate) fn insert_commit(&mut self, commit: Commit) -> Inserted {
        let mut body = format!("tree {}\n", commit.tree);
        for parent in &commit.parents {
            body.push_str(&format!("parent {parent}\n"));
        }
        body.push_str(&format!("author {}\n", commit.author.encode()));
        body.push_str(&format!("committer {}\n\n", commit.committer.encode()));
        body.push_str(&commit.message);
        let generation = 1 + commit
            .parents
            .iter()
            .map(|parent| self.generation(*parent))
            .max()
            .unwrap_or(0);
        let oid = Oid::of("commit", body.as_bytes());
        self.insert(oid, Object::Commit { commit, generation })
    }

    fn insert(&mut self, oid: Oid, object: Object) -> Inserted {
        match self.by_oid.entry(oid) {
            Entry::Occupied(_) => Inserted { oid, is_new: false },
            Entry::Vacant(place) => {
                place.insert(object);
                Inserted { oid, is_new: true }
            }
        }
    }
}

/// git sorts a directory as if its name ended with a slash.
fn sort_key(entry: &TreeEntry) -> Vec<u8> {
    let mut key = entry.name.as_bytes().to_vec();
    if entry.mode == Mode::Directory {
        key.push(b'/');
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_git() {
        let mut objects = Objects::default();
        let empty = objects.insert_blob(Bytes::new());
        assert_eq!(
            empty.oid.to_string(),
            "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
        );
        assert!(!objects.insert_blob(Bytes::new()).is_new);
        assert_eq!(
            objects
                .insert_blob(Bytes::from_static(b"hello\n"))
                .oid
                .to_string(),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
        let tree = objects.insert_tree(Vec::new());
        assert_eq!(
            tree.oid.to_string(),
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        );
    }
}
