//! The input log while the server crashes or hangs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use afu9_broker::log::{LogReader, LogWriter};
use afu9_schemas::Partition;
use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::world::{World, names, read_to, submit, until, within};

const A: Partition = Partition::new(0);
const B: Partition = Partition::new(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_survives_a_crash_without_gap_or_repetition() -> Result<()> {
    let mut world = World::start().await?;
    let broker = world.broker().await?;
    let (writer, _writing) = LogWriter::start(broker.clone());
    let mut reader = LogReader::new(broker, A, 0);
    let mut read = Vec::new();
    for round in 0..3 {
        for number in 0..20 {
            submit(&writer, A, &format!("{round}.{number}")).await?;
        }
        // In the second round some of the messages wait unread in the reader while the server dies.
        let last = if round == 1 { 7 } else { 19 };
        read.extend(read_to(&mut reader, &format!("{round}.{last}")).await?);
        if round < 2 {
            world.kill()?;
            world.restart()?;
        }
    }
    let expected = (0..3).flat_map(|round| (0..20).map(move |number| format!("{round}.{number}")));
    assert!(read.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(names(read), expected.collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_around_a_crash_is_stored_exactly_once() -> Result<()> {
    const SUBMITTERS: usize = 32;
    const EACH: usize = 100;
    const CRASH_AFTER: usize = SUBMITTERS * EACH / 4;
    let mut world = World::start().await?;
    let broker = world.broker().await?;
    let (writer, _writing) = LogWriter::start(broker.clone());
    let accepted = Arc::new(AtomicUsize::new(0));
    let mut submitters = JoinSet::new();
    for submitter in 0..SUBMITTERS {
        let (writer, accepted) = (writer.clone(), Arc::clone(&accepted));
        let partition = if submitter % 2 == 0 { A } else { B };
        submitters.spawn(async move {
            for number in 0..EACH {
                submit(&writer, partition, &format!("{submitter}.{number}")).await?;
                accepted.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    until("some submissions", || async {
        Ok((accepted.load(Ordering::Relaxed) > CRASH_AFTER).then_some(()))
    })
    .await?;
    world.kill()?;
    world.restart()?;
    within("all submissions", async {
        while let Some(ended) = submitters.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    })
    .await??;
    let mut stored: BTreeMap<String, usize> = BTreeMap::new();
    for partition in [A, B] {
        submit(&writer, partition, "end").await?;
        let mut reader = LogReader::new(broker.clone(), partition, 0);
        for name in names(read_to(&mut reader, "end").await?) {
            *stored.entry(name).or_default() += 1;
        }
    }
    assert_eq!(stored.remove("end"), Some(2));
    let repeated: Vec<_> = stored.iter().filter(|(_, times)| **times != 1).collect();
    assert!(repeated.is_empty(), "{repeated:?}");
    assert_eq!(stored.len(), SUBMITTERS * EACH);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_is_repeated_is_stored_once() -> Result<()> {
    /// Longer than a publish waits for its acknowledgement, so that it is sent a second time.
    const HANG: Duration = Duration::from_secs(6);
    let mut world = World::start().await?;
    let broker = world.broker().await?;
    let (writer, _writing) = LogWriter::start(broker.clone());
    world.pause()?;
    let mut submission = Box::pin(submit(&writer, A, "once"));
    assert!(timeout(HANG, &mut submission).await.is_err());
    world.resume()?;
    within("the acknowledgement", submission).await??;
    submit(&writer, A, "end").await?;
    let read = read_to(&mut LogReader::new(broker, A, 0), "end").await?;
    assert_eq!(names(read), ["once", "end"]);
    Ok(())
}
