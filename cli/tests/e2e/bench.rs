//! A benchmark of seconds: every load of the table completes and has its figures. What they are says
//! nothing here; see `docs/performance.md` for real ones.

use std::path::PathBuf;

use afu9_loadtest::bench::{Counts, Options, Phase, Scale, run};
use afu9_servers::Durability;
use anyhow::Result;
use serde_json::Value;

use crate::harness::command::BINARY;

/// The figures that programs read.
const FIGURES: [&str; 11] = [
    "steps_per_s",
    "executions_per_s",
    "foreach_items_per_s",
    "idle_p50_ms",
    "idle_p99_ms",
    "half_load_p99_ms",
    "webhook_p50_ms",
    "webhook_p99_ms",
    "rss_mb",
    "interactive_p99_ms",
    "interactive_storm_p99_ms",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_load_of_the_table_completes_and_has_figures() -> Result<()> {
    let options = Options {
        binary: PathBuf::from(BINARY),
        modes: vec![Durability::Fast],
        phases: Phase::TABLE
            .into_iter()
            .chain([Phase::Interactive])
            .collect(),
        scale: Scale::QUICK,
        growth: Counts::default(),
    };
    let report = run(&options).await?;
    eprintln!("{report}");
    let line = report.to_json().to_string();
    assert_eq!(line.lines().count(), 1);
    let json: Value = serde_json::from_str(&line)?;
    assert!(json["durable"].is_null(), "{line}");
    for name in FIGURES {
        let figure = json["fast"][name].as_f64().unwrap_or_default();
        assert!(figure > 0.0, "{name}: {line}");
    }
    let points = json["fast"]["saturation"].as_array();
    let points = points.map(Vec::as_slice).unwrap_or_default();
    assert!(!points.is_empty(), "{line}");
    for point in points {
        for role in ["orchestrator", "nats-server", "postgres"] {
            assert!(point["cpu_s"][role].is_number(), "{role}: {line}");
        }
    }
    Ok(())
}
