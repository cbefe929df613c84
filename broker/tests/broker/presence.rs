//! What is said and not stored: heartbeats, cancellations, questions.

use std::pin::pin;

use afu9_schemas::message::{CancelNotice, Heartbeat, Query, QueryReply};
use afu9_schemas::{ExecutionId, Partition, Timestamp, WorkerId};
use anyhow::Result;
use futures::StreamExt;

use crate::world::{World, kind, within};

fn heartbeat(finished: u64) -> Heartbeat {
    Heartbeat {
        worker: WorkerId::new("worker-1").expect("valid"),
        kind: kind(),
        version: "1".to_owned(),
        host: "here".to_owned(),
        at: Timestamp::from_micros(2),
        started_at: Timestamp::from_micros(1),
        capacity: 4,
        in_flight: 1,
        oldest_job_since: None,
        finished,
        last_error: None,
        draining: false,
        checks: Vec::new(),
        tools: vec!["noop".to_owned()],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_and_cancellations_reach_whoever_listens() -> Result<()> {
    let world = World::start().await?;
    let (speaker, listener) = (world.broker().await?, world.broker().await?);
    let mut heartbeats = pin!(listener.heartbeats().await?);
    let mut cancels = pin!(listener.cancels().await?);
    // An answer means that the server has seen the subscriptions before it.
    listener.check().await?;
    let notice = CancelNotice {
        execution: ExecutionId::new(),
        before: Some(Timestamp::from_micros(7)),
    };
    for finished in 1..=2 {
        speaker.publish_heartbeat(&heartbeat(finished)).await?;
    }
    speaker.publish_cancel(notice).await?;
    for finished in 1..=2 {
        let heard = within("a heartbeat", heartbeats.next()).await?;
        assert_eq!(heard, Some(heartbeat(finished)));
    }
    assert_eq!(
        within("the cancellation", cancels.next()).await?,
        Some(notice)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_by_the_owner_of_its_partition_only() -> Result<()> {
    let world = World::start().await?;
    let (owner, asker) = (world.broker().await?, world.broker().await?);
    let (owned, other) = (Partition::new(0), Partition::new(1));
    let query = Query::Show {
        execution: ExecutionId::new(),
    };
    assert_eq!(asker.ask(owned, &query).await?, None);
    let mut questions = owner.questions(owned).await?;
    owner.check().await?;
    let reply = QueryReply::Executions {
        executions: Vec::new(),
        live: 5,
        more: false,
    };
    let answering = async {
        let question = questions.next().await.expect("connected");
        assert_eq!(question.query, query);
        questions.answer(question, &reply).await
    };
    let (answer, answered) = within("the answer", async {
        tokio::join!(asker.ask(owned, &query), answering)
    })
    .await?;
    answered?;
    assert_eq!(answer?.as_ref(), Some(&reply));
    assert_eq!(asker.ask(other, &query).await?, None);
    drop(questions);
    owner.check().await?;
    assert_eq!(asker.ask(owned, &query).await?, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_does_not_answer_is_not_no_owner() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let _silent = broker.questions(Partition::new(0)).await?;
    let asked = broker.ask(Partition::new(0), &Query::Holds);
    assert!(within("the timeout", asked).await?.is_err());
    Ok(())
}
