//! A small git object database in memory.
//!
//! Invariant: an object's id is the SHA-1 of its real git encoding, so equal content has an equal id
//! here, on GitHub and in any clone. Nothing in here knows HTTP, references or pull requests.

pub(crate) mod diff;
pub(crate) mod history;
pub(crate) mod merge;
pub(crate) mod object;
pub(crate) mod tree;

pub(crate) use object::{Commit, Inserted, Kind, Mode, Objects, Oid, Signature, TreeEntry};
