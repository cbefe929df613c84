//! Whom we refuse to talk to, and that nobody reads a password in the reason.

use afu9_broker::error::chain;
use afu9_broker::{Auth, Broker, Config, ConnectError};
use afu9_servers::provision::{self, PrintProgress};
use afu9_servers::{NatsOptions, NatsServer, RunDirectory, target_dir};
use anyhow::Result;

use crate::world::{World, config};

const PASSWORD_LINES: &str = "authorization { user: somebody, password: right }";

struct Special {
    server: NatsServer,
    _directory: RunDirectory,
}

/// A server with more lines in its configuration.
async fn special(extra_config: &str) -> Result<Special> {
    let extra_config = extra_config.to_owned();
    tokio::task::spawn_blocking(move || {
        let binary = provision::nats_server(&target_dir(), &mut PrintProgress)?;
        let directory = RunDirectory::temporary(&target_dir().join("afu9/tests"), "nats")?;
        let options = NatsOptions {
            extra_config,
            ..NatsOptions::new(directory.path())
        };
        let server = NatsServer::start(&binary, options)?;
        Ok(Special {
            server,
            _directory: directory,
        })
    })
    .await?
}

fn with_password(server: &NatsServer, password: &str) -> Config {
    Config {
        auth: Auth::UserPassword {
            user: "somebody".to_owned(),
            password: password.to_owned(),
        },
        ..config(&server.url())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_jetstream_is_told_from_one_that_is_not_there() -> Result<()> {
    let without = special("jetstream: disabled").await?;
    let refused = Broker::connect(config(&without.server.url())).await;
    assert!(matches!(refused, Err(ConnectError::NoJetStream { .. })));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_and_the_right_one_is_not() -> Result<()> {
    let guarded = special(PASSWORD_LINES).await?;
    let wrong = Broker::connect(with_password(&guarded.server, "wrong")).await;
    assert!(matches!(wrong, Err(ConnectError::Unreachable { .. })));
    let broker = Broker::connect(with_password(&guarded.server, "right")).await?;
    broker.check().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reasons_do_not_repeat_the_password_of_the_address() -> Result<()> {
    let nobody = format!("127.0.0.1:{}", afu9_servers::free_port()?);
    for url in [
        format!("nats://somebody:hunter2@{nobody}"),
        format!("somebody:hunter2@{nobody}"),
        format!("tls://a:1,nats://somebody:hunter2@{nobody}:bad:port"),
        format!("http://somebody:hunter2@{nobody}"),
        format!("somebody:hunter2@{nobody}:bad:port"),
    ] {
        let error = Broker::connect(config(&url))
            .await
            .expect_err("nobody there");
        for text in [chain(&error), format!("{error:?}")] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_is_noticed() -> Result<()> {
    let mut world = World::start().await?;
    let broker = world.broker().await?;
    let mut connections = broker.connections();
    let (before, server) = (*connections.borrow_and_update(), broker.server_id());
    world.kill()?;
    world.restart()?;
    crate::world::within("the connection", connections.changed()).await??;
    assert_eq!(*connections.borrow(), before + 1);
    assert_ne!(broker.server_id(), server);
    Ok(())
}
