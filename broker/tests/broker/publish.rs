//! Publishing many messages at a time.

use afu9_broker::PublishError;
use afu9_broker::publish::Outgoing;
use afu9_schemas::{Lane, subject};
use anyhow::Result;
use bytes::Bytes;
use futures::future::join_all;

use crate::world::{World, kind, within};

fn message(payload: usize) -> Outgoing {
    Outgoing {
        subject: subject::work(&kind(), Lane::Bulk),
        payload: Bytes::from(vec![0; payload]),
        message_id: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_with_more_messages_than_may_be_in_flight_do_not_block_each_other() -> Result<()> {
    /// Together far more than one connection has in flight.
    const CALLERS: usize = 4;
    const EACH: usize = 3000;
    let world = World::start().await?;
    let broker = world.broker().await?;
    let calls = (0..CALLERS).map(|_| broker.publish_all(vec![message(1); EACH]));
    for results in within("all acknowledgements", join_all(calls)).await? {
        let mut last = 0;
        for stored in results {
            let sequence = stored?.sequence;
            assert!(
                sequence > last,
                "the results are not in the order of the messages"
            );
            last = sequence;
        }
    }
    let expected = u64::try_from(CALLERS * EACH)?;
    assert_eq!(broker.work_mark(&kind()).await?.last_sequence, expected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_message_does_not_concern_its_neighbours() -> Result<()> {
    const ABOVE_THE_SERVERS_LIMIT: usize = 2 * 1024 * 1024;
    let world = World::start().await?;
    let broker = world.broker().await?;
    let messages = vec![message(1), message(ABOVE_THE_SERVERS_LIMIT), message(2)];
    let results = within("all acknowledgements", broker.publish_all(messages)).await?;
    assert!(results[0].is_ok() && results[2].is_ok());
    let refused = results[1].as_ref().expect_err("too large");
    assert!(matches!(refused, PublishError::Refused { .. }) && !refused.is_retryable());
    Ok(())
}
