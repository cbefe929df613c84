//! The subcommands of the binary, one module each.

pub(crate) mod simulate_github;
