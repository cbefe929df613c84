//! The connection to NATS that a process shares.

use std::time::Duration;

use afu9_schemas::PartitionCount;
use async_nats::jetstream::{self, stream::Stream};
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;

use crate::config::{Auth, Config};
use crate::error::{ConnectError, RequestError};

/// The oldest server whose fixes we rely on: before 2.12.5 dead letters of work queues could be lost
/// silently, and 2.12 brought what the topology uses.
const MIN_SERVER: Version = (2, 12, 5);

type Version = (u32, u32, u32);

/// How long a JetStream request may take before it counts as unanswered.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes that may wait for their acknowledgement at once, over all parts of the process. Beyond
/// this, publishing waits: floods without acknowledgements are how messages get lost.
const MAX_PUBLISHES_IN_FLIGHT: usize = 4000;

/// Longest pause between two attempts to reach a lost server: failover is counted in seconds.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// A connection to NATS. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Broker {
    pub(crate) client: Client,
    pub(crate) jetstream: jetstream::Context,
    pub(crate) config: Config,
    server_starts: watch::Receiver<u64>,
}

impl Broker {
    /// Connects, and checks that the server is one we can rely on.
    ///
    /// Once connected, a lost connection is re-established for ever in the background.
    ///
    /// # Errors
    /// See [`ConnectError`]; the first connection is not retried here.
    pub async fn connect(config: Config) -> Result<Self, ConnectError> {
        let addresses = addresses(&config.url)?;
        let (starts_sender, server_starts) = watch::channel(0_u64);
        let options = options(&config)
            .await?
            .name(&config.name)
            .connection_timeout(REQUEST_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .reconnect_delay_callback(|attempt| {
                let millis = 50_u64.saturating_mul(1 << attempt.min(6));
                Duration::from_millis(millis).min(MAX_RECONNECT_DELAY)
            })
            .event_callback(move |event| {
                match &event {
                    Event::Connected => starts_sender.send_modify(|starts| *starts += 1),
                    Event::Disconnected => tracing::warn!("connection to nats lost"),
                    Event::SlowConsumer(id) => tracing::warn!(subscription = id, "slow consumer"),
                    Event::ServerError(error) => tracing::warn!(%error, "nats server error"),
                    Event::ClientError(error) => tracing::warn!(%error, "nats client error"),
                    Event::LameDuckMode | Event::Draining | Event::Closed => {
                        tracing::info!(%event, "nats connection");
                    }
                }
                async {}
            });
        let client =
            options
                .connect(addresses)
                .await
                .map_err(|source| ConnectError::Unreachable {
                    url: redacted(&config.url),
                    source: source.into(),
                })?;
        check_server(&client)?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .max_ack_inflight(MAX_PUBLISHES_IN_FLIGHT)
            .backpressure_on_inflight(true)
            .build(client.clone());
        Ok(Self {
            client,
            jetstream,
            config,
            server_starts,
        })
    }

    /// Counts connections: it grows by one whenever the process is connected (again), which is when
    /// what was in a server's memory may be gone.
    pub fn connections(&self) -> watch::Receiver<u64> {
        self.server_starts.clone()
    }

    /// What identifies the running server process; another value means it was restarted, or that we
    /// talk to another one.
    pub fn server_id(&self) -> String {
        self.client.server_info().server_id
    }

    /// What identifies the running server process, while we are connected to it.
    pub fn connected_to(&self) -> Option<String> {
        let connected = self.client.connection_state() == async_nats::connection::State::Connected;
        connected.then(|| self.server_id())
    }

    /// The server's version.
    pub fn server_version(&self) -> String {
        self.client.server_info().version
    }

    /// Asks the server for an answer and says how long it took.
    ///
    /// # Errors
    /// When there is none within the request timeout.
    pub async fn check(&self) -> Result<Duration, RequestError> {
        let begun = tokio::time::Instant::now();
        self.jetstream
            .query_account()
            .await
            .map_err(|error| RequestError::new("asking JetStream for its state", error))?;
        Ok(begun.elapsed())
    }

    /// How the process was configured to use NATS.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Partitions of the input log.
    pub fn partitions(&self) -> PartitionCount {
        self.config.partitions
    }

    /// Sends what is still buffered.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn flush(&self) -> Result<(), RequestError> {
        self.client
            .flush()
            .await
            .map_err(|error| RequestError::new("flushing", error))
    }

    /// A stream by its name, without asking how full it is. Whoever calls names the operation it is for.
    pub(crate) async fn stream(&self, name: &str) -> Result<Stream<()>, async_nats::Error> {
        Ok(self.jetstream.get_stream_no_info(name).await?)
    }
}

fn addresses(url: &str) -> Result<Vec<ServerAddr>, ConnectError> {
    url.split(',')
        .map(|part| {
            part.trim()
                .parse::<ServerAddr>()
                .map_err(|error| ConnectError::BadUrl {
                    url: redacted(part),
                    source: error.into(),
                })
        })
        .collect()
}

/// The address without the user information it may hold.
fn redacted(url: &str) -> String {
    url.split(',')
        .map(|part| match part.rsplit_once('@') {
            // Without a scheme it is `nats`, to the client too.
            Some((before, host)) => match before.split_once("://") {
                Some((scheme, _)) => format!("{}://{host}", scheme.trim()),
                None => format!("nats://{host}"),
            },
            None => part.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(",")
}

async fn options(config: &Config) -> Result<ConnectOptions, ConnectError> {
    let mut options =
        match &config.auth {
            Auth::None => ConnectOptions::new(),
            Auth::UserPassword { user, password } => {
                ConnectOptions::with_user_and_password(user.clone(), password.clone())
            }
            Auth::Nkey(seed) => ConnectOptions::with_nkey(seed.clone()),
            Auth::CredentialsFile(path) => ConnectOptions::with_credentials_file(path)
                .await
                .map_err(|error| ConnectError::Credentials {
                    path: path.display().to_string(),
                    source: error.into(),
                })?,
        };
    if let Some(path) = &config.ca_file {
        options = options.add_root_certificates(path.clone());
    }
    Ok(options)
}

/// The numbers of a version like `2.12.5` or `2.14.0-RC.1`; what is no number counts as 0.
fn version(text: &str) -> Version {
    let release = text.split(['-', '+']).next().unwrap_or_default();
    let mut numbers = release.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

fn check_server(client: &Client) -> Result<(), ConnectError> {
    let info = client.server_info();
    if version(&info.version) < MIN_SERVER {
        let (major, minor, patch) = MIN_SERVER;
        return Err(ConnectError::TooOld {
            found: info.version,
            needed: format!("{major}.{minor}.{patch}"),
        });
    }
    if !info.jetstream {
        return Err(ConnectError::NoJetStream {
            name: info.server_name,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{MIN_SERVER, redacted, version};

    #[test]
    fn only_servers_whose_fixes_we_rely_on_are_new_enough() {
        for new_enough in [
            "2.12.5",
            "2.12.10",
            "2.15.1",
            "2.14.0-RC.1",
            "3.0.0",
            "2.13",
            "2.12.5+build",
        ] {
            assert!(version(new_enough) >= MIN_SERVER, "{new_enough}");
        }
        for too_old in [
            "2.12.4",
            "2.12",
            "2.12.0-preview.2",
            "2.9.25",
            "1.99.99",
            "",
            "unknown",
        ] {
            assert!(version(too_old) < MIN_SERVER, "{too_old}");
        }
    }

    #[test]
    fn addresses_are_shown_without_passwords() {
        assert_eq!(redacted("nats://u:p@a:1,tls://b:2"), "nats://a:1,tls://b:2");
        assert_eq!(redacted("u:p@a:1,b:2"), "nats://a:1,b:2");
    }
}
