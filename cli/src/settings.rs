//! The configuration of a process: read once, checked as a whole, then only passed on.

mod reader;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use afu9_broker::config::{DEFAULT_ACK_WAIT, DEFAULT_KEY_AGE};
use afu9_broker::{Auth, Durability, Replicas};
use afu9_schemas::{PartitionCount, WorkerKind, tool};
use secrecy::{ExposeSecret, SecretString};

pub(crate) use reader::Mistakes;
use reader::Reader;

/// Where the gateway listens unless told otherwise: loopback only.
const DEFAULT_LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 3000);

/// Partitions of a new input log. More let more cores and orchestrators fold side by side; each
/// costs an idle pull request and four writes of its lease and checkpoint a second.
const DEFAULT_PARTITIONS: u16 = 4;

/// Below this a worker on a busy machine would be taken for dead.
const MIN_ACK_WAIT_MS: u64 = 1_000;

/// The jobs of a dead worker wait this long: ten minutes are more than anybody would want.
const MAX_ACK_WAIT_MS: u64 = 600_000;

/// As long as a delivery is kept, and may be routed again: a week.
const MIN_KEY_AGE_HOURS: u64 = 168;

/// A year.
const MAX_KEY_AGE_HOURS: u64 = 365 * 24;

/// History may wait in its stream for thirty days: what is dropped must not come after that.
const MIN_KEEP_DAYS: u64 = 31;

/// Ten years.
const MAX_KEEP_DAYS: u64 = 3650;

/// Quiet by default, and quieter still for the libraries.
const DEFAULT_FILTER: &str = "info,async_nats=warn,sqlx=warn,hyper=warn,tower=warn";

/// The configuration of a process.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) nats: NatsSettings,
    pub(crate) database: Option<DatabaseSettings>,
    /// How long history is kept in the database; for ever, if not said.
    pub(crate) keep_history: Option<Duration>,
    pub(crate) gateway: GatewaySettings,
    pub(crate) github: Option<GithubSettings>,
    pub(crate) worker: WorkerSettings,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) log: LogSettings,
    pub(crate) api: ApiSettings,
    /// Read for the workers that use AWS.
    pub(crate) aws_endpoint: Option<String>,
}

#[derive(Debug)]
pub(crate) struct NatsSettings {
    pub(crate) url: String,
    pub(crate) auth: Auth,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) replicas: Replicas,
    pub(crate) durability: Durability,
    /// Where the servers can be asked how they sync.
    pub(crate) monitor_urls: Vec<String>,
    pub(crate) partitions: PartitionCount,
    pub(crate) ack_wait: Duration,
    pub(crate) key_age: Duration,
}

#[derive(Debug)]
pub(crate) struct DatabaseSettings {
    pub(crate) url: SecretString,
    pub(crate) max_connections: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct GatewaySettings {
    pub(crate) listen: SocketAddr,
    pub(crate) webhook_secrets: Vec<SecretString>,
    /// `name:scope+scope:sha256`, as configured; the gateway checks them.
    pub(crate) tokens: Vec<String>,
    /// The routes file's text.
    pub(crate) routes: Option<String>,
    /// How old an open dead letter may be.
    pub(crate) dead_letter_alarm: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct GithubSettings {
    pub(crate) base_url: Option<String>,
    pub(crate) auth: GithubAuth,
}

#[derive(Debug)]
pub(crate) enum GithubAuth {
    Token(SecretString),
    App {
        app_id: u64,
        private_key: SecretString,
        installation_id: Option<u64>,
    },
}

#[derive(Debug)]
pub(crate) struct WorkerSettings {
    pub(crate) kinds: Vec<WorkerKind>,
    pub(crate) slots: Option<usize>,
    pub(crate) allow_test_kind: bool,
    pub(crate) drain: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct LogSettings {
    pub(crate) format: LogFormat,
    pub(crate) filter: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Auto,
    Json,
    Text,
}

/// How the operator commands reach a gateway.
#[derive(Debug)]
pub(crate) struct ApiSettings {
    pub(crate) url: String,
    pub(crate) token: Option<SecretString>,
}

/// Older dead letters are gone.
const MAX_ALARM_MS: u64 = 90 * 24 * 3_600_000;

impl Settings {
    /// Reads the file, if there is one, and the environment.
    ///
    /// # Errors
    /// Every mistake at once.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, Mistakes> {
        // Not Unicode means not ours: a setting is text.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::read(Reader::new(file, environment))
    }

    fn read(mut reader: Reader) -> Result<Self, Mistakes> {
        let settings = Self {
            nats: nats(&mut reader),
            database: database(&mut reader),
            keep_history: reader
                .number("history.keep_days", MIN_KEEP_DAYS, MAX_KEEP_DAYS)
                .map(|days| Duration::from_secs(days * 24 * 3600)),
            gateway: gateway(&mut reader),
            github: github(&mut reader),
            worker: worker(&mut reader),
            checkpoint_interval: reader
                .millis("orchestrator.checkpoint_interval_ms", 50, 10_000)
                .unwrap_or(Duration::from_millis(500)),
            log: LogSettings {
                format: reader
                    .choice(
                        "log.format",
                        &[
                            ("auto", LogFormat::Auto),
                            ("json", LogFormat::Json),
                            ("text", LogFormat::Text),
                        ],
                    )
                    .unwrap_or(LogFormat::Auto),
                filter: reader
                    .text("log.filter")
                    .unwrap_or_else(|| DEFAULT_FILTER.to_owned()),
            },
            api: ApiSettings {
                url: api_url(&mut reader),
                token: reader.secret("api.token"),
            },
            aws_endpoint: url(&mut reader, "aws.endpoint_url"),
        };
        reader.finish()?;
        Ok(settings)
    }

    /// How to reach NATS, for a connection called `name`.
    pub(crate) fn broker(&self, name: &str) -> afu9_broker::Config {
        let kinds = tool::kinds()
            .iter()
            .filter(|profile| profile.production || self.worker.allow_test_kind)
            .map(|profile| profile.kind.clone())
            .collect();
        afu9_broker::Config {
            url: self.nats.url.clone(),
            auth: self.nats.auth.clone(),
            ca_file: self.nats.ca_file.clone(),
            name: name.to_owned(),
            replicas: self.nats.replicas,
            durability: self.nats.durability,
            partitions: self.nats.partitions,
            kinds,
            ack_wait: self.nats.ack_wait,
            key_age: self.nats.key_age,
            limits: afu9_broker::config::Limits::default(),
        }
    }
}

fn nats(reader: &mut Reader) -> NatsSettings {
    let user = reader.text("nats.user");
    let password = reader.secret("nats.password");
    let nkey = reader.secret("nats.nkey_seed");
    let credentials = reader.file("nats.credentials_file");
    let ways = usize::from(user.is_some()) + usize::from(nkey.is_some());
    if ways + usize::from(credentials.is_some()) > 1 {
        reader.mistake(
            "give one of nats.user, nats.nkey_seed and nats.credentials_file, not several",
        );
    }
    let auth = match (user, password, nkey, credentials) {
        (Some(user), Some(password), None, None) => Auth::UserPassword {
            user,
            password: password.expose_secret().to_owned(),
        },
        (Some(_), None, ..) => {
            reader.mistake("nats.user is given without nats.password");
            Auth::None
        }
        (None, Some(_), ..) => {
            reader.mistake("nats.password is given without nats.user");
            Auth::None
        }
        (None, None, Some(seed), None) => Auth::Nkey(seed.expose_secret().to_owned()),
        (None, None, None, Some(path)) => Auth::CredentialsFile(path),
        _ => Auth::None,
    };
    NatsSettings {
        url: reader
            .text("nats.url")
            .unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned()),
        auth,
        ca_file: reader.file("nats.ca_file"),
        replicas: reader
            .choice(
                "nats.replicas",
                &[("1", Replicas::One), ("3", Replicas::Three)],
            )
            .unwrap_or_default(),
        durability: reader
            .choice(
                "nats.durability",
                &[("fast", Durability::Fast), ("durable", Durability::Durable)],
            )
            .unwrap_or_default(),
        monitor_urls: reader
            .parsed(
                "nats.monitor_urls",
                "addresses like http://host:8222, separated by commas",
                |text| text.split(',').map(|one| address(one.trim())).collect(),
            )
            .unwrap_or_default(),
        partitions: reader
            .parsed("nats.partitions", "a whole number from 1 to 256", |text| {
                PartitionCount::new(text.parse().ok()?).ok()
            })
            .unwrap_or_else(|| PartitionCount::new(DEFAULT_PARTITIONS).expect("in range")),
        ack_wait: reader
            .millis("nats.ack_wait_ms", MIN_ACK_WAIT_MS, MAX_ACK_WAIT_MS)
            .unwrap_or(DEFAULT_ACK_WAIT),
        key_age: reader
            .number("nats.key_age_hours", MIN_KEY_AGE_HOURS, MAX_KEY_AGE_HOURS)
            .map_or(DEFAULT_KEY_AGE, |hours| Duration::from_secs(hours * 3600)),
    }
}

fn database(reader: &mut Reader) -> Option<DatabaseSettings> {
    let max_connections = reader
        .number("database.max_connections", 2, 200)
        .and_then(|connections| u32::try_from(connections).ok());
    let url = reader.secret("database.url");
    if url.is_none() && max_connections.is_some() {
        reader.mistake("database.max_connections is given without database.url");
    }
    if let Some(url) = &url {
        let text = url.expose_secret();
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            reader.mistake("database.url must begin with postgres:// or postgresql://");
        }
    }
    url.map(|url| DatabaseSettings {
        url,
        max_connections,
    })
}

fn gateway(reader: &mut Reader) -> GatewaySettings {
    let secrets = reader.list("gateway.webhook_secrets").unwrap_or_default();
    GatewaySettings {
        listen: reader
            .parsed("gateway.listen", "an address like 127.0.0.1:3000", |text| {
                text.parse().ok()
            })
            .unwrap_or_else(|| DEFAULT_LISTEN.into()),
        webhook_secrets: secrets.into_iter().map(SecretString::from).collect(),
        tokens: reader.list("gateway.tokens").unwrap_or_default(),
        routes: reader.content("gateway.routes_file"),
        dead_letter_alarm: reader.millis("gateway.dead_letter_alarm_ms", 1000, MAX_ALARM_MS),
    }
}

fn github(reader: &mut Reader) -> Option<GithubSettings> {
    let base_url = url(reader, "github.base_url");
    let token = reader.secret("github.token");
    let app_id = reader.number("github.app_id", 1, u64::MAX);
    let key = reader.secret("github.private_key");
    let key_file = reader
        .content("github.private_key_file")
        .map(SecretString::from);
    let installation_id = reader.number("github.installation_id", 1, u64::MAX);
    if key.is_some() && key_file.is_some() {
        reader.mistake("give one of github.private_key and github.private_key_file, not both");
    }
    let auth = match (token, app_id, key.or(key_file)) {
        (Some(_), Some(_), _) => {
            reader.mistake("give one of github.token and github.app_id, not both");
            return None;
        }
        (Some(token), None, None) => GithubAuth::Token(token),
        (None, Some(app_id), Some(private_key)) => GithubAuth::App {
            app_id,
            private_key,
            installation_id,
        },
        (None, Some(_), None) => {
            reader.mistake("github.app_id is given without github.private_key");
            return None;
        }
        (_, None, Some(_)) => {
            reader.mistake("github.private_key is given without github.app_id");
            return None;
        }
        (None, None, None) => return None,
    };
    Some(GithubSettings { base_url, auth })
}

fn worker(reader: &mut Reader) -> WorkerSettings {
    let allow_test_kind = reader.boolean("worker.allow_test_kind").unwrap_or(false);
    let mut kinds = Vec::new();
    for name in reader.list("worker.kinds").unwrap_or_default() {
        match worker_kind(&name, allow_test_kind) {
            Ok(kind) => kinds.push(kind),
            Err(mistake) => reader.mistake(format!("worker.kinds: {mistake}")),
        }
    }
    WorkerSettings {
        kinds,
        slots: reader
            .number("worker.slots", 2, 100_000)
            .and_then(|slots| usize::try_from(slots).ok()),
        allow_test_kind,
        drain: reader.millis("worker.drain_ms", 0, 3_600_000),
    }
}

/// The worker kind called `name`, if there is one and this configuration allows it.
pub(crate) fn worker_kind(name: &str, allow_test_kind: bool) -> Result<WorkerKind, String> {
    let known = tool::kinds();
    let profile = known
        .iter()
        .find(|profile| profile.kind.as_str() == name)
        .ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|profile| profile.kind.as_str()).collect();
            format!(
                "there is no worker kind `{name}`; kinds are {}",
                names.join(", ")
            )
        })?;
    if !profile.production && !allow_test_kind {
        return Err(format!(
            "kind `{name}` is off; worker.allow_test_kind = true turns it on"
        ));
    }
    Ok(profile.kind.clone())
}

/// The gateway speaks plain HTTP, on loopback or behind something that ends TLS; the operator
/// commands speak to it directly.
fn api_url(reader: &mut Reader) -> String {
    let url = url(reader, "api.url").unwrap_or_else(|| "http://127.0.0.1:3000".to_owned());
    if url.starts_with("https://") {
        reader.mistake("api.url: the commands speak plain HTTP; give the gateway's own address, or a tunnel to it");
    }
    url
}

fn url(reader: &mut Reader, path: &str) -> Option<String> {
    reader.parsed(path, "an address like https://host", address)
}

fn address(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/');
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))?;
    (!rest.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, Mistakes> {
        let environment: Vec<(String, String)> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Settings::read(Reader::new(None, environment.into_iter()))
    }

    #[test]
    fn nothing_configured_is_a_valid_configuration_on_loopback() {
        let settings = read(&[]).expect("valid");
        assert!(settings.gateway.listen.ip().is_loopback());
        assert!(settings.database.is_none() && settings.github.is_none());
        let kinds = settings.broker("x").kinds;
        assert!(
            kinds.iter().all(|kind| kind.as_str() != "test"),
            "the test kind is off"
        );
    }

    #[test]
    fn settings_that_do_not_fit_together_are_mistakes() {
        let mistakes = read(&[
            ("AFU9_NATS__USER", "u"),
            ("AFU9_GITHUB__TOKEN", "t"),
            ("AFU9_GITHUB__APP_ID", "1"),
            ("AFU9_WORKER__KINDS", "github,test,gihtub"),
            ("AFU9_DATABASE__URL", "mysql://x"),
        ])
        .expect_err("mistakes");
        let text = mistakes.to_string();
        for part in [
            "nats.password",
            "github.app_id",
            "allow_test_kind",
            "gihtub",
            "postgres://",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }

    #[test]
    fn times_of_nats_have_defaults_and_bounds() {
        let broker = |pairs: &[_]| read(pairs).expect("valid").broker("x");
        let usual = broker(&[]);
        assert_eq!(
            (usual.ack_wait, usual.key_age),
            (DEFAULT_ACK_WAIT, DEFAULT_KEY_AGE)
        );
        let chosen = broker(&[
            ("AFU9_NATS__ACK_WAIT_MS", "2000"),
            ("AFU9_NATS__KEY_AGE_HOURS", "336"),
        ]);
        let two_weeks = Duration::from_secs(336 * 3600);
        assert_eq!(
            (chosen.ack_wait, chosen.key_age),
            (Duration::from_secs(2), two_weeks)
        );
        for (name, value) in [
            ("AFU9_NATS__ACK_WAIT_MS", "999"),
            ("AFU9_NATS__ACK_WAIT_MS", "600001"),
            ("AFU9_NATS__KEY_AGE_HOURS", "167"),
            ("AFU9_NATS__KEY_AGE_HOURS", "8761"),
            ("AFU9_HISTORY__KEEP_DAYS", "30"),
            ("AFU9_HISTORY__KEEP_DAYS", "3651"),
        ] {
            assert!(read(&[(name, value)]).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = read(&[
            ("AFU9_GITHUB__TOKEN", "hunter2"),
            ("AFU9_DATABASE__URL", "postgres://u:hunter2@h/d"),
            ("AFU9_GATEWAY__WEBHOOK_SECRETS", "hunter2"),
            ("AFU9_NATS__USER", "u"),
            ("AFU9_NATS__PASSWORD", "hunter2"),
        ])
        .expect("valid");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
