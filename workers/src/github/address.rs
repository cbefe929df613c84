//! Names that become parts of an address: owner, repository, branch.
//!
//! They come from workflow parameters, hence from anywhere. Each is checked against what GitHub and
//! Git allow before it gets near a URL, so that no name can turn a request into another one.

use crate::ToolError;

/// GitHub allows 39 characters for a login and 100 for a repository; one bound serves for both.
const NAME_MAX_CHARS: usize = 100;

/// GitHub keeps refs as files: 255 bytes less `refs/heads/`.
const BRANCH_MAX_BYTES: usize = 244;

/// A repository whose names are safe in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository {
    owner: String,
    name: String,
}

impl Repository {
    /// # Errors
    /// `params.invalid` when a name has characters that GitHub does not allow in one.
    pub(super) fn new(owner: &str, name: &str) -> Result<Self, ToolError> {
        if !is_name(owner) || owner.contains('.') {
            return Err(invalid(format!("`{owner:.120}` is not a login on GitHub")));
        }
        if !is_name(name) || name == "." || name == ".." {
            return Err(invalid(format!(
                "`{name:.120}` is not the name of a repository on GitHub"
            )));
        }
        Ok(Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
        })
    }

    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    /// `/repos/<owner>/<name>/<rest>`; the caller has encoded `rest`.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/repos/{}/{}/{rest}", self.owner, self.name)
    }
}

impl std::fmt::Display for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_MAX_CHARS
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Checks the name of a branch by the rules of `git check-ref-format`.
///
/// # Errors
/// `params.invalid`, naming the parameter and the name.
pub(super) fn check_branch(parameter: &str, branch: &str) -> Result<(), ToolError> {
    let component_is_fine =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let is_fine = branch.len() <= BRANCH_MAX_BYTES
        && branch != "@"
        && !branch.starts_with('-')
        && !branch.ends_with('.')
        && !branch.contains("..")
        && !branch.contains("@{")
        && !branch
            .chars()
            .any(|c| c.is_control() || " ~^:?*[\\".contains(c))
        && branch.split('/').all(component_is_fine);
    if is_fine {
        Ok(())
    } else {
        Err(invalid(format!(
            "`{parameter}`: `{branch:.300}` is not a valid name of a branch"
        )))
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters and `/`, which GitHub takes
/// literally in refs.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A permanent error about parameters.
pub(super) fn invalid(message: String) -> ToolError {
    ToolError::permanent("params.invalid", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_github_allows_pass() {
        for (owner, name) in [("octo", "demo"), ("a-b_c", ".github"), ("A1", "x.y-z_0")] {
            assert!(Repository::new(owner, name).is_ok(), "{owner}/{name}");
        }
    }

    #[test]
    fn names_that_would_change_the_path_are_refused() {
        for (owner, name) in [
            ("", "demo"),
            ("..", "demo"),
            ("octo/x", "demo"),
            ("octo", ""),
            ("octo", "."),
            ("octo", ".."),
            ("octo", "../other"),
            ("octo", "demo?x=1"),
            ("octo", "demo#"),
            ("octo", "d%2Fe"),
            ("octo", "dé"),
        ] {
            let error = Repository::new(owner, name).unwrap_err();
            assert_eq!(error.error.code, "params.invalid", "{owner}/{name}");
        }
    }

    #[test]
    fn branches_follow_the_rules_of_git() {
        for branch in ["main", "feature/x", "a.b", "ü/日本", "x%y", "a#b", "x-"] {
            assert!(check_branch("branch", branch).is_ok(), "{branch}");
        }
        for branch in [
            "", "/x", "x/", "a//b", "..", "a/../b", ".x", "a/.b", "x.lock", "x.lock/y", "a b",
            "a~b", "a^", "a:b", "a?b", "a*b", "a[b", "a\\b", "a\nb", "@", "a@{b", "x.", "-x",
        ] {
            assert!(check_branch("branch", branch).is_err(), "{branch}");
        }
    }

    #[test]
    fn encoding_keeps_slashes_and_nothing_special() {
        assert_eq!(encode("feature/x-1.2_3~"), "feature/x-1.2_3~");
        assert_eq!(encode("a#b?c&d%e+f g"), "a%23b%3Fc%26d%25e%2Bf%20g");
        assert_eq!(encode("ü"), "%C3%BC");
    }
}
