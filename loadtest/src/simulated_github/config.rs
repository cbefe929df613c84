//! What the simulation starts with, and returns to on a reset.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::auth::{Access, Area};

/// GitHub's limit for a personal token; installations of large organisations have up to 12,500.
pub const DEFAULT_PRIMARY_LIMIT: u32 = 5_000;
/// GitHub's window of the primary limit.
pub const DEFAULT_PRIMARY_WINDOW: Duration = Duration::from_secs(3_600);

/// The whole start state.
#[derive(Debug, Clone)]
pub struct Config {
    /// Repositories that exist at the start.
    pub repositories: Vec<RepositorySeed>,
    /// Tokens that exist at the start.
    pub tokens: Vec<TokenSeed>,
    /// GitHub Apps that may ask for installation tokens.
    pub apps: Vec<AppSeed>,
    /// Requests per window and token.
    pub primary_limit: u32,
    /// How long a window of the primary limit is.
    pub primary_window: Duration,
    /// Mutations per minute and token before the secondary limit answers; `None` for no such limit.
    pub secondary_writes_per_minute: Option<u32>,
    /// Whether public repositories may be read without a token.
    pub anonymous: Anonymous,
    /// Seeds the probabilities of faults.
    pub seed: u64,
}

/// What a request without a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anonymous {
    /// 401, except for `/`, `/zen`, `/meta` and `/rate_limit`.
    Refused,
    /// Read public repositories, 60 requests per window.
    MayRead,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            repositories: Vec::new(),
            tokens: Vec::new(),
            apps: Vec::new(),
            primary_limit: DEFAULT_PRIMARY_LIMIT,
            primary_window: DEFAULT_PRIMARY_WINDOW,
            secondary_writes_per_minute: None,
            anonymous: Anonymous::Refused,
            seed: 0,
        }
    }
}

impl Config {
    /// Public repository `octo/factory` with issue #1, and `sim-token` that may write to everything.
    pub fn demo() -> Self {
        Self {
            repositories: vec![RepositorySeed::demo("octo/factory")],
            tokens: vec![TokenSeed::writer("sim-token", "sim-token")],
            ..Self::default()
        }
    }
}

/// Who may see a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everyone with a valid token.
    Public,
    /// Only tokens with an entry for it; others get 404.
    Private,
}

/// A repository with one commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositorySeed {
    /// `owner/name`.
    pub full_name: String,
    /// Public unless said otherwise.
    #[serde(default = "RepositorySeed::default_visibility")]
    pub visibility: Visibility,
    /// The branch that exists at the start.
    #[serde(default = "RepositorySeed::default_branch")]
    pub default_branch: String,
    /// Path to text content of the first commit.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Numbered from 1 in this order.
    #[serde(default)]
    pub issues: Vec<IssueSeed>,
}

impl RepositorySeed {
    /// A public repository with a README, a source file and one bug report.
    pub fn demo(full_name: &str) -> Self {
        let source = "/// Whether the user may log in.\npub fn may_log_in(user: &str) -> bool {\n    \
                      user.is_empty()\n}\n";
        let issue = IssueSeed {
            title: "Login button does nothing".to_owned(),
            body: "Steps:\n1. Open the start page.\n2. Enter a user name.\n3. Press *Log in*.\n\n\
                   Expected: the dashboard opens.\nActual: nothing happens."
                .to_owned(),
            labels: vec!["bug".to_owned()],
        };
        Self {
            full_name: full_name.to_owned(),
            visibility: Visibility::Public,
            default_branch: Self::default_branch(),
            files: BTreeMap::from([
                (
                    "README.md".to_owned(),
                    "# Factory\n\nA product of the factory.\n".to_owned(),
                ),
                ("src/lib.rs".to_owned(), source.to_owned()),
            ]),
            issues: vec![issue],
        }
    }

    fn default_visibility() -> Visibility {
        Visibility::Public
    }

    fn default_branch() -> String {
        "main".to_owned()
    }
}

/// An open issue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueSeed {
    /// The title.
    pub title: String,
    /// Markdown.
    #[serde(default)]
    pub body: String,
    /// Names of labels; created where they do not exist.
    #[serde(default)]
    pub labels: Vec<String>,
}

/// What kind of credential a token is; it decides the words of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// A personal access token.
    Personal,
    /// A token of an installation of a GitHub App.
    Installation,
}

/// A credential and what it may do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSeed {
    /// How the log of effects calls it; unique.
    pub name: String,
    /// What the client sends; unique.
    pub value: String,
    /// The account on whose behalf it acts.
    #[serde(default = "TokenSeed::default_login")]
    pub login: String,
    /// Personal unless said otherwise.
    #[serde(default = "TokenSeed::default_kind")]
    pub kind: TokenKind,
    /// Per repository (`owner/name`, or `*` for all others).
    pub access: BTreeMap<String, Access>,
    /// Narrows `access` per area; `None` for no narrowing.
    #[serde(default)]
    pub permissions: Option<BTreeMap<Area, Access>>,
    /// From then on: 401.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
    /// Its own primary limit.
    #[serde(default)]
    pub primary_limit: Option<u32>,
}

impl TokenSeed {
    /// A personal token that may write to every repository.
    pub fn writer(name: &str, value: &str) -> Self {
        Self::with_access(name, value, [("*", Access::Write)])
    }

    /// A personal token with the given access.
    pub fn with_access<'a>(
        name: &str,
        value: &str,
        access: impl IntoIterator<Item = (&'a str, Access)>,
    ) -> Self {
        let own = |(repository, access): (&str, Access)| (repository.to_owned(), access);
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
            login: Self::default_login(),
            kind: Self::default_kind(),
            access: access.into_iter().map(own).collect(),
            permissions: None,
            expires_at: None,
            primary_limit: None,
        }
    }

    fn default_login() -> String {
        "sim-bot".to_owned()
    }

    fn default_kind() -> TokenKind {
        TokenKind::Personal
    }
}

/// A GitHub App with its installations.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSeed {
    /// What the `iss` claim names.
    pub id: u64,
    /// The alternative value of the `iss` claim.
    #[serde(default)]
    pub client_id: Option<String>,
    /// The bot's account is `<slug>[bot]`.
    pub slug: String,
    /// Where it is installed.
    pub installations: Vec<InstallationSeed>,
}

impl AppSeed {
    /// An app that is installed on every repository of `owner`, with all permissions.
    pub fn installed_on(id: u64, installation_id: u64, owner: &str) -> Self {
        let areas = [Area::Contents, Area::Issues, Area::PullRequests];
        let mut permissions: BTreeMap<Area, Access> = areas
            .into_iter()
            .map(|area| (area, Access::Write))
            .collect();
        permissions.insert(Area::Metadata, Access::Read);
        let installation = InstallationSeed {
            id: installation_id,
            account: owner.to_owned(),
            repositories: None,
            permissions,
        };
        Self {
            id,
            client_id: None,
            slug: "afu9".to_owned(),
            installations: vec![installation],
        }
    }
}

/// An app on one account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallationSeed {
    /// The id in `/app/installations/{id}/access_tokens`.
    pub id: u64,
    /// The owner whose repositories it covers.
    pub account: String,
    /// `owner/name` of selected repositories; `None` for all of the account.
    #[serde(default)]
    pub repositories: Option<Vec<String>>,
    /// What its tokens may do at most.
    pub permissions: BTreeMap<Area, Access>,
}
