//! Work queues while the server crashes.

use std::collections::BTreeSet;

use afu9_broker::work::WorkConsumer;
use afu9_schemas::Lane;
use anyhow::Result;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::world::{World, job, kind, until, within};

/// Slots of the worker below.
const SLOTS: usize = 16;

/// Takes what comes and reports the names of the jobs, as a worker does that is never busy.
async fn work(mut consumer: WorkConsumer, names: mpsc::Sender<String>) -> Result<()> {
    loop {
        consumer.ask(SLOTS).await?;
        let Some(delivery) = consumer.next().await else {
            continue;
        };
        for job in delivery.decode()?.jobs {
            names.send(job.step_name).await?;
        }
        delivery.done().await?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_on_with_the_same_consumer_after_a_crash() -> Result<()> {
    const JOBS: usize = 100;
    let mut world = World::start().await?;
    let broker = world.broker().await?;
    let consumer = world
        .broker()
        .await?
        .work_consumer(&kind(), Lane::Bulk)
        .await?;
    let (sender, mut names) = mpsc::channel(1);
    let mut worker = JoinSet::new();
    worker.spawn(work(consumer, sender));
    for round in 0..2 {
        let mut missing: BTreeSet<String> = (0..JOBS).map(|job| format!("{round}.{job}")).collect();
        for name in missing.clone() {
            until("a published job", || async {
                Ok(Some(
                    broker.publish_jobs(vec![job(&name, Lane::Bulk)]).await?,
                ))
            })
            .await?;
        }
        within("every job", async {
            while !missing.is_empty() {
                let name = names.recv().await.expect("the worker lives");
                missing.remove(&name);
            }
        })
        .await?;
        if round == 0 {
            world.kill()?;
            world.restart()?;
        }
    }
    Ok(())
}
