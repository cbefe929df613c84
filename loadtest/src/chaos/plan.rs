//! Which faults happen when: decided by the seed alone, before anything runs.
//!
//! Two tracks run side by side: what happens to processes and servers, one thing at a time, and the
//! weather at GitHub.

use std::fmt;
use std::time::Duration;

use crate::random::Generator;
use crate::system::RoleKind;

/// Nothing fails before the first executions run.
const FIRST_AFTER_MS: u64 = 3_000;

/// Between two faults of a track.
const GAP_MS: (u64, u64) = (1_500, 5_000);

/// A lease that is not renewed is free after four seconds: an orchestrator that is frozen for longer
/// comes back to partitions that others own.
const BEYOND_LEASE_MS: (u64, u64) = (5_500, 9_000);

/// A job that is not answered for comes back after thirty seconds: a worker that is frozen for longer
/// comes back to jobs that others have done.
const BEYOND_ACK_WAIT_MS: (u64, u64) = (32_000, 36_000);

/// Only runs of this length have the time for it.
const FREEZE_WORKERS_LONG_FROM: Duration = Duration::from_secs(150);

/// How big the deployment is that the plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) seed: u64,
    pub(super) length: Duration,
    /// How many nats-servers there are.
    pub(super) servers: usize,
    /// Whether the disk of NATS can be filled.
    pub(super) small_disk: bool,
}

/// What goes wrong with a process or a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Fault {
    /// SIGKILL of one process of a role; a new one comes when the fault is over.
    Kill(RoleKind),
    /// SIGSTOP, and SIGCONT when the fault is over.
    Freeze(RoleKind),
    /// SIGKILL of a nats-server, and a new one on the same store.
    KillNats,
    /// SIGSTOP and SIGCONT of a nats-server.
    FreezeNats,
    /// SIGKILL of Postgres, and a new one on the same data.
    KillPostgres,
    /// Postgres ends in order, and starts again.
    RestartPostgres,
    /// The stream refuses every message, as it does when it is full.
    Full(&'static str),
    /// The file system of the NATS store is full. The server switches JetStream off, so that it is
    /// restarted when there is room again.
    FullDisk,
}

/// What goes wrong at GitHub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Weather {
    /// Answers take longer.
    Slow,
    /// Some requests are answered 502, and have no effect.
    Failing,
    /// Some connections are closed before the request has an effect.
    Unreachable,
    /// Some requests have their effect, and their answer is lost.
    AnswersLost,
    /// Some requests have their effect, and are answered 502.
    WrongAnswers,
    /// Some requests are answered 429 with Retry-After.
    Limited,
    /// Answers come in pieces.
    SlowBodies,
}

/// A fault and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned<F> {
    /// Since the beginning.
    pub(super) at: Duration,
    pub(super) lasts: Duration,
    pub(super) fault: F,
    /// Which of several processes or servers.
    pub(super) which: usize,
}

/// Everything that goes wrong in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) faults: Vec<Planned<Fault>>,
    pub(super) weather: Vec<Planned<Weather>>,
}

const FAULTS: [Fault; 17] = [
    Fault::Kill(RoleKind::Orchestrator),
    Fault::Freeze(RoleKind::Orchestrator),
    Fault::Kill(RoleKind::GithubWorker),
    Fault::Freeze(RoleKind::GithubWorker),
    Fault::Kill(RoleKind::TestWorker),
    Fault::Freeze(RoleKind::TestWorker),
    Fault::Kill(RoleKind::Projector),
    Fault::Freeze(RoleKind::Projector),
    Fault::Kill(RoleKind::Gateway),
    Fault::Freeze(RoleKind::Gateway),
    Fault::KillNats,
    Fault::FreezeNats,
    Fault::KillPostgres,
    Fault::RestartPostgres,
    Fault::Full("AFU9_LOG"),
    Fault::Full("AFU9_HISTORY"),
    Fault::Full("AFU9_WORK_GITHUB"),
];

const WEATHER: [Weather; 7] = [
    Weather::Slow,
    Weather::Failing,
    Weather::Unreachable,
    Weather::AnswersLost,
    Weather::WrongAnswers,
    Weather::Limited,
    Weather::SlowBodies,
];

impl Plan {
    pub(super) fn new(scope: Scope) -> Self {
        let mut faults = Generator::new(scope.seed, 1);
        let mut weather = Generator::new(scope.seed, 2);
        let mut possible = FAULTS.to_vec();
        if scope.small_disk {
            possible.push(Fault::FullDisk);
        }
        Self {
            faults: track(&mut faults, scope, &possible, |random, fault| {
                duration(random, *fault, scope)
            }),
            weather: track(&mut weather, scope, &WEATHER, |random, _| {
                random.between(2_500, 6_000)
            }),
        }
    }
}

/// Each fault once in a drawn order, then again in another one, until the time is over. All are over
/// before the end.
fn track<F: Copy>(
    random: &mut Generator,
    scope: Scope,
    all: &[F],
    mut lasts: impl FnMut(&mut Generator, &F) -> u64,
) -> Vec<Planned<F>> {
    let length = u64::try_from(scope.length.as_millis()).unwrap_or(u64::MAX);
    let mut planned = Vec::new();
    let mut at = FIRST_AFTER_MS;
    let mut deck = Vec::new();
    loop {
        if deck.is_empty() {
            deck = all.to_vec();
            random.shuffle(&mut deck);
        }
        let Some(fault) = deck.pop() else {
            return planned;
        };
        let which = random.index(usize::MAX);
        let lasts = lasts(random, &fault);
        if at.saturating_add(lasts) > length {
            return planned;
        }
        planned.push(Planned {
            at: Duration::from_millis(at),
            lasts: Duration::from_millis(lasts),
            fault,
            which,
        });
        at += lasts + random.between(GAP_MS.0, GAP_MS.1);
    }
}

fn duration(random: &mut Generator, fault: Fault, scope: Scope) -> u64 {
    let (least, most) = match fault {
        Fault::Freeze(RoleKind::GithubWorker | RoleKind::TestWorker)
            if scope.length >= FREEZE_WORKERS_LONG_FROM =>
        {
            BEYOND_ACK_WAIT_MS
        }
        Fault::Freeze(_) => BEYOND_LEASE_MS,
        // The rest of a cluster must elect others, and the one that comes back must catch up.
        Fault::KillNats if scope.servers > 1 => (3_000, 8_000),
        Fault::Kill(_) | Fault::KillNats => (100, 2_000),
        // Longer than owners go on without renewing their leases.
        Fault::FreezeNats => (1_000, 6_000),
        Fault::KillPostgres | Fault::RestartPostgres => (500, 5_000),
        Fault::Full(_) | Fault::FullDisk => (2_000, 6_000),
    };
    random.between(least, most)
}

impl Fault {
    /// How the report calls it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Kill(role) => format!("kill_{}", role.name().replace('-', "_")),
            Self::Freeze(role) => format!("freeze_{}", role.name().replace('-', "_")),
            Self::KillNats => "kill_nats".to_owned(),
            Self::FreezeNats => "freeze_nats".to_owned(),
            Self::KillPostgres => "kill_postgres".to_owned(),
            Self::RestartPostgres => "restart_postgres".to_owned(),
            Self::FullDisk => "full_disk".to_owned(),
            Self::Full(stream) => {
                format!("full_{}", stream.trim_start_matches("AFU9_").to_lowercase())
            }
        }
    }
}

impl Weather {
    /// How the report calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Slow => "github_slow",
            Self::Failing => "github_failing",
            Self::Unreachable => "github_unreachable",
            Self::AnswersLost => "github_answers_lost",
            Self::WrongAnswers => "github_wrong_answers",
            Self::Limited => "github_limited",
            Self::SlowBodies => "github_slow_bodies",
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.faults.iter();
        let faults = faults.map(|one| (one.at, one.lasts, one.fault.name()));
        let weather = self.weather.iter();
        let weather = weather.map(|one| (one.at, one.lasts, one.fault.name().to_owned()));
        let mut all: Vec<_> = faults.chain(weather).collect();
        all.sort();
        for (at, lasts, name) in all {
            let (at, lasts) = (at.as_secs_f64(), lasts.as_secs_f64());
            writeln!(f, "  {at:>8.1} s  {name}, for {lasts:.1} s")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(seed: u64, seconds: u64) -> Scope {
        Scope {
            seed,
            length: Duration::from_secs(seconds),
            servers: 1,
            small_disk: true,
        }
    }

    #[test]
    fn a_seed_decides_the_plan() {
        assert_eq!(Plan::new(scope(3, 180)), Plan::new(scope(3, 180)));
        assert_ne!(Plan::new(scope(3, 180)), Plan::new(scope(4, 180)));
    }

    #[test]
    fn faults_come_one_after_the_other_and_are_over_in_time() {
        for seed in 0..50 {
            let plan = Plan::new(scope(seed, 180));
            let mut free = Duration::ZERO;
            for one in &plan.faults {
                assert!(one.at > free, "{plan}");
                free = one.at + one.lasts;
            }
            assert!(free <= Duration::from_secs(180), "{plan}");
            assert!(plan.faults.len() > 10 && plan.weather.len() > 10, "{plan}");
        }
    }

    #[test]
    fn a_run_of_five_minutes_has_every_fault() {
        let plan = Plan::new(scope(1, 300));
        for fault in FAULTS.into_iter().chain([Fault::FullDisk]) {
            assert!(
                plan.faults.iter().any(|one| one.fault == fault),
                "{fault:?}"
            );
        }
        for weather in WEATHER {
            assert!(
                plan.weather.iter().any(|one| one.fault == weather),
                "{weather:?}"
            );
        }
    }
}
