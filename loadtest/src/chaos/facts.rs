//! What is known at the end of a run: from AFU-9's database and API, from its dead letters, and from
//! the outside's own log of effects.

use std::collections::{BTreeMap, BTreeSet};

use afu9_schemas::codec;
use afu9_schemas::message::DeadLetter;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::client::Client;
use super::load::Submission;
use super::work::Work;
use crate::nats::Nats;
use crate::simulated_github::{Effect, EffectKind, Handle};
use crate::system::{REPOSITORY, System};

/// How an effect's marker begins; the key follows.
const MARKER: &str = "afu9:key=";

/// The stream of dead letters.
pub(super) const DEAD_LETTERS: &str = "AFU9_DLQ";

/// An execution as Postgres has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) workflow: String,
    pub(super) status: String,
    /// Number of its newest event.
    pub(super) number: u32,
    /// Steps that were undone: each has ended twice, and its row tells the second end.
    pub(super) compensated: u32,
    /// It contends for a key: it may have waited for it, which is an event without a row.
    pub(super) keyed: bool,
    pub(super) parent: String,
    pub(super) issue: u64,
}

impl Row {
    /// Whether its status is a last one.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "failed" | "cancelled")
    }
}

/// A step, or an item of it, as Postgres has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Step {
    pub(super) execution: String,
    pub(super) name: String,
    pub(super) number: u32,
    /// The numbers of its attempts, in order, without those that stand for a deferral.
    pub(super) attempts: Vec<u32>,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    /// `None` for one that could not be read.
    pub(super) execution: Option<String>,
    pub(super) reason: &'static str,
}

/// How the ends of executions were told while the run went on: number and status of each.
pub(super) type Ends = BTreeMap<String, BTreeSet<(u64, String)>>;

/// Everything that the checker compares.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) submissions: Vec<Submission>,
    pub(super) rows: Vec<Row>,
    pub(super) steps: Vec<Step>,
    /// Status by id, as the API lists them.
    pub(super) listed: BTreeMap<String, String>,
    pub(super) ends: Ends,
    pub(super) letters: Vec<Letter>,
    /// Messages put into queues that nobody can read.
    pub(super) unreadable: usize,
    /// How often each comment is there, by its key.
    pub(super) comments: BTreeMap<String, i64>,
    /// The keys of the comments of each issue, oldest first.
    pub(super) conversations: BTreeMap<u64, Vec<String>>,
    /// How often each branch was made.
    pub(super) branches: BTreeMap<String, u64>,
    /// How often each branch was moved.
    pub(super) moves: BTreeMap<String, u64>,
    /// How many pull requests each branch has.
    pub(super) pulls: BTreeMap<String, u64>,
    /// Effects at GitHub in all.
    pub(super) effects: u64,
    /// Effects whose answer was lost.
    pub(super) answers_lost: u64,
    /// Roles that panicked, or did not end in order.
    pub(super) mistakes: Vec<String>,
}

/// The executions in Postgres.
pub(super) fn rows(system: &System) -> Result<Vec<Row>> {
    let found = system.query(
        "SELECT id, coalesce(workflow_name, ''), status, event_number, steps_compensated, \
         concurrency_key IS NOT NULL, coalesce(parent_execution_id::text, ''), \
         coalesce(input->>'issue', '0') FROM workflow_executions",
    )?;
    let row = |fields: Vec<String>| {
        let [
            id,
            workflow,
            status,
            number,
            compensated,
            keyed,
            parent,
            issue,
        ] = <[String; 8]>::try_from(fields)
            .ok()
            .context("eight columns")?;
        anyhow::Ok(Row {
            id,
            workflow,
            status,
            number: number.parse()?,
            compensated: compensated.parse()?,
            keyed: keyed == "t",
            parent,
            issue: issue.parse()?,
        })
    };
    found.rows.into_iter().map(row).collect()
}

/// The steps in Postgres.
pub(super) fn steps(system: &System) -> Result<Vec<Step>> {
    let found = system.query(
        "SELECT execution_id, step_name, event_number, \
         coalesce(attempts::text, '[]') FROM workflow_steps",
    )?;
    let step = |fields: Vec<String>| {
        let [execution, name, number, attempts] = <[String; 4]>::try_from(fields)
            .ok()
            .context("four columns")?;
        anyhow::Ok(Step {
            execution,
            name,
            number: number.parse()?,
            attempts: numbers(&serde_json::from_str::<Vec<Value>>(&attempts)?),
        })
    };
    found.rows.into_iter().map(step).collect()
}

/// The numbers of attempts, without those that stand for a deferral.
fn numbers(attempts: &[Value]) -> Vec<u32> {
    let mut deferred = 0;
    let number = |attempt: &Value| {
        let field = |name| attempt[name].as_u64().unwrap_or(0);
        deferred += field("deferrals");
        u32::try_from(field("attempt").saturating_sub(deferred)).unwrap_or(u32::MAX)
    };
    attempts.iter().map(number).collect()
}

/// Every execution that the API lists.
pub(super) async fn listed(client: &Client) -> Result<BTreeMap<String, String>> {
    let mut listed = BTreeMap::new();
    for work in Work::ALL {
        let mut cursor = String::new();
        loop {
            let path = format!(
                "/api/executions?workflow={}&limit=100{cursor}",
                work.workflow()
            );
            let page = client.get(&path).await?;
            ensure!(page.status == 200, "{path} was answered {page:?}");
            let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
            let found = page.json["executions"].as_array().context("executions")?;
            listed.extend(
                found
                    .iter()
                    .map(|one| (text(one, "id"), text(one, "status"))),
            );
            match page.json["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
    }
    Ok(listed)
}

/// Every dead letter.
pub(super) async fn letters(nats: &Nats) -> Result<Vec<Letter>> {
    let mut letters = Vec::new();
    let last = nats.stream(DEAD_LETTERS).await?.last_seq;
    for seq in 1..=last {
        let Some(bytes) = nats.message(DEAD_LETTERS, seq).await? else {
            continue;
        };
        let letter: DeadLetter = codec::decode(&bytes).context("read a dead letter")?;
        letters.push(Letter {
            execution: letter.job.map(|job| job.id.execution.to_string()),
            reason: letter.reason.as_str(),
        });
    }
    Ok(letters)
}

impl Facts {
    /// Adds what the outside saw.
    pub(super) fn look_outside(&mut self, github: &Handle) -> Result<()> {
        let effects = github.effects();
        self.effects = github.stats().effects_recorded;
        ensure!(
            self.effects == effects.len() as u64,
            "the log of effects has forgotten some: shorten the run or lower the rate"
        );
        for effect in &effects {
            self.answers_lost += u64::from(effect.response_lost);
            self.count(effect);
        }
        let state = github.state(REPOSITORY)?;
        for pull in state.pull_requests {
            *self.pulls.entry(pull.head).or_default() += 1;
        }
        for issue in state.issues {
            let keys = issue.comments.iter().map(|body| key_in(body));
            self.conversations.insert(issue.number, keys.collect());
        }
        Ok(())
    }

    fn count(&mut self, effect: &Effect) {
        let key = || {
            let marker = effect.marker.as_deref().unwrap_or_default();
            marker.strip_prefix(MARKER).unwrap_or(marker).to_owned()
        };
        let branch = || effect.subject.trim_start_matches("refs/heads/").to_owned();
        match effect.kind {
            EffectKind::CreateComment => *self.comments.entry(key()).or_default() += 1,
            EffectKind::DeleteComment => *self.comments.entry(key()).or_default() -= 1,
            EffectKind::CreateRef => *self.branches.entry(branch()).or_default() += 1,
            EffectKind::UpdateRef if !effect.repeated => {
                *self.moves.entry(branch()).or_default() += 1;
            }
            _ => {}
        }
    }
}

/// The key that a comment was left with.
fn key_in(body: &str) -> String {
    let (_, rest) = body.rsplit_once(MARKER).unwrap_or_default();
    rest.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}
