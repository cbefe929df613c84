//! `simulate-github`: a simulated GitHub in a process of its own.
//!
//! Prints one line to standard output once it listens, so that whoever started it knows the port.

use std::io::Write as _;
use std::net::SocketAddr;

use afu9_loadtest::simulated_github::{self, AppSeed, Config, RepositorySeed, TokenSeed};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Output;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Permits an address that other machines can reach. The simulation has no real credentials.
    #[arg(long)]
    allow_remote: bool,
    /// A repository with demonstration files and one issue. Repeatable.
    #[arg(
        long = "repository",
        value_name = "OWNER/NAME",
        default_value = "octo/factory"
    )]
    repositories: Vec<String>,
    /// A token that may write to all repositories. Repeatable.
    #[arg(long = "token", value_name = "NAME=VALUE", value_parser = parse_token, default_value = "sim-token=sim-token")]
    tokens: Vec<(String, String)>,
    /// The id of a GitHub App, installed on the owners of the repositories as installation 1, 2, ….
    #[arg(long, value_name = "ID")]
    app: Option<u64>,
    /// Requests per hour and token.
    #[arg(long, default_value_t = simulated_github::DEFAULT_PRIMARY_LIMIT)]
    primary_limit: u32,
    /// Seeds the probabilities of faults.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How the line on standard output looks.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

fn parse_token(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("is not NAME=VALUE".to_owned()),
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let listen = arguments.listen;
    if !listen.ip().is_loopback() && !arguments.allow_remote {
        bail!("{listen} is not a loopback address; --allow-remote permits it");
    }
    let mut interrupted = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
    let mut terminated = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("listen on {listen}"))?;
    let output = arguments.output;
    let shutdown = CancellationToken::new();
    let github = simulated_github::serve(listener, config(arguments), shutdown.clone()).await?;
    announce(output, &github.base_url)?;
    let mut ended = std::pin::pin!(github.join());
    tokio::select! {
        ended = &mut ended => return ended,
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    shutdown.cancel();
    ended.await
}

fn config(arguments: Arguments) -> Config {
    let mut owners: Vec<&str> = arguments
        .repositories
        .iter()
        .map(|name| {
            name.split_once('/')
                .map_or(name.as_str(), |(owner, _)| owner)
        })
        .collect();
    owners.sort_unstable();
    owners.dedup();
    let apps = arguments.app.map(|id| {
        let installed = (1..)
            .zip(owners)
            .map(|(number, owner)| AppSeed::installed_on(id, number, owner));
        let installations = installed.flat_map(|app| app.installations).collect();
        AppSeed {
            installations,
            ..AppSeed::installed_on(id, 1, "")
        }
    });
    let tokens = arguments.tokens.iter();
    Config {
        repositories: arguments
            .repositories
            .iter()
            .map(|name| RepositorySeed::demo(name))
            .collect(),
        tokens: tokens
            .map(|(name, value)| TokenSeed::writer(name, value))
            .collect(),
        apps: apps.into_iter().collect(),
        primary_limit: arguments.primary_limit,
        seed: arguments.seed,
        ..Config::default()
    }
}

fn announce(output: Output, base_url: &str) -> Result<()> {
    let line = match output {
        Output::Text => format!("simulated GitHub listens on {base_url}"),
        Output::Json => json!({"base_url": base_url, "pid": std::process::id()}).to_string(),
    };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .context("print the address")
}
