//! Carries out a plan: each fault begins and ends at its time, and what was begun is always ended.

use std::collections::BTreeMap;
use std::time::Duration;

use afu9_servers::SmallDisk;
use anyhow::{Context as _, Result};
use tokio::time::Instant;

use super::plan::{Fault, Plan, Planned, Weather};
use crate::simulated_github::{Fault as GithubFault, FaultKind, FaultMatch, Handle, Moment};
use crate::system::{RoleKind, System};

/// Between two looks at the processes.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How many of the requests the weather strikes. A tool makes up to eight, and has ten attempts: not so many
/// that all of them fail by chance.
const STRUCK: f64 = 0.15;

/// This share of writes loses its answer at any time.
const ALWAYS_LOST: f64 = 0.03;

/// How often a server is asked to change a bound.
const BOUND_TRIES: usize = 20;

/// How many of each fault happened, by name.
pub(super) type Counts = BTreeMap<String, u64>;

/// Something that begins or ends.
#[derive(Debug, Clone, Copy)]
enum Moves {
    Begin(usize),
    End(usize),
    Clouds(usize),
    Clears(usize),
}

/// Carries out a plan.
#[derive(Debug)]
pub(super) struct Injector<'a> {
    system: &'a mut System,
    plan: &'a Plan,
    counts: Counts,
    /// The bound of a stream that is full.
    bound: Option<(&'static str, i64)>,
    /// Of the fault of the weather, by its place in the plan.
    clouds: BTreeMap<usize, u64>,
}

impl<'a> Injector<'a> {
    pub(super) fn new(system: &'a mut System, plan: &'a Plan) -> Self {
        Self {
            system,
            plan,
            counts: Counts::new(),
            bound: None,
            clouds: BTreeMap::new(),
        }
    }

    /// From `begun` to the end of the plan; returns when everything that was begun has ended.
    pub(super) async fn run(mut self, begun: Instant, length: Duration) -> Result<Counts> {
        strike_always(&self.system.github.handle)?;
        let mut moves = Vec::new();
        for (index, one) in self.plan.faults.iter().enumerate() {
            moves.push((one.at, Moves::Begin(index)));
            moves.push((one.at + one.lasts, Moves::End(index)));
        }
        for (index, one) in self.plan.weather.iter().enumerate() {
            moves.push((one.at, Moves::Clouds(index)));
            moves.push((one.at + one.lasts, Moves::Clears(index)));
        }
        moves.sort_by_key(|(at, _)| *at);
        for (at, next) in moves {
            self.watch_until(begun + at).await?;
            self.make(next).await?;
        }
        self.watch_until(begun + length).await?;
        self.system.github.handle.clear_faults();
        Ok(self.counts)
    }

    async fn watch_until(&mut self, at: Instant) -> Result<()> {
        while Instant::now() < at {
            self.system.supervise()?;
            tokio::time::sleep_until(at.min(Instant::now() + LOOK_EVERY)).await;
        }
        Ok(())
    }

    async fn make(&mut self, next: Moves) -> Result<()> {
        match next {
            Moves::Begin(index) => {
                let one = self.plan.faults[index];
                let name = one.fault.name();
                tracing::info!(fault = name, "begins");
                self.begin(&one).await.with_context(|| name.clone())?;
                *self.counts.entry(name).or_default() += 1;
            }
            Moves::End(index) => {
                let one = self.plan.faults[index];
                self.end(&one).await.with_context(|| one.fault.name())?;
                tracing::info!(fault = one.fault.name(), "is over");
            }
            Moves::Clouds(index) => {
                let one = self.plan.weather[index];
                let id = self.system.github.handle.add_fault(cloud(one.fault))?;
                self.clouds.insert(index, id);
                *self.counts.entry(one.fault.name().to_owned()).or_default() += 1;
            }
            Moves::Clears(index) => {
                if let Some(id) = self.clouds.remove(&index) {
                    self.system.github.handle.remove_fault(id);
                }
            }
        }
        Ok(())
    }

    async fn begin(&mut self, one: &Planned<Fault>) -> Result<()> {
        let server = one.which % self.system.servers.len();
        match one.fault {
            Fault::Kill(kind) => self.role(kind, one.which)?.kill(),
            Fault::Freeze(kind) => self.role(kind, one.which)?.freeze(),
            Fault::KillNats => tokio::task::block_in_place(|| self.system.servers[server].kill()),
            Fault::FreezeNats => self.system.servers[server].pause(),
            Fault::KillPostgres => tokio::task::block_in_place(|| self.system.postgres.kill()),
            Fault::RestartPostgres => tokio::task::block_in_place(|| self.system.postgres.stop()),
            Fault::Full(stream) => {
                // It holds more already, so it takes in nothing; what it holds stays.
                let before = self.set_bound(stream, 1).await?;
                self.bound = Some((stream, before));
                Ok(())
            }
            Fault::FullDisk => tokio::task::block_in_place(|| self.disk()?.fill()),
        }
    }

    async fn end(&mut self, one: &Planned<Fault>) -> Result<()> {
        let server = one.which % self.system.servers.len();
        match one.fault {
            Fault::Kill(kind) => self.role(kind, one.which)?.again(),
            Fault::Freeze(kind) => self.role(kind, one.which)?.thaw(),
            Fault::KillNats => {
                tokio::task::block_in_place(|| self.system.servers[server].restart())
            }
            Fault::FreezeNats => self.system.servers[server].resume(),
            Fault::KillPostgres | Fault::RestartPostgres => {
                tokio::task::block_in_place(|| self.system.postgres.restart())
            }
            Fault::Full(_) => match self.bound.take() {
                Some((stream, before)) => self.set_bound(stream, before).await.map(drop),
                None => Ok(()),
            },
            Fault::FullDisk => tokio::task::block_in_place(|| {
                self.disk()?.free()?;
                self.system.servers[0].kill()?;
                self.system.servers[0].restart()
            }),
        }
    }

    fn disk(&self) -> Result<&SmallDisk> {
        let disk = self.system.disk.as_ref();
        disk.context("the store is on no small disk")
    }

    /// A server that has just come back, or elects a leader, is asked again.
    async fn set_bound(&self, stream: &str, bytes: i64) -> Result<i64> {
        let mut last = None;
        for _ in 0..BOUND_TRIES {
            match self.system.nats.bound(stream, bytes).await {
                Ok(before) => return Ok(before),
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(last.context("never asked")?)
    }

    fn role(&mut self, kind: RoleKind, which: usize) -> Result<&mut crate::system::Role> {
        let of_kind = self.system.roles.iter_mut();
        let mut of_kind: Vec<_> = of_kind.filter(|role| role.kind == kind).collect();
        let place = which % of_kind.len().max(1);
        if of_kind.is_empty() {
            anyhow::bail!("there is no {}", kind.name());
        }
        Ok(of_kind.swap_remove(place))
    }
}

/// What happens at GitHub on any day.
fn strike_always(github: &Handle) -> Result<()> {
    let fault = GithubFault {
        probability: ALWAYS_LOST,
        ..GithubFault::always(writes(), FaultKind::DropAfterEffect)
    };
    github.add_fault(fault).map(drop)
}

/// Only what is about the repository: the workers' own checks are not the subject.
fn at_repositories() -> FaultMatch {
    FaultMatch {
        path_prefix: Some("/repos/".to_owned()),
        ..FaultMatch::default()
    }
}

fn writes() -> FaultMatch {
    FaultMatch {
        method: Some("POST".to_owned()),
        ..at_repositories()
    }
}

fn cloud(weather: Weather) -> GithubFault {
    let bad_gateway = |moment| FaultKind::Status {
        status: 502,
        body: None,
        moment,
    };
    let (matching, kind, probability) = match weather {
        Weather::Slow => {
            let kind = FaultKind::Latency {
                ms: 300,
                jitter_ms: 1_200,
            };
            (at_repositories(), kind, 1.0)
        }
        Weather::Failing => (at_repositories(), bad_gateway(Moment::BeforeEffect), STRUCK),
        Weather::Unreachable => (at_repositories(), FaultKind::DropBeforeEffect, STRUCK),
        Weather::AnswersLost => (writes(), FaultKind::DropAfterEffect, STRUCK * 2.0),
        Weather::WrongAnswers => (writes(), bad_gateway(Moment::AfterEffect), STRUCK * 2.0),
        Weather::Limited => {
            let kind = FaultKind::SecondaryLimit {
                retry_after_s: 1,
                status: 429,
            };
            (at_repositories(), kind, STRUCK)
        }
        Weather::SlowBodies => {
            let kind = FaultKind::SlowBody {
                chunk_bytes: 200,
                pause_ms: 50,
            };
            (at_repositories(), kind, 1.0)
        }
    };
    GithubFault {
        probability,
        ..GithubFault::always(matching, kind)
    }
}
