//! The input log while the server is well.

use std::collections::BTreeSet;

use afu9_broker::PublishError;
use afu9_broker::config::Limits;
use afu9_broker::log::{LogReader, LogWriter, Outside};
use afu9_schemas::{Lane, Partition};
use anyhow::Result;
use futures::future::try_join_all;

use crate::world::{World, input, name_of, names, read_to, submit, until, within};

const A: Partition = Partition::new(0);
const B: Partition = Partition::new(1);

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_submissions_keep_their_order_and_share_messages() -> Result<()> {
    /// All of them fit the waiting room at once, so that the order of the calls is the order in it.
    const SUBMISSIONS: usize = 4000;
    let world = World::start().await?;
    let broker = world.broker().await?;
    let (writer, writing) = LogWriter::start(broker.clone());
    let submissions = (0..SUBMISSIONS).flat_map(|number| {
        [A, B].map(|partition| writer.submit_to(partition, vec![input(number, 0)]))
    });
    // Unconstrained: tokio's fairness would otherwise reorder the calls themselves.
    within(
        "all submissions",
        tokio::task::unconstrained(try_join_all(submissions)),
    )
    .await??;
    let held = broker.log_size().await?;
    assert!(
        held < 100,
        "{} inputs took {held} messages",
        2 * SUBMISSIONS
    );
    let expected: Vec<String> = (0..SUBMISSIONS).map(|number| number.to_string()).collect();
    for partition in [A, B] {
        let mut reader = LogReader::new(broker.clone(), partition, 0);
        let read = read_to(&mut reader, &expected[SUBMISSIONS - 1]).await?;
        assert_eq!(names(read), expected);
    }
    drop(writer);
    within("the end of the writer", writing.finished()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_is_one_message_even_if_it_is_alone() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let (writer, _writing) = LogWriter::start(broker.clone());
    let inputs = (0..3).map(|number| input(number, 0)).collect();
    writer.submit_to(A, inputs).await?;
    let lone = input("by execution", 0);
    writer.submit(lone.clone()).await?;
    assert_eq!(broker.log_size().await?, 2);
    let mut reader = LogReader::new(broker.clone(), A, 0);
    let batch = within("the first message", reader.next_batch(1)).await??;
    let read: Vec<_> = batch[0]
        .envelope
        .as_ref()
        .expect("ours")
        .inputs
        .iter()
        .map(name_of)
        .collect();
    assert_eq!(read, ["0", "1", "2"]);
    assert!(batch[0].at.as_micros() > 0);
    let owner = broker.partitions().of(lone.execution);
    let mut reader = LogReader::new(broker, owner, batch[0].sequence);
    assert_eq!(read_to(&mut reader, "by execution").await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_refuses_whole_submissions_until_there_is_room() -> Result<()> {
    const PADDING: usize = 8 * 1024;
    let world = World::start().await?;
    let limits = Limits {
        log_bytes: 64 * 1024,
        ..Limits::default()
    };
    let broker = world.broker_with(limits).await?;
    let (writer, _writing) = LogWriter::start(broker.clone());
    let mut accepted = Vec::new();
    let refused = loop {
        let name = format!("{}", accepted.len());
        let half = || input(&name, PADDING / 2);
        match writer.submit_to(A, vec![half(), half()]).await {
            Ok(()) => accepted.push(name),
            Err(error) => break error,
        }
        assert!(
            accepted.len() < 8,
            "eight of them are more than the log holds"
        );
    };
    assert!(matches!(*refused, PublishError::Full { .. }), "{refused:?}");
    assert!(refused.is_retryable());
    assert!(accepted.len() > 4, "only {} of them fit", accepted.len());
    let mut reader = LogReader::new(broker.clone(), A, 0);
    let read = read_to(&mut reader, &accepted[accepted.len() - 1]).await?;
    let floor = read.last().expect("not empty").0;
    assert_eq!(broker.drop_log(A, floor).await?, accepted.len() as u64);
    writer.submit_to(A, vec![input("after", PADDING)]).await?;
    let rest = read_to(&mut reader, "after").await?;
    assert_eq!(
        names(rest),
        ["after"],
        "something of a refused submission was stored"
    );
    let stored: Vec<String> = accepted
        .iter()
        .flat_map(|name| [name.clone(), name.clone()])
        .collect();
    assert_eq!(names(read), stored);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_begins_behind_its_floor() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let (writer, _writing) = LogWriter::start(broker.clone());
    for name in ["1", "2", "3", "4"] {
        submit(&writer, A, name).await?;
        submit(&writer, B, "other").await?;
    }
    let all = read_to(&mut LogReader::new(broker.clone(), A, 0), "4").await?;
    let floor = all[1].0;
    let mut resumed = LogReader::new(broker, A, floor);
    assert_eq!(read_to(&mut resumed, "4").await?, all[2..]);
    submit(&writer, A, "5").await?;
    assert_eq!(names(read_to(&mut resumed, "5").await?), ["5"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_covered_inputs_touches_no_others() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let (writer, _writing) = LogWriter::start(broker.clone());
    for name in ["1", "2", "3"] {
        submit(&writer, A, name).await?;
        submit(&writer, B, name).await?;
    }
    let all = read_to(&mut LogReader::new(broker.clone(), A, 0), "3").await?;
    assert_eq!(broker.drop_log(A, all[1].0).await?, 2);
    assert_eq!(broker.drop_log(A, all[1].0).await?, 0);
    let left = read_to(&mut LogReader::new(broker.clone(), A, 0), "3").await?;
    assert_eq!(left, all[2..]);
    let others = read_to(&mut LogReader::new(broker.clone(), B, 0), "3").await?;
    assert_eq!(names(others), ["1", "2", "3"]);
    assert_eq!(broker.log_size().await?, 4);
    Ok(())
}

/// Those that live at the same time share messages on all their way, and in time every partition has its
/// part.
#[tokio::test(flavor = "multi_thread")]
async fn new_executions_share_a_partition_for_a_while() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let partitions = broker.partitions();
    assert!(partitions.get() > 1, "or nothing is shown");
    let (writer, task) = LogWriter::start_outside(broker, Outside::Gateway);
    let mut seen = BTreeSet::new();
    let mut last = None;
    let (mut changes, mut begun, mut besides) = (0, 0, 0);
    until("every partition", || {
        let partition = partitions.of(writer.new_execution(Lane::Bulk));
        let before = last.replace(partition);
        changes += usize::from(before.is_some_and(|before| before != partition));
        seen.insert(partition);
        let urgent = partitions.of(writer.new_execution(Lane::Interactive));
        besides += usize::from(urgent != partition);
        begun += 1;
        let all = seen.len() == usize::from(partitions.get());
        async move { Ok(all.then_some(())) }
    })
    .await?;
    assert_eq!(changes + 1, seen.len(), "one after another");
    // Two seconds may have passed between the two.
    assert!(
        begun - besides <= changes,
        "what somebody waits for is elsewhere"
    );
    drop(writer);
    task.finished().await;
    Ok(())
}
