//! What the environment asks for, and the environment that the processes get in turn.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use afu9_servers::Durability;
use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::{Options, REPOSITORY, WORKFLOW};
use crate::cargo;

/// The token that the simulated GitHub accepts; it protects nothing.
pub(super) const SIMULATOR_TOKEN: &str = "sim-token";

/// The label that starts the workflow.
pub(crate) const LABEL: &str = "afu9";

/// Variables that steer set-up itself and are no configuration of AFU-9.
const OURS: [&str; 6] = [
    "AFU9_NATS_SERVER",
    "AFU9_NATS_SOURCE",
    "AFU9_POSTGRES_BIN",
    "AFU9_POSTGRES_SOURCE",
    "AFU9_TEST_CONTAINERS",
    "AFU9_TEST_DATABASE_URL",
];

/// The addresses of outside systems as far as they are known, and the secrets of this run.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) nats_url: Option<String>,
    pub(super) database_url: Option<String>,
    pub(super) github_url: Option<String>,
    github_token: Option<String>,
    durability: Durability,
    token: String,
    webhook_secret: String,
}

impl Settings {
    pub(super) fn from_environment(options: &Options) -> Result<Self> {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Ok(Self {
            nats_url: set("AFU9_NATS__URL"),
            database_url: set("AFU9_DATABASE__URL"),
            github_url: set("AFU9_GITHUB__BASE_URL"),
            github_token: None,
            durability: options.durability,
            token: secret()?,
            webhook_secret: secret()?,
        })
    }

    pub(super) fn use_simulator(&mut self, url: String) {
        self.github_url = Some(url);
        self.github_token = Some(SIMULATOR_TOKEN.to_owned());
    }

    pub(super) fn addresses(&self, api_url: String) -> Result<super::Addresses> {
        Ok(super::Addresses {
            nats_url: self.nats_url.clone().context("no NATS")?,
            database_url: self.database_url.clone().context("no Postgres")?,
            api_url,
            github_url: self.github_url.clone(),
            token: self.token.clone(),
            webhook_secret: self.webhook_secret.clone(),
        })
    }

    /// The configuration of AFU-9, as environment variables. Writes the routes to a file on the way.
    pub(super) fn environment(
        &self,
        api_url: &str,
        directory: &Path,
    ) -> Result<Vec<(String, String)>> {
        let routes = directory.join("routes.toml");
        fs::write(&routes, self::routes())
            .with_context(|| format!("write {}", routes.display()))?;
        let hash = hex::encode(Sha256::digest(self.token.as_bytes()));
        let mut variables = vec![
            ("AFU9_NATS__URL", self.nats_url.clone()),
            (
                "AFU9_NATS__DURABILITY",
                Some(self.durability.name().to_owned()),
            ),
            ("AFU9_DATABASE__URL", self.database_url.clone()),
            (
                "AFU9_GATEWAY__LISTEN",
                Some(api_url.trim_start_matches("http://").to_owned()),
            ),
            (
                "AFU9_GATEWAY__WEBHOOK_SECRETS",
                Some(self.webhook_secret.clone()),
            ),
            (
                "AFU9_GATEWAY__TOKENS",
                Some(format!("xtask:read+trigger+operate+admin:{hash}")),
            ),
            (
                "AFU9_GATEWAY__ROUTES_FILE",
                Some(routes.display().to_string()),
            ),
            ("AFU9_GITHUB__BASE_URL", self.github_url.clone()),
            ("AFU9_GITHUB__TOKEN", self.github_token.clone()),
        ];
        // What somebody has set on purpose stays.
        for (name, default) in [
            ("AFU9_WORKER__ALLOW_TEST_KIND", "true"),
            ("AFU9_LOG__FORMAT", "text"),
        ] {
            if std::env::var_os(name).is_none() {
                variables.push((name, Some(default.to_owned())));
            }
        }
        let known = variables.into_iter();
        Ok(known
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect())
    }
}

/// A program of ours with our environment, the variables of AFU-9 replaced.
pub(super) fn command(program: &Path, environment: &[(String, String)]) -> Command {
    let mut command = Command::new(program);
    command.current_dir(cargo::root()).stdin(Stdio::null());
    for name in OURS {
        command.env_remove(name);
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

/// The route from a labelled issue to the workflow.
fn routes() -> String {
    format!(
        "# {REPOSITORY}: an issue that gets the label becomes a pull request.\n\
         [[route]]\n\
         name = \"issue-labeled-to-pr\"\n\
         event = \"issues\"\n\
         action = \"labeled\"\n\
         filter = \"event.label.name == '{LABEL}'\"\n\
         workflow = \"{WORKFLOW}\"\n\
         input = {{ issue_number = \"${{event.issue.number}}\" }}\n"
    )
}

/// 32 hexadecimal characters that nobody can guess.
fn secret() -> Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("read /dev/urandom")?;
    Ok(hex::encode(bytes))
}
