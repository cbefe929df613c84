//! Jobs that workers were lost with: one at a time, with nothing beside it.
//!
//! The server counts each delivery against the job. So one is asked for only when no other of them is
//! here, and what else runs has ended before it begins.

use std::time::Duration;

use afu9_broker::work::{Delivery, WorkConsumer};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::job::acknowledge;
use super::lane::{drain, pause};
use super::{Shared, job, resume_panic};
use crate::runtime::gate::Alone;

/// After each of them others have their turn for this long.
const OTHERS_FIRST: Duration = Duration::from_millis(250);

/// Runs until `shutdown`, then waits for what runs, up to the configured time, then hands it back.
pub(super) async fn run(shared: Shared, shutdown: CancellationToken) {
    let mut running: JoinSet<()> = JoinSet::new();
    let mut consumer: Option<WorkConsumer> = None;
    let mut alone: Option<Alone> = None;
    while !shutdown.is_cancelled() {
        let turn = tokio::select! {
            () = shutdown.cancelled() => break,
            turn = shared.gate().turn() => turn,
        };
        let open = match consumer.as_mut() {
            Some(open) => open,
            None => match shared
                .broker
                .lone_work_consumer(shared.toolbox.kind())
                .await
            {
                Ok(opened) => consumer.insert(opened),
                Err(error) => {
                    pause(&shared, &error, &shutdown).await;
                    continue;
                }
            },
        };
        if let Err(error) = open.ask(1).await {
            pause(&shared, &error, &shutdown).await;
            consumer = None;
            continue;
        }
        let delivery = tokio::select! {
            () = shutdown.cancelled() => break,
            delivery = open.next() => delivery,
        };
        let Some(delivery) = delivery else { continue };
        let Some(held) = wait_until_alone(&shared, &delivery, &shutdown).await else {
            acknowledge(delivery.hand_back(Duration::ZERO).await);
            break;
        };
        tracing::warn!(
            kind = %shared.toolbox.kind(),
            delivered = delivery.delivered(),
            "a job that workers were lost with runs alone"
        );
        alone = Some(held);
        running.spawn(job::run_message(shared.clone(), delivery));
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = running.join_next() => resume_panic(ended),
        }
        alone = None;
        drop(turn);
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(OTHERS_FIRST) => {}
        }
    }
    drain(&shared, consumer, running).await;
    drop(alone);
}

/// Waits until nothing else runs, and tells the server meanwhile that the job is not lost; `None` if the
/// worker is to end before.
async fn wait_until_alone(
    shared: &Shared,
    delivery: &Delivery,
    shutdown: &CancellationToken,
) -> Option<Alone> {
    let mut alone = std::pin::pin!(shared.gate().alone());
    let mut sign_of_life = tokio::time::interval(shared.sign_of_life());
    sign_of_life.reset();
    loop {
        tokio::select! {
            alone = &mut alone => return Some(alone),
            () = shutdown.cancelled() => return None,
            _ = sign_of_life.tick() => acknowledge(delivery.in_progress().await),
        }
    }
}
