//! The subcommands of the binary, one module each.

pub(crate) mod bench;
pub(crate) mod chaos;
pub(crate) mod run;
pub(crate) mod simulate_github;
pub(crate) mod soak;

/// How results are printed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs: one line.
    Json,
}
