//! The state that all requests share.
//!
//! Every part has a lock of its own, no lock is held across an await, and locks are taken in the
//! order repositories → repository → effects; the other locks are leaves.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use chrono::{SubsecRound as _, Utc};
use tokio_util::sync::CancellationToken;

use super::auth::Tokens;
use super::config::{Config, RepositorySeed};
use super::effect::Effects;
use super::failure::Failure;
use super::fault::Faults;
use super::rate_limit::RateLimits;
use super::repository::{Place, Repository};
use super::stats::{Counters, Stats};

#[derive(Debug)]
pub(crate) struct Simulation {
    pub(crate) base_url: Arc<str>,
    pub(crate) config: Config,
    pub(crate) tokens: RwLock<Tokens>,
    pub(crate) limits: Mutex<RateLimits>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) effects: Mutex<Effects>,
    pub(crate) counters: Mutex<Counters>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) client: reqwest::Client,
    /// By full name in lower case.
    repositories: RwLock<HashMap<String, Arc<Mutex<Repository>>>>,
    next_request: AtomicU64,
    next_token: AtomicU64,
}

/// Takes a lock; a panic in another request does not end the simulation.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Simulation {
    /// # Errors
    /// When a seed is malformed.
    pub(crate) fn new(
        base_url: &str,
        config: Config,
        client: reqwest::Client,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        let simulation = Self {
            base_url: Arc::from(base_url),
            tokens: RwLock::default(),
            limits: Mutex::new(RateLimits::new(config.primary_window)),
            faults: Mutex::new(Faults::new(config.seed)),
            effects: Mutex::default(),
            counters: Mutex::default(),
            repositories: RwLock::default(),
            next_request: AtomicU64::new(1),
            next_token: AtomicU64::new(1),
            config,
            client,
            shutdown,
        };
        simulation.reset()?;
        Ok(simulation)
    }

    /// Returns to the start: repositories, tokens, limits, faults, effects and counters.
    pub(crate) fn reset(&self) -> anyhow::Result<()> {
        self.repositories
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        for seed in &self.config.repositories {
            self.add_repository(seed)?;
        }
        let now = Utc::now();
        let mut tokens = Tokens::default();
        for token in &self.config.tokens {
            tokens.add(token.clone(), now);
        }
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
        *locked(&self.limits) = RateLimits::new(self.config.primary_window);
        *locked(&self.faults) = Faults::new(self.config.seed);
        *locked(&self.effects) = Effects::default();
        *locked(&self.counters) = Counters::default();
        Ok(())
    }

    /// # Errors
    /// When the name is not `owner/name` or taken, or a path is malformed.
    pub(crate) fn add_repository(&self, seed: &RepositorySeed) -> anyhow::Result<()> {
        let parts: Vec<&str> = seed.full_name.split('/').collect();
        let [owner, name] = parts[..] else {
            anyhow::bail!("repository name {:?} is not owner/name", seed.full_name);
        };
        let now = Utc::now().trunc_subsecs(0);
        let mut repositories = self
            .repositories
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let key = seed.full_name.to_lowercase();
        if repositories.contains_key(&key) {
            anyhow::bail!("repository {} already exists", seed.full_name);
        }
        let place = Place {
            id: 1 + repositories.len() as u64,
            base_url: Arc::clone(&self.base_url),
            owner: owner.to_owned(),
            name: name.to_owned(),
            visibility: seed.visibility,
            default_branch: seed.default_branch.clone(),
            created_at: now,
        };
        let repository = Repository::new(place, seed, now)
            .map_err(|error| anyhow::anyhow!("repository {}: {error:?}", seed.full_name))?;
        repositories.insert(key, Arc::new(Mutex::new(repository)));
        Ok(())
    }

    /// # Errors
    /// 404 for a repository that does not exist.
    pub(crate) fn repository(&self, full_name: &str) -> Result<Arc<Mutex<Repository>>, Failure> {
        let repositories = self
            .repositories
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        repositories
            .get(&full_name.to_lowercase())
            .cloned()
            .ok_or_else(Failure::not_found)
    }

    /// All repositories, sorted by name.
    pub(crate) fn repositories(&self) -> Vec<Arc<Mutex<Repository>>> {
        let repositories = self
            .repositories
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut named: Vec<_> = repositories.iter().collect();
        named.sort_by_key(|(name, _)| name.as_str());
        named
            .into_iter()
            .map(|(_, repository)| Arc::clone(repository))
            .collect()
    }

    /// Five groups of hexadecimal digits, as GitHub writes them; unique within the process.
    pub(crate) fn request_id(&self) -> String {
        let number = self.next_request.fetch_add(1, Ordering::Relaxed);
        let second = Utc::now().timestamp();
        let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let (high, low) = ((mixed >> 48) & 0xFFFF, (mixed >> 24) & 0xFF_FFFF);
        format!(
            "{high:04X}:{low:X}:{:X}:{number:X}:{second:X}",
            mixed & 0xFF_FFFF
        )
    }

    /// The number of the next issued installation token.
    pub(crate) fn token_number(&self) -> u64 {
        self.next_token.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits, but not beyond the end of the simulation.
    pub(crate) async fn pause(&self, ms: u64) {
        if ms > 0 {
            let pause = tokio::time::sleep(Duration::from_millis(ms));
            self.shutdown.run_until_cancelled(pause).await;
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let stats = locked(&self.counters).snapshot();
        let effects = locked(&self.effects);
        Stats {
            effects_recorded: effects.recorded(),
            effects_forgotten: effects.forgotten(),
            ..stats
        }
    }
}
