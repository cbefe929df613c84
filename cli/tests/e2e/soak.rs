//! A soak run of seconds: everything that it starts ends, and the parts whose bounds need no hours
//! are level. A real one is `afu9-loadtest soak`; see `docs/reliability.md`.

use std::path::PathBuf;
use std::time::Duration;

use afu9_loadtest::soak::{Options, run};
use afu9_servers::Durability;
use anyhow::Result;

use crate::harness::command::BINARY;

const RATE: f64 = 10.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_steady_load_ends_and_leaves_as_much_of_each_execution() -> Result<()> {
    let options = Options {
        binary: PathBuf::from(BINARY),
        length: Duration::from_secs(15),
        warm_up: Duration::from_secs(3),
        every: Duration::from_secs(1),
        rate: RATE,
        steps: 5,
        keyed: true,
        durability: Durability::Fast,
    };
    let report = run(&options).await?;
    eprintln!("{report}");
    let json = report.to_json();
    assert_eq!(
        (&json["refused"], &json["restarts"]),
        (&0.into(), &0.into()),
        "{report}"
    );
    assert_eq!(json["accepted"], json["ended"], "{report}");
    let accepted = json["accepted"].as_f64().unwrap_or_default();
    assert!(accepted >= RATE * 10.0, "{report}");
    // In seconds, memory only warms up. But rows and keys are counted, not estimated.
    for counted in ["rows_per_execution", "keys_per_execution"] {
        let to = json["growth"][counted]["to"].as_f64().unwrap_or_default();
        assert!(to > 0.0, "{counted}: {report}");
    }
    Ok(())
}
