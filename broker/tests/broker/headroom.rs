//! Who may write into a log that is nearly full: whoever makes room longest.

use afu9_broker::config::Limits;
use afu9_broker::log::{LogWriter, Outside};
use afu9_broker::{Broker, PublishError};
use afu9_schemas::Partition;
use anyhow::{Result, ensure};

use crate::world::{World, input, until};

const A: Partition = Partition::new(0);

const LOG_BYTES: i64 = 512 * 1024;

/// Of one message: several of them are an eighth of the log.
const PADDING: usize = 8 * 1024;

/// Whether the log takes something small from this writer.
async fn takes(writer: &LogWriter) -> Result<bool> {
    match writer.submit_to(A, vec![input("small", 0)]).await {
        Ok(()) => Ok(true),
        Err(error) => {
            ensure!(matches!(*error, PublishError::Full { .. }), "{error:?}");
            Ok(false)
        }
    }
}

/// How full the log is, a writer finds out within a fraction of a second.
async fn wait_until(writer: &LogWriter, what: &str, wanted: bool) -> Result<()> {
    until(what, || async {
        Ok((takes(writer).await? == wanted).then_some(()))
    })
    .await
}

/// Fills the log until it holds more than this many eighths.
async fn fill(broker: &Broker, owner: &LogWriter, eighths: u64) -> Result<()> {
    loop {
        let (held, bound) = broker.log_bytes().await?;
        if held > bound / 8 * eighths {
            return Ok(());
        }
        owner.submit_to(A, vec![input("large", PADDING)]).await?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_nearly_full_log_gateways_leave_most_then_workers_and_owners_nothing() -> Result<()> {
    let world = World::start().await?;
    let limits = Limits {
        log_bytes: LOG_BYTES,
        ..Limits::default()
    };
    let broker = world.broker_with(limits).await?;
    let (owner, _owning) = LogWriter::start(broker.clone());
    let (gateway, _asking) = LogWriter::start_outside(broker.clone(), Outside::Gateway);
    let (worker, _working) = LogWriter::start_outside(broker.clone(), Outside::Worker);
    for writer in [&owner, &gateway, &worker] {
        assert!(takes(writer).await?, "there is room for everybody");
    }

    fill(&broker, &owner, 6).await?;
    wait_until(&gateway, "a gateway to be refused", false).await?;
    assert!(takes(&worker).await?, "results make room");
    assert!(takes(&owner).await?);

    fill(&broker, &owner, 7).await?;
    wait_until(&worker, "a worker to be refused", false).await?;
    assert!(!takes(&gateway).await?);
    assert!(takes(&owner).await?, "it has decided already");

    let last = broker.log_end().await?;
    broker.drop_log(A, last).await?;
    for writer in [&gateway, &worker] {
        wait_until(writer, "room for everybody again", true).await?;
    }
    Ok(())
}
