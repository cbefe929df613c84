//! Questions about ancestry.
//!
//! Commits are visited in the order of falling generation numbers, so the work is bounded by how
//! far two commits diverged, not by how long the history is.

use std::collections::{BinaryHeap, HashMap, HashSet};

use super::object::{Objects, Oid};

/// How two commits relate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Divergence {
    /// Reachable from the head only, newest first.
    pub(crate) ahead: Vec<Oid>,
    /// Reachable from the base only, newest first.
    pub(crate) behind: Vec<Oid>,
    /// The best common ancestor; none if the histories are unrelated.
    pub(crate) merge_base: Option<Oid>,
}

const BASE: u8 = 1;
const HEAD: u8 = 2;
const BOTH: u8 = BASE | HEAD;

/// Compares the histories of two stored commits.
pub(crate) fn divergence(objects: &Objects, base: Oid, head: Oid) -> Divergence {
    let mut sides: HashMap<Oid, u8> = HashMap::new();
    let mut queue = BinaryHeap::new();
    // Entries of the queue that do not belong to both sides: when none is left, all is known.
    let mut open = 0_usize;
    let mut found = Divergence {
        ahead: Vec::new(),
        behind: Vec::new(),
        merge_base: None,
    };
    let mut reach = |oid: Oid, side: u8, queue: &mut BinaryHeap<(u64, Oid)>, open: &mut usize| {
        let known = sides.entry(oid).or_insert(0);
        let before = *known;
        *known |= side;
        if before == 0 {
            queue.push((objects.generation(oid), oid));
        }
        match (before == 0 || before == BOTH, *known == BOTH) {
            (true, false) => *open += 1,
            (false, true) => *open -= 1,
            _ => {}
        }
        *known
    };
    reach(base, BASE, &mut queue, &mut open);
    reach(head, HEAD, &mut queue, &mut open);
    while let Some((_, oid)) = queue.pop() {
        let side = reach(oid, 0, &mut queue, &mut open);
        match side {
            BOTH => {
                found.merge_base.get_or_insert(oid);
            }
            HEAD => found.ahead.push(oid),
            _ => found.behind.push(oid),
        }
        if side != BOTH {
            open -= 1;
        }
        for parent in objects
            .commit(oid)
            .map(|commit| commit.parents.as_slice())
            .unwrap_or_default()
        {
            reach(*parent, side, &mut queue, &mut open);
        }
        if open == 0 && found.merge_base.is_some() {
            break;
        }
    }
    found
}

/// Commits reachable from `head`, newest first: `skip` are left out, at most `take` are returned.
pub(crate) fn log(objects: &Objects, head: Oid, skip: usize, take: usize) -> Vec<Oid> {
    let mut queue = BinaryHeap::from([(objects.generation(head), head)]);
    let mut seen = HashSet::from([head]);
    let mut visited = Vec::new();
    while visited.len() < skip + take
        && let Some((_, oid)) = queue.pop()
    {
        visited.push(oid);
        for parent in objects
            .commit(oid)
            .map(|commit| commit.parents.as_slice())
            .unwrap_or_default()
        {
            if seen.insert(*parent) {
                queue.push((objects.generation(*parent), *parent));
            }
        }
    }
    visited.split_off(skip.min(visited.len()))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::object::{Commit, Signature};
    use super::*;

    fn commit(objects: &mut Objects, message: &str, parents: &[Oid]) -> Oid {
        let when = DateTime::UNIX_EPOCH.fixed_offset();
        let by = Signature {
            name: "a".to_owned(),
            email: "a@b".to_owned(),
            when,
        };
        let tree = objects.insert_tree(Vec::new()).oid;
        let message = message.to_owned();
        let parents = parents.to_vec();
        let commit = Commit {
            tree,
            parents,
            author: by.clone(),
            committer: by,
            message,
        };
        objects.insert_commit(commit).oid
    }

    #[test]
    fn divergence_of_a_fork_a_line_and_strangers() {
        let mut objects = Objects::default();
        let root = commit(&mut objects, "root", &[]);
        let left = commit(&mut objects, "left", &[root]);
        let right = commit(&mut objects, "right", &[root]);
        let merged = commit(&mut objects, "merged", &[left, right]);
        let stranger = commit(&mut objects, "stranger", &[]);

        let fork = divergence(&objects, left, right);
        let expected = Divergence {
            ahead: vec![right],
            behind: vec![left],
            merge_base: Some(root),
        };
        assert_eq!(fork, expected);

        let line = divergence(&objects, left, merged);
        assert_eq!(line.ahead.len(), 2);
        assert_eq!((line.behind.len(), line.merge_base), (0, Some(left)));

        let same = divergence(&objects, root, root);
        assert_eq!(
            (same.ahead.len(), same.behind.len(), same.merge_base),
            (0, 0, Some(root))
        );
        assert_eq!(divergence(&objects, root, stranger).merge_base, None);
        assert_eq!(log(&objects, merged, 0, 9).len(), 4);
        assert_eq!(log(&objects, merged, 3, 9), [root]);
    }
}
