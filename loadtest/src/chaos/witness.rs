//! Follows the event streams of all gateways while faults strike: an execution that is told to end
//! in two ways is seen here, whatever the database says afterwards.
//!
//! A stream breaks with its gateway, and what is told meanwhile is not seen: the witness knows much,
//! not everything.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;

use super::facts::Ends;
use crate::load::events::Lines;
use crate::system::TOKEN;

/// Between two tries to follow.
const PAUSE: Duration = Duration::from_millis(300);

/// A stream that says nothing at all for so long, not even that it is there, is opened again.
const SILENCE: Duration = Duration::from_secs(40);

/// A follower of each gateway; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Witness {
    ends: Arc<Mutex<Ends>>,
    _followers: JoinSet<()>,
}

impl Witness {
    pub(super) fn start(gateways: &[String]) -> Result<Self> {
        let ends = Arc::new(Mutex::new(Ends::new()));
        let mut followers = JoinSet::new();
        let http = reqwest::Client::builder().no_proxy().build()?;
        for gateway in gateways {
            let url = format!("{gateway}/api/events?kinds=execution_ended");
            let (http, ends) = (http.clone(), Arc::clone(&ends));
            followers.spawn(async move {
                loop {
                    // Gateways die here: that is no error.
                    let _broken = follow(&http, &url, &ends).await;
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        Ok(Self {
            ends,
            _followers: followers,
        })
    }

    pub(super) fn ends(&self) -> Ends {
        let ends = self.ends.lock();
        ends.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn follow(http: &reqwest::Client, url: &str, ends: &Mutex<Ends>) -> Result<()> {
    let mut response = http.get(url).bearer_auth(TOKEN).send().await?;
    let mut lines = Lines::default();
    while let Some(chunk) = tokio::time::timeout(SILENCE, response.chunk()).await?? {
        lines.add(&chunk)?;
        while let Some(ended) = lines.next_ended() {
            let Ok(ended) = ended else {
                continue;
            };
            let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
            ends.entry(ended.execution_id)
                .or_default()
                .insert((ended.number, ended.status));
        }
    }
    Ok(())
}
