//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The control plane of a software factory: webhooks, HTTP calls and schedules start workflows;
/// stateless workers run their steps from JetStream.
#[derive(Debug, Parser)]
#[command(name = "afu9", version, propagate_version = true)]
pub(crate) struct Arguments {
    /// Configuration file (TOML). The environment (AFU9_SECTION__KEY) overrides it.
    #[arg(long, global = true, env = "AFU9_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,

    /// Threads of this process; one unless it runs every role, which takes as many as there are cores.
    #[arg(long, global = true, env = "AFU9_THREADS", value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON document, or one a line where there are several.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run every role in this process.
    Dev,
    /// Run an orchestrator: owns partitions, decides what happens next.
    Orchestrator,
    /// Run workers: take jobs and run their tools.
    Worker {
        /// Worker kinds, separated by commas; default is `worker.kinds`.
        #[arg(long, value_delimiter = ',', value_name = "KIND")]
        kinds: Option<Vec<String>>,
    },
    /// Run a projector: writes history to Postgres.
    Projector,
    /// Run a gateway: HTTP API and webhooks.
    Gateway,
    /// Apply, check and list workflow definitions.
    #[command(subcommand)]
    Workflows(Workflows),
    /// Apply a definition, start it, and show its progress until it has ended.
    ///
    /// Exit code: 0 completed, 1 failed, 3 cancelled, 4 not ended in time.
    Run(Run),
    /// List and show executions.
    #[command(subcommand)]
    Executions(Executions),
    /// List schedules, and pause them.
    Schedules(Schedules),
    /// Begin nothing new in a scope, until it is released.
    Hold(Hold),
    /// Go on with a scope that is held.
    Release(Hold),
    /// What is held, by whom and why.
    Holds,
    /// What nobody could finish: list, replay and discard it.
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Who changed what, newest first.
    Audit(Audit),
    /// Check the configuration and everything it points to.
    Doctor,
    /// Print shell completions.
    Completions {
        /// For which shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Workflows {
    /// Store definitions as the newest versions of their workflows.
    Apply {
        /// Definitions, JSON or YAML.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Check definitions without storing them; needs no server.
    Validate {
        /// Definitions, JSON or YAML.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List workflows.
    Ls,
    /// A workflow and its definition.
    Show {
        /// Its name.
        name: String,
        /// Another version than the newest.
        #[arg(long, value_name = "VERSION")]
        of_version: Option<u32>,
    },
    /// Start an execution of a stored workflow.
    Start(Start),
    /// Let nothing start a workflow any more, whatever the trigger; what runs goes on.
    Disable(SwitchWorkflow),
    /// Let a disabled workflow be started again.
    Enable(SwitchWorkflow),
    /// The versions of a workflow, newest first.
    Versions {
        /// Its name.
        name: String,
        /// How many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// The next page: only versions before this one.
        #[arg(long, value_name = "VERSION")]
        before: Option<u32>,
    },
    /// What is different between two versions of a workflow.
    Diff {
        /// Its name.
        name: String,
        /// The older version; by default the one before the other.
        #[arg(long)]
        from: Option<u32>,
        /// The newer version; by default the newest.
        #[arg(long)]
        to: Option<u32>,
    },
    /// Run recorded executions of a workflow again under another definition, without calling anything,
    /// and tell what comes out differently.
    ///
    /// Exit code: 0 no difference, 1 differences.
    Replay {
        /// The definition, JSON or YAML.
        file: PathBuf,
        /// The workflow whose executions are replayed; by default the definition's name.
        #[arg(long)]
        workflow: Option<String>,
        /// Only this execution.
        #[arg(long, value_name = "ID")]
        execution: Option<String>,
        /// How many executions, the newest first.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
}

/// Makes a request that is sent twice count once.
#[derive(Debug, Args)]
pub(crate) struct Key {
    /// Requests with the same key are one: repeated, it changes nothing.
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The workflow's name.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) given: Given,
    /// Before others (up to 100) or after them (down to -100).
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) priority: Option<i32>,
    /// Show its progress until it has ended, for at most so many seconds; the exit code is as that of
    /// `afu9 run`.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) wait: Option<u64>,
    #[command(flatten)]
    pub(crate) key: Key,
}

/// What an execution is given.
#[derive(Debug, Args)]
pub(crate) struct Given {
    /// `name=value` (the value is JSON if it can be, else text), a JSON object, or `@file`. May be
    /// given several times.
    #[arg(long, short, value_name = "INPUT")]
    pub(crate) input: Vec<String>,
    /// The repository that `${repo.…}` means.
    #[arg(long, value_name = "OWNER/NAME")]
    pub(crate) repository: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SwitchWorkflow {
    /// Its name.
    pub(crate) name: String,
    /// Why.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) key: Key,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Schedules {
    /// Only of this workflow.
    #[arg(long, value_name = "NAME")]
    pub(crate) workflow: Option<String>,
    #[command(subcommand)]
    pub(crate) change: Option<ChangeSchedule>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChangeSchedule {
    /// Let a schedule start nothing, whatever its definition says, also in new versions.
    Pause(SwitchSchedule),
    /// Go on with a schedule; what would have come due meanwhile is not made up.
    Resume(SwitchSchedule),
}

#[derive(Debug, Args)]
pub(crate) struct SwitchSchedule {
    /// The workflow's name.
    pub(crate) workflow: String,
    /// Which of its schedules, if it has several.
    pub(crate) schedule: Option<String>,
    /// Why.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) key: Key,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetters {
    /// The newest dead letters.
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        filter: LetterFilter,
        /// Only in this state: open, replayed, discarded or all.
        #[arg(long, default_value = "open")]
        state: String,
        /// How many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// The next page: what the page before ended with.
        #[arg(long)]
        cursor: Option<String>,
    },
    /// One dead letter, with all that is known of it.
    Show {
        /// Its id.
        id: String,
    },
    /// Try again what it is about: another attempt at the step, or routing the delivery again.
    Replay {
        /// Its id.
        id: String,
        /// Parameters in place of those the step had: a JSON object, or `@file`.
        #[arg(long, value_name = "JSON")]
        params: Option<String>,
        /// Why.
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        key: Key,
    },
    /// Do nothing about it.
    Discard {
        /// Its id.
        id: String,
        /// Why.
        #[arg(long)]
        note: String,
        #[command(flatten)]
        key: Key,
    },
    /// One wish about many open dead letters, the newest first.
    ///
    /// Exit code: 0 if all that match were dealt with, 1 otherwise: some were refused or failed, or others
    /// match too (`--cursor` goes on with them).
    Bulk(BulkLetters),
}

/// Which dead letters are meant.
#[derive(Debug, Args)]
pub(crate) struct LetterFilter {
    /// Only with this reason: undecodable, permanent, attempts_exhausted, deliveries_exhausted,
    /// unroutable, unstarted, unwritable or poison.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Only of this worker kind.
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Only of this tool.
    #[arg(long)]
    pub(crate) tool: Option<String>,
    /// Only of this workflow.
    #[arg(long)]
    pub(crate) workflow: Option<String>,
    /// Only about this execution.
    #[arg(long, value_name = "ID")]
    pub(crate) execution: Option<String>,
    /// Not before this instant (RFC 3339).
    #[arg(long, value_name = "INSTANT")]
    pub(crate) since: Option<String>,
    /// Before this instant (RFC 3339).
    #[arg(long, value_name = "INSTANT")]
    pub(crate) until: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BulkLetters {
    /// What to do.
    #[arg(value_enum)]
    pub(crate) action: LetterAction,
    #[command(flatten)]
    pub(crate) filter: LetterFilter,
    /// Every open dead letter, where nothing else says which.
    #[arg(long)]
    pub(crate) all: bool,
    /// Only count.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Why; needed for `discard`.
    #[arg(long)]
    pub(crate) note: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = 500)]
    pub(crate) limit: u32,
    /// Go on behind those an earlier request was about.
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    #[command(flatten)]
    pub(crate) key: Key,
}

/// What can be done about dead letters.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LetterAction {
    /// Try again what they are about.
    Replay,
    /// Do nothing about them.
    Discard,
}

impl LetterAction {
    /// Its name in the API.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
        }
    }
}

/// Which entries of the audit log.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Only about this execution.
    #[arg(long, value_name = "ID")]
    pub(crate) execution: Option<String>,
    /// Only this action: cancel, pause, resume, retry, rerun, signal, approve, reject, move, hold,
    /// release, apply, replay or discard.
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// Only what this token did.
    #[arg(long, value_name = "TOKEN")]
    pub(crate) by: Option<String>,
    /// Only what came to this: applied, unchanged or refused.
    #[arg(long)]
    pub(crate) outcome: Option<String>,
    /// Not before this instant (RFC 3339).
    #[arg(long, value_name = "INSTANT")]
    pub(crate) from: Option<String>,
    /// Before this instant (RFC 3339).
    #[arg(long, value_name = "INSTANT")]
    pub(crate) to: Option<String>,
    /// How many.
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
    /// The next page: what the page before ended with.
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
}

/// What is held. Exactly one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Scope {
    /// Everything.
    #[arg(long)]
    pub(crate) all: bool,
    /// Executions of this workflow.
    #[arg(long, value_name = "NAME")]
    pub(crate) workflow: Option<String>,
    /// Jobs of this worker kind.
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Hold {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Why.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) key: Key,
}

/// What a wish is about.
#[derive(Debug, Args)]
pub(crate) struct Wish {
    /// The execution's id.
    pub(crate) id: String,
    /// Why.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) key: Key,
}

/// Which executions are meant.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Only with this status.
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Only of this workflow.
    #[arg(long)]
    pub(crate) workflow: Option<String>,
    /// Only with this concurrency key.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Only those that this started.
    #[arg(long, value_name = "NAME")]
    pub(crate) triggered_by: Option<String>,
    /// Only those that began at this instant (RFC 3339) or later.
    #[arg(long, value_name = "INSTANT")]
    pub(crate) started_after: Option<String>,
    /// Only those that began before this instant (RFC 3339).
    #[arg(long, value_name = "INSTANT")]
    pub(crate) started_before: Option<String>,
    /// The next page: what the page before ended with.
    #[arg(long)]
    pub(crate) cursor: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The definition, JSON or YAML.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) given: Given,
    /// Give up waiting after this many seconds; the execution goes on.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub(crate) wait: u64,
    #[command(flatten)]
    pub(crate) key: Key,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Executions {
    /// The newest executions.
    Ls {
        #[command(flatten)]
        filter: Filter,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// One execution with its steps and attempts.
    Show {
        /// Its id.
        id: String,
    },
    /// The items of a step that have ended.
    Items {
        /// The execution's id.
        id: String,
        /// The step's name.
        step: String,
        /// How many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// The next page: only items behind this one.
        #[arg(long, value_name = "ITEM")]
        after: Option<u32>,
    },
    /// What happens, as it happens: in one execution until it has ended, or in all of them.
    ///
    /// Of one execution, the exit code is as that of `afu9 run`.
    Events {
        /// The execution's id.
        id: Option<String>,
        /// Only these kinds of events, separated by commas.
        #[arg(long, value_delimiter = ',')]
        kinds: Option<Vec<String>>,
    },
    /// Why an execution is where it is.
    Explain {
        /// Its id.
        id: String,
    },
    /// End an execution; what it did is undone where its definition says how.
    Cancel(Wish),
    /// Begin nothing new in an execution.
    Pause(Wish),
    /// Go on with a paused execution.
    Resume(Wish),
    /// Run the failed steps of a failed execution again.
    Retry {
        #[command(flatten)]
        wish: Wish,
        /// Only this step.
        #[arg(long)]
        step: Option<String>,
        /// Parameters in place of those the step had: a JSON object, or `@file`.
        #[arg(long, value_name = "JSON")]
        params: Option<String>,
    },
    /// Start an execution again as a new one.
    Rerun {
        #[command(flatten)]
        wish: Wish,
        /// The input in place of the earlier one; as for `afu9 run`.
        #[arg(long, short, value_name = "INPUT")]
        input: Vec<String>,
        /// Keep the outputs of the steps before this one.
        #[arg(long, value_name = "STEP")]
        from_step: Option<String>,
        /// The version to run; by default the one of the earlier execution.
        #[arg(long, value_name = "VERSION")]
        of_version: Option<u32>,
    },
    /// Tell an execution something it may wait for.
    Signal {
        /// Its id.
        id: String,
        /// The signal's name.
        name: String,
        /// What is told: JSON, or `@file`.
        #[arg(long, default_value = "null", value_name = "JSON")]
        payload: String,
        #[command(flatten)]
        key: Key,
    },
    /// Approve what an execution waits for.
    Approve {
        #[command(flatten)]
        wish: Wish,
        /// The step, if several wait.
        #[arg(long)]
        step: Option<String>,
    },
    /// Reject what an execution waits for.
    Reject {
        #[command(flatten)]
        wish: Wish,
        /// The step, if several wait.
        #[arg(long)]
        step: Option<String>,
    },
    /// Let a running execution go on with another version of its workflow, if its state fits.
    Move {
        #[command(flatten)]
        wish: Wish,
        /// The version.
        #[arg(long, value_name = "VERSION")]
        to: u32,
    },
    /// One wish about many executions, the newest first.
    ///
    /// Exit code: 0 if all that match were dealt with, 1 otherwise: some were refused or failed, others
    /// match too (`--cursor` goes on with them), or somebody did not answer.
    Bulk(Bulk),
}

#[derive(Debug, Args)]
pub(crate) struct Bulk {
    /// What to do.
    #[arg(value_enum)]
    pub(crate) action: BulkAction,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// The name of the signal, for `signal`.
    #[arg(long, value_name = "NAME", required_if_eq("action", "signal"))]
    pub(crate) signal: Option<String>,
    /// What the signal tells: JSON, or `@file`.
    #[arg(long, value_name = "JSON", requires = "signal")]
    pub(crate) payload: Option<String>,
    /// The version to go on with, for `move`, which needs `--workflow` too.
    #[arg(
        long,
        value_name = "VERSION",
        required_if_eq("action", "move"),
        requires = "workflow"
    )]
    pub(crate) to: Option<u32>,
    /// Only count.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// At most this many.
    #[arg(long, default_value_t = 1000)]
    pub(crate) limit: u32,
    /// Why.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) key: Key,
}

/// What can be done to many executions.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum BulkAction {
    /// End them.
    Cancel,
    /// Begin nothing new in them.
    Pause,
    /// Go on with them.
    Resume,
    /// Run their failed steps again.
    Retry,
    /// Tell them something they may wait for.
    Signal,
    /// Let them go on with another version of their workflow.
    Move,
}

impl BulkAction {
    /// Its name in the API.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::Signal => "signal",
            Self::Move => "move",
        }
    }
}
