//! References: creation, movement under the fast-forward rule, deletion.

use super::super::failure::Failure;
use super::super::git::Oid;
use super::super::git::history;
use super::Repository;

/// Whether a reference may lose commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Movement {
    FastForward,
    Forced,
}

impl Repository {
    /// # Errors
    /// 422 for a malformed or taken name, or an id that is not a stored commit.
    pub(crate) fn create_ref(&mut self, name: &str, sha: &str) -> Result<Oid, Failure> {
        if !name.starts_with("refs/") || name.matches('/').count() < 2 {
            return Err(Failure::unprocessable(
                "Reference name must start with 'refs/' and contain at least two slashes.",
            ));
        }
        if !is_well_formed(name) {
            return Err(Failure::unprocessable(format!(
                "{name} is not a valid ref name."
            )));
        }
        let oid = self.commit_for_ref(sha)?;
        if self.refs.contains_key(name) {
            return Err(Failure::unprocessable("Reference already exists"));
        }
        // git keeps references as files: `a` and `a/b` cannot both exist.
        let below = format!("{name}/");
        let is_directory = self
            .refs
            .range(below.clone()..)
            .next()
            .is_some_and(|(next, _)| next.starts_with(&below));
        let mut parents = name.rmatch_indices('/').map(|(at, _)| &name[..at]);
        if is_directory || parents.any(|parent| self.refs.contains_key(parent)) {
            return Err(Failure::unprocessable("Reference update failed"));
        }
        self.set_ref(name, oid);
        Ok(oid)
    }

    /// The new target, and whether the reference moved.
    ///
    /// # Errors
    /// 422 for an absent reference, an unknown commit, or a movement that loses commits.
    pub(crate) fn update_ref(
        &mut self,
        name: &str,
        sha: &str,
        movement: Movement,
    ) -> Result<(Oid, bool), Failure> {
        let Some(current) = self.refs.get(name).copied() else {
            return Err(Failure::unprocessable("Reference does not exist"));
        };
        let target = self.commit_for_ref(sha)?;
        if movement == Movement::FastForward
            && !history::divergence(&self.objects, current, target)
                .behind
                .is_empty()
        {
            return Err(Failure::unprocessable("Update is not a fast forward"));
        }
        if current != target {
            self.set_ref(name, target);
        }
        Ok((target, current != target))
    }

    /// # Errors
    /// 422 for an absent reference or the default branch.
    pub(crate) fn delete_ref(&mut self, name: &str) -> Result<(), Failure> {
        if name == format!("refs/heads/{}", self.place.default_branch) {
            return Err(Failure::unprocessable("Cannot delete the default branch"));
        }
        if self.refs.remove(name).is_none() {
            return Err(Failure::unprocessable("Reference does not exist"));
        }
        if let Some(branch) = name.strip_prefix("refs/heads/") {
            self.close_pulls_of(branch);
        }
        Ok(())
    }

    fn commit_for_ref(&self, sha: &str) -> Result<Oid, Failure> {
        let Ok(oid) = sha.parse::<Oid>() else {
            let message = format!(
                "The sha parameter must be exactly 40 characters and contain only [0-9a-f]: {sha}"
            );
            return Err(Failure::unprocessable(message));
        };
        match self.objects.commit(oid) {
            Some(_) => Ok(oid),
            None => Err(Failure::unprocessable("Object does not exist")),
        }
    }
}

/// The rules of `git check-ref-format` that clients run into.
fn is_well_formed(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    !name.contains(forbidden)
        && !["..", "@{", "//"].iter().any(|part| name.contains(part))
        && !name.ends_with(['/', '.'])
        && name
            .split('/')
            .all(|part| !part.starts_with('.') && !part.ends_with(".lock"))
}
