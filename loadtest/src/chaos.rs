//! Chaos: AFU-9 as real processes under load, while everything fails that can; and a checker that
//! compares what was promised with what came of it.
//!
//! Called by the binary's `chaos` and by the end-to-end tests. It needs nothing but the program
//! `afu9`: nats-server and Postgres are found or installed, GitHub is simulated in this process.
//! Everything is on loopback, bounded in count and in time, and ended by process id.
//!
//! The same seed gives the same work and the same faults at the same times. What is under way when a
//! fault strikes is up to the machine, so a violation may need several runs to be seen again.

mod check;
mod client;
mod facts;
mod inject;
mod load;
mod plan;
mod report;
mod witness;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use afu9_servers::Durability;
use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;

use crate::system::{self, RoleKind, System};
use check::check;
use client::Client;
use facts::Facts;
use inject::Injector;
use load::{Load, Submission};
use plan::{Plan, Scope};
use witness::Witness;
use work::Work;

pub use crate::system::beside_this_program;
pub use report::Report;

/// After the last fault, everything that was accepted has ended within this time: a job that a dead
/// worker had comes back after 30 s, history that a dead projector had after 60 s, and poison that
/// crashes workers is given up after 150 s.
const REST_WITHIN: Duration = Duration::from_secs(240);

/// What comes late comes within this time after everything has ended.
const SETTLE: Duration = Duration::from_secs(4);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Messages that nobody can read, put into the queue of each worker kind. They begin with a version
/// that is known: one of an unknown version is left where it is, for a newer process.
const UNREADABLE: [(&str, &[u8]); 2] = [
    ("afu9.work.github.bulk", b"\x02no message at all"),
    ("afu9.work.test.interactive", b"\x01neither is this"),
];

/// Room for hours of this load, and little enough to be filled at once: it is memory.
const SMALL_DISK_MIB: u32 = 256;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program `afu9`.
    pub binary: PathBuf,
    /// How long faults strike.
    pub length: Duration,
    /// Decides work and faults.
    pub seed: u64,
    /// What an acknowledgement of NATS means.
    pub durability: Durability,
    /// Three nats-servers instead of one.
    pub cluster: bool,
    /// The store of NATS is on a small file system, which is filled: one more fault.
    pub small_disk: bool,
    /// Executions started each second.
    pub rate: f64,
}

impl Options {
    /// Longest run.
    pub const MAX_LENGTH: Duration = Duration::from_secs(6 * 3600);

    /// Most executions each second: the simulated GitHub keeps a bounded log of effects.
    pub const MAX_RATE: f64 = 50.0;

    /// The command that repeats it.
    fn command(&self) -> String {
        let mut command = format!(
            "afu9-loadtest chaos --minutes {} --seed {} --rate {}",
            self.length.as_secs_f64() / 60.0,
            self.seed,
            self.rate
        );
        if self.durability == Durability::Durable {
            command.push_str(" --durable");
        }
        if self.cluster {
            command.push_str(" --cluster");
        }
        if self.small_disk {
            command.push_str(" --small-disk");
        }
        command
    }

    fn scope(&self) -> Scope {
        Scope {
            seed: self.seed,
            length: self.length,
            servers: if self.cluster { 3 } else { 1 },
            small_disk: self.small_disk,
        }
    }

    fn system(&self) -> system::Options {
        system::Options {
            binary: self.binary.clone(),
            name: "chaos",
            durability: self.durability,
            cluster: self.cluster,
            small_disk: self.small_disk.then_some(SMALL_DISK_MIB),
            roles: vec![
                (RoleKind::Orchestrator, 2),
                (RoleKind::GithubWorker, 2),
                (RoleKind::TestWorker, 2),
                (RoleKind::Projector, 1),
                (RoleKind::Gateway, 2),
            ],
            routes: work::routes(),
            seed: self.seed,
        }
    }
}

/// Runs it, and ends everything that it started.
///
/// # Errors
/// When something could not be started or looked at. What AFU-9 did wrong is in the report, not an
/// error.
pub async fn run(options: &Options) -> Result<Report> {
    ensure!(
        options.rate > 0.0 && options.rate <= Options::MAX_RATE,
        "the rate must be above 0 and at most {}",
        Options::MAX_RATE
    );
    ensure!(
        !(options.cluster && options.small_disk),
        "a cluster has no small disk: choose one of both"
    );
    ensure!(
        options.length <= Options::MAX_LENGTH,
        "a run may take {:?} at most",
        Options::MAX_LENGTH
    );
    let plan = Plan::new(options.scope());
    tracing::info!("repeat with: {}", options.command());
    tracing::info!("planned faults:\n{plan}");
    let mut system = System::start(&options.system()).await?;
    tracing::info!(directory = %system.directory().display(), "AFU-9 is ready; data and logs are there");
    let client = Client::new(&system.gateways)?;
    let witness = Witness::start(&system.gateways)?;
    let load = Load {
        seed: options.seed,
        rate: options.rate,
        mix: work::mix(options.seed, options.length.as_secs(), options.rate),
        client: client.clone(),
        github: system.github.handle.clone(),
    };
    load.prepare().await?;
    for (subject, bytes) in UNREADABLE {
        system.nats.request(subject, bytes).await?;
    }

    let begun = Instant::now();
    let injector = Injector::new(&mut system, &plan);
    let (submissions, counts) =
        tokio::try_join!(load.run(begun), injector.run(begun, options.length))?;
    tracing::info!(submissions = submissions.len(), "faults and load are over");
    let rested = rest(&mut system, &submissions).await?;
    let mut facts = gather(&system, &client, &witness, submissions).await?;
    let restarts = system.roles.iter().map(|role| role.restarts).sum();
    explain_stuck(&client, &facts).await;
    drop(witness);
    facts.mistakes = system.end_roles()?;
    let verdict = check(&facts);
    Ok(Report {
        options: options.clone(),
        command: options.command(),
        faults: counts,
        verdict,
        effects: facts.effects,
        answers_lost: facts.answers_lost,
        requests_repeated: client.repeated(),
        restarts,
        rested,
        directory: system.directory().to_owned(),
    })
}

/// Waits until everything that was accepted has ended and is in history; returns how long it took.
/// What has not ended in time is for the checker.
async fn rest(system: &mut System, submissions: &[Submission]) -> Result<Duration> {
    let begun = Instant::now();
    let mut last = String::new();
    while begun.elapsed() < REST_WITHIN {
        system.supervise()?;
        // Postgres may still be busy with its own recovery.
        match left(system, submissions) {
            Ok(0) => {
                let took = begun.elapsed();
                tokio::time::sleep(SETTLE).await;
                return Ok(took);
            }
            Ok(left) => {
                last = format!("{left} executions have not ended, or are not in history as a whole")
            }
            Err(error) => last = format!("{error:#}"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tracing::warn!("not at rest after {REST_WITHIN:?}: {last}");
    Ok(begun.elapsed())
}

/// How many executions are still to end, or to be written as a whole.
fn left(system: &System, submissions: &[Submission]) -> Result<usize> {
    let rows = facts::rows(system)?;
    let open = rows.iter().filter(|row| !row.has_ended()).count();
    let accepted = submissions
        .iter()
        .filter(|one| !matches!(one.accepted, load::Accepted::No(_)))
        .count();
    let parents = submissions.iter().filter(|one| one.work == Work::Items);
    let wanted = accepted + parents.count();
    let left = open.max(wanted.saturating_sub(rows.len()));
    if left > 0 {
        return Ok(left);
    }
    Ok(check::gaps(&rows, &facts::steps(system)?).len())
}

async fn gather(
    system: &System,
    client: &Client,
    witness: &Witness,
    submissions: Vec<Submission>,
) -> Result<Facts> {
    let mut facts = Facts {
        submissions,
        rows: facts::rows(system).context("read executions")?,
        steps: facts::steps(system).context("read steps")?,
        listed: facts::listed(client).await.context("list executions")?,
        ends: witness.ends(),
        letters: facts::letters(&system.nats).await?,
        unreadable: UNREADABLE.len(),
        ..Facts::default()
    };
    facts.look_outside(&system.github.handle)?;
    Ok(facts)
}

/// Says what AFU-9 itself says about what has not ended.
async fn explain_stuck(client: &Client, facts: &Facts) {
    const EXPLAINED: usize = 5;
    let open = facts.rows.iter().filter(|row| !row.has_ended());
    for row in open.take(EXPLAINED) {
        let path = format!("/api/executions/{}/explain", row.id);
        match client.get(&path).await {
            Ok(answer) => tracing::warn!("{} is {}: {}", row.id, row.status, answer.json),
            Err(error) => tracing::warn!("{} is {}: {error:#}", row.id, row.status),
        }
    }
}
