//! Starting and ending the simulation's HTTP server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::connection::{Connection, CuttableListener};
use super::handle::Handle;
use super::routes;
use super::simulation::Simulation;

/// How long open requests may take to end after the shutdown began.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

/// A simulation that accepts connections. Dropping it ends the acceptance of connections.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// `http://` and the address.
    pub base_url: String,
    /// Steers it.
    pub handle: Handle,
    server: JoinSet<std::io::Result<()>>,
}

impl Running {
    /// Waits until the simulation ended, which it does after the shutdown token is cancelled. Not
    /// safe to cancel: that ends the simulation as a drop does.
    ///
    /// # Errors
    /// When the server failed or panicked.
    pub async fn join(mut self) -> Result<()> {
        while let Some(ended) = self.server.join_next().await {
            ended
                .context("simulated GitHub panicked")?
                .context("serve the simulated GitHub")?;
        }
        Ok(())
    }
}

/// Starts the simulation; it is ready for requests when this returns, and ends after `shutdown` is
/// cancelled, or when what is returned is dropped.
///
/// # Errors
/// When the listener has no address or a seed is malformed.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    shutdown: CancellationToken,
) -> Result<Running> {
    let address = listener
        .local_addr()
        .context("read the address of the listener")?;
    let base_url = format!("http://{address}");
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("build the client for webhooks")?;
    let simulation = Simulation::new(&base_url, config, client, shutdown.clone())?;
    let simulation = Arc::new(simulation);
    let handle = Handle::new(Arc::clone(&simulation));
    let service = routes::router(simulation).into_make_service_with_connect_info::<Connection>();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let stop = shutdown.clone();
        let serving = axum::serve(CuttableListener(listener), service)
            .with_graceful_shutdown(async move { stop.cancelled().await })
            .into_future();
        let deadline = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN_DEADLINE).await;
        };
        tokio::select! {
            served = serving => served,
            () = deadline => Ok(()),
        }
    });
    Ok(Running {
        address,
        base_url,
        handle,
        server,
    })
}
