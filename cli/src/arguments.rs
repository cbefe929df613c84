//! The command line.

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
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The definition, JSON or YAML.
    pub(crate) file: PathBuf,
    /// `name=value` (the value is JSON if it can be, else text), a JSON object, or `@file`. May be
    /// given several times.
    #[arg(long, short, value_name = "INPUT")]
    pub(crate) input: Vec<String>,
    /// The repository that `${repo.…}` means.
    #[arg(long, value_name = "OWNER/NAME")]
    pub(crate) repository: Option<String>,
    /// Give up waiting after this many seconds; the execution goes on.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub(crate) wait: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Executions {
    /// The newest executions.
    Ls {
        /// Only with this status.
        #[arg(long)]
        status: Option<String>,
        /// Only of this workflow.
        #[arg(long)]
        workflow: Option<String>,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// One execution with its steps and attempts.
    Show {
        /// Its id.
        id: String,
    },
    /// End an execution.
    Cancel {
        /// Its id.
        id: String,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
    },
}
