//! One lane: pulls as many messages as there are free slots, and runs each in a task of its own.

use std::time::Duration;

use afu9_broker::work::WorkConsumer;
use afu9_schemas::Lane;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::gate::Company;
use super::{Shared, job, resume_panic};

/// Pause after the server could not be asked.
const PAUSE: Duration = Duration::from_millis(200);

/// Runs until `shutdown`, then waits for what runs, up to the configured time, then hands it back.
pub(super) async fn run(shared: Shared, lane: Lane, slots: usize, shutdown: CancellationToken) {
    let mut running: JoinSet<()> = JoinSet::new();
    let mut consumer: Option<WorkConsumer> = None;
    let mut wanted = shared.gate().wanted();
    let mut company: Option<Company> = None;
    while !shutdown.is_cancelled() {
        let gives_way = *wanted.borrow_and_update();
        let requested = consumer.as_ref().map_or(0, WorkConsumer::requested);
        if gives_way && running.is_empty() && requested == 0 {
            company = None;
        }
        if company.is_none() {
            tokio::select! {
                () = shutdown.cancelled() => break,
                entered = shared.gate().enter() => company = Some(entered),
            }
            continue;
        }
        let open = match consumer.as_mut() {
            Some(open) => open,
            None => match shared
                .broker
                .work_consumer(shared.toolbox.kind(), lane)
                .await
            {
                Ok(opened) => consumer.insert(opened),
                Err(error) => {
                    pause(&shared, &error, &shutdown).await;
                    continue;
                }
            },
        };
        // What was asked for comes, and runs; nothing more is asked for.
        let free = if gives_way { 0 } else { slots - running.len() };
        if let Err(error) = open.ask(free).await {
            pause(&shared, &error, &shutdown).await;
            consumer = None;
            continue;
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = running.join_next() => resume_panic(ended),
            _ = wanted.changed() => {}
            delivery = open.next(), if open.requested() > 0 => {
                if let Some(delivery) = delivery {
                    running.spawn(job::run_message(shared.clone(), delivery));
                }
            }
        }
    }
    drain(&shared, consumer, running).await;
    drop(company);
}

pub(super) async fn pause(
    shared: &Shared,
    error: &afu9_broker::RequestError,
    shutdown: &CancellationToken,
) {
    let error = afu9_broker::error::chain(error);
    tracing::warn!(kind = %shared.toolbox.kind(), error, "jobs cannot be pulled, trying again");
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(PAUSE) => {}
    }
}

/// The two stages of shutdown. Jobs that were asked for and arrive late are handed back at once.
pub(super) async fn drain(
    shared: &Shared,
    consumer: Option<WorkConsumer>,
    mut running: JoinSet<()>,
) {
    if let Some(mut consumer) = consumer {
        while consumer.requested() > 0 {
            match futures::FutureExt::now_or_never(consumer.next()) {
                Some(Some(delivery)) => {
                    if let Err(error) = delivery.hand_back(Duration::ZERO).await {
                        tracing::debug!(%error, "job not handed back");
                    }
                }
                Some(None) => {}
                None => break,
            }
        }
    }
    let deadline = tokio::time::sleep(shared.config.drain);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            ended = running.join_next() => match ended {
                Some(ended) => resume_panic(ended),
                None => return,
            },
            () = &mut deadline, if !shared.abandon.is_cancelled() => {
                tracing::warn!(jobs = running.len(), "jobs did not end in time, handed back");
                shared.abandon.cancel();
            }
        }
    }
}
