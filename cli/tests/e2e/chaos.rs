//! A short chaos run: everything fails that can, and every promise is checked. A longer one is
//! `afu9-loadtest chaos`; see `docs/reliability.md`.

use std::path::PathBuf;
use std::time::Duration;

use afu9_loadtest::chaos::{Options, run};
use afu9_servers::Durability;
use anyhow::Result;

use crate::harness::command::BINARY;

/// Its plan holds most faults of processes and servers. Another one is another test.
const SEED: u64 = 11;

/// As many faults of processes and servers as the plan must at least have had.
const FAULT_KINDS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_done_twice_whatever_fails() -> Result<()> {
    let options = Options {
        binary: PathBuf::from(BINARY),
        length: Duration::from_secs(75),
        seed: SEED,
        durability: Durability::Fast,
        cluster: false,
        small_disk: false,
        rate: 4.0,
    };
    let report = run(&options).await?;
    eprintln!("{report}");
    assert!(report.is_clean(), "{report}");
    // The rest is weather at the simulated GitHub.
    let ours = report
        .faults()
        .keys()
        .filter(|name| !name.starts_with("github_"));
    assert!(ours.count() >= FAULT_KINDS, "{report}");
    Ok(())
}
