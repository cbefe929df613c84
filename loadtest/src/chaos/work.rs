//! What the executions of a chaos run do, what must come of each, and in which mix they are started.

use serde_json::{Value, json};

use crate::random::Generator;
use crate::system::REPOSITORY;

/// Items of the list of [`Work::Items`].
pub(super) const ITEMS: u32 = 3;

/// Keys of [`Work::One`] that are in use at the same time.
pub(super) const KEYS: u64 = 3;

/// After so many executions a key is replaced: a comment is found again among a thousand of its
/// issue, and each execution writes two.
pub(super) const EXECUTIONS_PER_KEY: u64 = 100;

/// The label that makes a delivery start [`Work::Hook`].
pub(super) const LABEL: &str = "chaos";

/// Far more attempts and time than any real GitHub needs: here it fails on purpose, and an
/// execution that ran out of attempts would say nothing about what was lost.
const GITHUB_ATTEMPTS: u32 = 10;

/// An execution of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Work {
    /// Steps without effect, one of which is deferred.
    Plain,
    /// A branch, a commit, a pull request and a comment.
    Change,
    /// A list with an effect for each item, failing attempts, a timer, a child.
    Items,
    /// The child of [`Work::Items`].
    Child,
    /// Two effects, one execution at a time for each key.
    One,
    /// An effect, a failure, and what undoes the effect.
    Undo,
    /// One effect, started by a webhook.
    Hook,
    /// Poison: a tool that fails for good.
    Permanent,
    /// Poison: a tool that fails at every attempt.
    Exhausting,
    /// Poison: a job that ends every worker that takes it.
    Crashing,
}

impl Work {
    pub(super) const ALL: [Self; 10] = [
        Self::Plain,
        Self::Change,
        Self::Items,
        Self::Child,
        Self::One,
        Self::Undo,
        Self::Hook,
        Self::Permanent,
        Self::Exhausting,
        Self::Crashing,
    ];

    /// The workflow's name.
    pub(super) fn workflow(self) -> &'static str {
        match self {
            Self::Plain => "chaos_plain",
            Self::Change => "chaos_change",
            Self::Items => "chaos_items",
            Self::Child => "chaos_child",
            Self::One => "chaos_one",
            Self::Undo => "chaos_undo",
            Self::Hook => "chaos_hook",
            Self::Permanent => "chaos_permanent",
            Self::Exhausting => "chaos_exhausting",
            Self::Crashing => "chaos_crashing",
        }
    }

    pub(super) fn of_workflow(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|work| work.workflow() == name)
    }

    /// How it must end.
    pub(super) fn status(self) -> &'static str {
        if self.is_poison() {
            "failed"
        } else {
            "completed"
        }
    }

    /// Whether it ends as exactly one dead letter; all others as none.
    pub(super) fn is_poison(self) -> bool {
        matches!(
            self,
            Self::Undo | Self::Permanent | Self::Exhausting | Self::Crashing
        )
    }

    /// Whether GitHub has an issue for each execution.
    pub(super) fn has_issue(self) -> bool {
        matches!(self, Self::Change | Self::Items | Self::Undo | Self::Hook)
    }

    /// The keys, behind the execution's id, of the comments that one execution leaves; a child's are
    /// its own.
    pub(super) fn comments(self) -> Vec<String> {
        match self {
            Self::Change => vec!["4".to_owned()],
            Self::Items => (0..ITEMS).map(|item| format!("0-{item}")).collect(),
            Self::Child | Self::Hook => vec!["0".to_owned()],
            Self::One => vec!["0".to_owned(), "1".to_owned()],
            // Its compensation is numbered behind the two steps.
            Self::Undo => vec!["0".to_owned(), "2".to_owned()],
            Self::Plain | Self::Permanent | Self::Exhausting | Self::Crashing => Vec::new(),
        }
    }

    /// How many attempts a step may have at most: those of its policy, and one that a worker was lost with.
    pub(super) fn attempts(step: &str) -> usize {
        let policy = match step {
            "plain_1" | "plain_2" | "plain_3" => 3,
            "flaky" => 4,
            "permanent" | "crash" => 1,
            "exhaust" => 2,
            "nap" | "child" => 1,
            _ => GITHUB_ATTEMPTS,
        };
        policy as usize + 1
    }

    /// The definition.
    pub(super) fn definition(self) -> Value {
        let steps = match self {
            Self::Plain => json!([
                { "name": "plain_1", "tool": "test.noop" },
                { "name": "plain_2", "tool": "test.echo", "params": { "value": "${input.n}" } },
                { "name": "plain_3", "tool": "test.wait", "params": { "times": 2, "afterMs": 300 } },
            ]),
            Self::Change => change_steps(),
            Self::Items => json!([
                {
                    "name": "each", "forEach": format!("${{range({ITEMS})}}"), "maxParallel": 2,
                    "tool": "github.addComment", "retry": retry(),
                    "params": comment("item ${item}"),
                },
                {
                    "name": "flaky", "tool": "test.fail", "params": { "times": 2 },
                    "retry": { "maxAttempts": 4, "initialDelayMs": 100 },
                },
                { "name": "nap", "sleep": 700 },
                {
                    "name": "child",
                    "workflow": { "name": Self::Child.workflow(), "input": { "issue": "${input.issue}" } },
                },
            ]),
            Self::Child | Self::Hook => json!([commenting("note")]),
            Self::One => json!([commenting("enter"), commenting("leave")]),
            Self::Undo => {
                let mut first = commenting("act");
                first["compensate"] = json!({
                    "tool": "github.addComment", "retry": retry(), "params": comment("undone"),
                });
                json!([first, failing("permanent", 1, "permanent")])
            }
            Self::Permanent => json!([failing("permanent", 1, "permanent")]),
            Self::Exhausting => json!([failing("exhaust", 2, "retryable")]),
            Self::Crashing => json!([{
                "name": "crash", "tool": "test.crash", "params": {}, "retry": { "maxAttempts": 1 },
            }]),
        };
        let mut definition = json!({
            "name": self.workflow(),
            "steps": steps,
            // Whatever faults delay, time is not what ends an execution here.
            "config": { "timeoutMs": 7_200_000, "cleanupTimeoutMs": 7_200_000 },
        });
        if self == Self::One {
            definition["concurrency"] = json!({ "key": "${input.issue}", "limit": 1 });
        }
        definition
    }
}

fn retry() -> Value {
    json!({ "maxAttempts": GITHUB_ATTEMPTS, "initialDelayMs": 1_000, "maxDelayMs": 20_000 })
}

fn at_repository(mut params: Value) -> Value {
    let (owner, name) = REPOSITORY.split_once('/').unwrap_or_default();
    params["owner"] = json!(owner);
    params["repo"] = json!(name);
    params
}

fn comment(text: &str) -> Value {
    at_repository(json!({ "number": "${input.issue}", "body": text }))
}

fn commenting(name: &str) -> Value {
    json!({ "name": name, "tool": "github.addComment", "retry": retry(), "params": comment(name) })
}

fn failing(name: &str, attempts: u32, class: &str) -> Value {
    json!({
        "name": name, "tool": "test.fail", "params": { "class": class },
        "retry": { "maxAttempts": attempts, "initialDelayMs": 100 },
    })
}

fn change_steps() -> Value {
    let branch = "chaos/${input.issue}";
    let step = |name: &str, tool: &str, params: Value| {
        let params = at_repository(params);
        json!({ "name": name, "tool": tool, "retry": retry(), "params": params })
    };
    json!([
        step(
            "fetch",
            "github.getIssue",
            json!({ "number": "${input.issue}" })
        ),
        step(
            "branch",
            "github.createBranch",
            json!({ "branch": branch, "from": "main" })
        ),
        step(
            "commit",
            "github.commitFiles",
            json!({
                "branch": branch, "message": "Change ${input.issue}",
                "files": [{ "path": "chaos/${input.issue}.md", "content": "changed" }],
            })
        ),
        step(
            "pull",
            "github.createPullRequest",
            json!({
                "title": "Change ${input.issue}", "head": branch, "base": "main",
            })
        ),
        commenting("tell"),
    ])
}

/// The routes file: a labelled issue starts [`Work::Hook`].
pub(super) fn routes() -> String {
    format!(
        "[[route]]\nname = \"chaos\"\nevent = \"issues\"\naction = \"labeled\"\n\
         filter = \"event.label.name == '{LABEL}'\"\nworkflow = \"{}\"\n\
         input = {{ issue = \"${{event.issue.number}}\" }}\n",
        Work::Hook.workflow()
    )
}

/// How much poison a run gets, the undone executions of the mix not counted.
const POISON_PER_MINUTE: f64 = 4.0;

/// A crashing job is given up after five deliveries, thirty seconds apart.
pub(super) const CRASHING_FROM_S: u64 = 170;

/// What is started, in its order: decided by the seed alone.
pub(super) fn mix(seed: u64, seconds: u64, rate: f64) -> Vec<Work> {
    const PURPOSE: u64 = 3;
    let mut random = Generator::new(seed, PURPOSE);
    let count = (seconds as f64 * rate).ceil().max(1.0) as usize;
    let mut mix: Vec<Work> = (0..count)
        .map(|_| match random.below(100) {
            0..20 => Work::Plain,
            20..45 => Work::Change,
            45..60 => Work::Items,
            60..80 => Work::One,
            80..85 => Work::Undo,
            _ => Work::Hook,
        })
        .collect();
    let poison = (seconds as f64 / 60.0 * POISON_PER_MINUTE).ceil() as usize;
    for number in 0..poison {
        let place = random.index(mix.len());
        mix[place] = if number % 2 == 0 {
            Work::Permanent
        } else {
            Work::Exhausting
        };
    }
    // At the beginning, so that it can be given up before the end.
    if seconds >= CRASHING_FROM_S {
        mix[0] = Work::Crashing;
    }
    mix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_mix_and_every_kind_of_work_is_in_it() {
        let long = mix(7, CRASHING_FROM_S, 5.0);
        assert_eq!(long, mix(7, CRASHING_FROM_S, 5.0));
        assert_ne!(long, mix(8, CRASHING_FROM_S, 5.0));
        for work in Work::ALL.into_iter().filter(|work| *work != Work::Child) {
            assert!(long.contains(&work), "{work:?}");
        }
        let short = mix(7, 60, 5.0);
        assert!(!short.contains(&Work::Crashing));
    }

    #[test]
    fn names_of_workflows_are_their_own() {
        for work in Work::ALL {
            assert_eq!(Work::of_workflow(work.workflow()), Some(work));
        }
    }
}
