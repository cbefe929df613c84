//! The inbox: one delivery is stored once, and routed until it is acknowledged.

use std::time::Duration;

use afu9_broker::Broker;
use afu9_schemas::message::{InboxBody, InboxDelivery};
use afu9_schemas::{DeliveryId, Timestamp};
use anyhow::Result;

use crate::world::{World, until, within};

fn delivery(source: &str, id: &str) -> InboxDelivery {
    InboxDelivery {
        id: DeliveryId::new(id).expect("valid"),
        source: source.to_owned(),
        event: "issues".to_owned(),
        action: Some("opened".to_owned()),
        headers: Vec::new(),
        body: InboxBody::Inline(b"{}".to_vec()),
        received_at: Timestamp::from_micros(0),
        replay_of: None,
        traceparent: None,
    }
}

async fn duplicate(broker: &Broker, source: &str, id: &str) -> Result<bool> {
    Ok(broker
        .publish_delivery(&delivery(source, id))
        .await?
        .duplicate)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_stored_once_and_routed_until_it_is_acknowledged() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    assert!(!duplicate(&broker, "github", "1").await?);
    assert!(duplicate(&broker, "github", "1").await?);
    assert!(!duplicate(&broker, "elsewhere", "1").await?);
    let mut inbox = broker.inbox().await?;
    let first = within("the first delivery", inbox.next()).await??;
    assert_eq!(
        first.delivery.as_ref().expect("ours"),
        &delivery("github", "1")
    );
    first.again(Duration::ZERO).await?;
    let second = within("the second delivery", inbox.next()).await??;
    assert_eq!(second.delivery.as_ref().expect("ours").source, "elsewhere");
    second.routed().await?;
    let again = within("the first delivery", inbox.next()).await??;
    assert_eq!(
        (again.tries, again.delivery.expect("ours")),
        (2, delivery("github", "1"))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn routed_deliveries_stay_for_another_look_and_do_not_come_again() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    duplicate(&broker, "github", "1").await?;
    let mut inbox = broker.inbox().await?;
    within("the delivery", inbox.next())
        .await??
        .routed()
        .await?;
    until("the acknowledgement", || async {
        let info = world.consumer_info("AFU9_INBOX", "router").await?;
        Ok((info.num_ack_pending == 0 && info.num_pending == 0).then_some(()))
    })
    .await?;
    assert_eq!(world.stream_state("AFU9_INBOX").await?.messages, 1);
    Ok(())
}
