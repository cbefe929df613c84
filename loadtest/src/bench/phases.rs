//! The loads, one after the other, on one system.

use std::time::Duration;

use afu9_schemas::Lane;
use anyhow::{Context as _, Result, bail, ensure};
use futures::future::join_all;
use tokio::time::Instant;

use super::history::{Mark, Rows};
use super::measurement::{Measurement, Point, Run};
use super::meter::{self, Meter};
use super::scale::{IDLE_AT_MOST, MOST_EXECUTIONS};
use super::{Options, Phase, webhooks};
use crate::load::{self, Pace, Plan, Report, Shape};
use crate::system::{System, TOKEN};

/// Steps of the workflows whose steps are counted.
pub(super) const STEPS: usize = 5;

const MIB: f64 = 1024.0 * 1024.0;

/// Half of the highest rate.
const HALF: f64 = 0.5;

/// A system that is being measured.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    system: &'a mut System,
    pub(super) options: &'a Options,
    meter: Meter,
    /// Executions that have completed so far.
    pub(super) finished: usize,
    /// Executions that sleep.
    pub(super) live: usize,
    pub(super) out: Measurement,
}

/// A load of executions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// For messages.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) lane: Lane,
    pub(super) pace: Pace,
    /// Most executions.
    pub(super) most: usize,
    /// No more are started after this time.
    pub(super) length: Duration,
}

impl<'a> Bench<'a> {
    pub(super) fn new(system: &'a mut System, options: &'a Options) -> Self {
        Self {
            meter: Meter::new(system),
            system,
            options,
            finished: 0,
            live: 0,
            out: Measurement::default(),
        }
    }

    pub(super) async fn run(mut self) -> Result<Measurement> {
        self.warm_up().await?;
        for phase in &self.options.phases {
            tracing::info!(?phase, "begins");
            match phase {
                Phase::Idle => self.idle().await?,
                Phase::Steps => self.steps().await?,
                Phase::Executions => self.executions().await?,
                Phase::Items => self.items().await?,
                Phase::HalfLoad => self.half_load().await?,
                Phase::Webhooks => self.webhooks().await?,
                Phase::Interactive => self.interactive().await?,
                Phase::Growth => self.growth().await?,
            }
        }
        Ok(self.out)
    }

    async fn warm_up(&mut self) -> Result<()> {
        let scale = &self.options.scale;
        let warm_up = Load {
            name: "warm-up",
            shape: Shape::Steps(STEPS),
            lane: Lane::Bulk,
            pace: Pace::Concurrency(scale.warm_up_concurrency),
            most: scale.warm_up,
            length: IDLE_AT_MOST,
        };
        self.load(&warm_up).await?;
        Ok(())
    }

    async fn idle(&mut self) -> Result<()> {
        let one_at_a_time = Load {
            name: "idle",
            shape: Shape::Steps(STEPS),
            lane: Lane::Bulk,
            pace: Pace::Concurrency(1),
            most: self.options.scale.idle,
            length: IDLE_AT_MOST,
        };
        let run = self.load(&one_at_a_time).await?;
        self.out.set("idle_p50_ms", run.p50_ms);
        self.out.set("idle_p99_ms", run.p99_ms);
        self.out.loads.push(run);
        Ok(())
    }

    /// The saturation curve. Its best point is the speed.
    async fn steps(&mut self) -> Result<()> {
        self.curve().await?;
        let Some(best) = self.out.best() else {
            bail!("the saturation curve has no point");
        };
        let (speed, cost) = (best.run.jobs_per_s(), best.run.cpu_us_per_job());
        self.out.set("steps_per_s", speed);
        self.out.set("cpu_us_per_step", cost);
        Ok(())
    }

    async fn curve(&mut self) -> Result<()> {
        for concurrency in self.options.scale.curve {
            let run = self
                .full("steps", Shape::Steps(STEPS), *concurrency)
                .await?;
            let concurrency = *concurrency;
            self.out.curve.push(Point { concurrency, run });
        }
        Ok(())
    }

    async fn executions(&mut self) -> Result<()> {
        let mut speed = 0.0_f64;
        for concurrency in self.options.scale.executions {
            let run = self
                .full("executions", Shape::Steps(1), *concurrency)
                .await?;
            speed = speed.max(run.jobs_per_s());
            self.out.loads.push(run);
        }
        self.out.set("executions_per_s", speed);
        Ok(())
    }

    async fn items(&mut self) -> Result<()> {
        let scale = self.options.scale;
        let shape = Shape::Items {
            count: scale.items,
            parallel: scale.parallel,
            ms: 0,
        };
        let run = self.full("items", shape, scale.lists).await?;
        self.out.set("foreach_items_per_s", run.jobs_per_s());
        self.out.loads.push(run);
        Ok(())
    }

    /// As many at a time as wanted, as fast as they go; memory counts.
    async fn full(&mut self, name: &'static str, shape: Shape, concurrency: usize) -> Result<Run> {
        let full = Load {
            name,
            shape,
            lane: Lane::Bulk,
            pace: Pace::Concurrency(concurrency),
            most: MOST_EXECUTIONS,
            length: self.options.scale.length,
        };
        let run = self.load(&full).await?;
        self.out.raise("rss_mb", run.rss_mb);
        Ok(run)
    }

    async fn half_load(&mut self) -> Result<()> {
        if self.out.curve.is_empty() {
            tracing::info!("half of the highest rate: which one that is, comes first");
            self.curve().await?;
        }
        let best = self.out.best().context("the curve has no point")?;
        let rate = best.run.jobs_per_s() / STEPS as f64 * HALF;
        let half = Load {
            name: "half-load",
            shape: Shape::Steps(STEPS),
            lane: Lane::Bulk,
            pace: Pace::Rate(rate),
            most: MOST_EXECUTIONS,
            length: self.options.scale.paced_length,
        };
        let run = self.load(&half).await?;
        self.out.set("half_load_p50_ms", run.p50_ms);
        self.out.set("half_load_p99_ms", run.p99_ms);
        self.out.loads.push(run);
        Ok(())
    }

    async fn webhooks(&mut self) -> Result<()> {
        let scale = self.options.scale;
        let rate = scale.webhooks_per_s;
        let count = (rate * scale.paced_length.as_secs_f64()) as usize;
        let gateway = self.system.gateways[0].clone();
        let (before, rss) = (self.meter.cpu(), self.meter.watch_rss());
        let begun = Instant::now();
        let sent = on_a_thread(move || async move { webhooks::run(&gateway, rate, count).await });
        let latency_us = sent.await;
        let took = begun.elapsed();
        self.all_run("webhooks")?;
        let latency_us = latency_us.with_context(|| self.logs("webhooks"))?;
        let cpu = meter::between(&before, &self.meter.cpu());
        let rss_bytes = rss.end().await;
        let run = Run {
            name: "webhooks",
            pace: Pace::Rate(rate),
            completed: count,
            jobs: count,
            took,
            p50_ms: latency_us.value_at_quantile(0.50) as f64 / 1000.0,
            p99_ms: latency_us.value_at_quantile(0.99) as f64 / 1000.0,
            rss_mb: rss_bytes as f64 / MIB,
            cpu,
        };
        self.out.set("webhook_p50_ms", run.p50_ms);
        self.out.set("webhook_p99_ms", run.p99_ms);
        tracing::info!("{run}");
        self.out.loads.push(run);
        Ok(())
    }

    /// Runs a load, and waits until all of it is in history.
    pub(super) async fn load(&mut self, load: &Load) -> Result<Run> {
        let mut runs = self.loads(&[(*load, Duration::ZERO)]).await?;
        runs.pop().context("a load has a run")
    }

    /// Runs loads of what completes side by side, each after its delay, and waits until all of them are in
    /// history. Processor time and memory are those of all together.
    pub(super) async fn loads(&mut self, loads: &[(Load, Duration)]) -> Result<Vec<Run>> {
        let mark = Mark::now();
        let (before, rss) = (self.meter.cpu(), self.meter.watch_rss());
        let plans: Vec<_> = loads
            .iter()
            .map(|(load, delay)| (self.plan(load), *delay))
            .collect();
        let reports = join_all(plans.into_iter().map(|(plan, delay)| {
            on_a_thread(move || async move {
                tokio::time::sleep(delay).await;
                load::run(&plan).await
            })
        }));
        let reports = reports.await;
        let mut done = Vec::new();
        let mut wanted = Rows::default();
        for ((load, _), report) in loads.iter().zip(reports) {
            // First: it explains whatever else went wrong.
            self.all_run(load.name)?;
            let report = report.with_context(|| self.logs(load.name))?;
            wanted.add(self.completed(load, &report)?);
            done.push((load, report));
        }
        let last_row = mark.wait(self.system, wanted).await;
        let last_row = last_row.with_context(|| self.logs(loads[0].0.name))?;
        let cpu = meter::between(&before, &self.meter.cpu());
        let rss_bytes = rss.end().await;
        let runs = done.into_iter().map(|(load, report)| Run {
            name: load.name,
            pace: load.pace,
            completed: report.completed(),
            // One that sleeps has none, and counts by itself.
            jobs: report.completed() * load.shape.jobs().max(1),
            took: last_row - report.begun(),
            p50_ms: report.latency_ms(0.50),
            p99_ms: report.latency_ms(0.99),
            rss_mb: rss_bytes as f64 / MIB,
            cpu: cpu.clone(),
        });
        let runs: Vec<Run> = runs.collect();
        for run in &runs {
            tracing::info!("{run}");
        }
        Ok(runs)
    }

    fn plan(&self, load: &Load) -> Plan {
        Plan {
            api_url: self.system.gateways[0].clone(),
            token: Some(TOKEN.to_owned()),
            workflows: load.most,
            length: Some(load.length),
            shape: load.shape,
            lane: load.lane,
            pace: load.pace,
        }
    }

    /// What of a load must be in history, if it ended well.
    fn completed(&mut self, load: &Load, report: &Report) -> Result<Rows> {
        ensure!(
            report.is_clean(),
            "{}: {}",
            self.logs(load.name),
            report.shortfall()
        );
        let completed = report.completed();
        let (status, steps) = match load.shape {
            Shape::Steps(steps) => ("completed", steps),
            Shape::Items { .. } => ("completed", 1),
            Shape::Sleeping => ("running", 0),
        };
        match load.shape {
            Shape::Sleeping => self.live += completed,
            Shape::Steps(_) | Shape::Items { .. } => self.finished += completed,
        }
        Ok(Rows {
            status,
            executions: completed as u64,
            steps: (completed * steps) as u64,
        })
    }

    /// Nobody starts again here what has ended: its time would count.
    fn all_run(&mut self, name: &str) -> Result<()> {
        for role in &mut self.system.roles {
            if let Some(status) = role.process.exited()? {
                let (role, log) = (&role.name, role.process.log_tail(5));
                bail!("{name}: {role} has ended by itself with {status}: {log}");
            }
        }
        Ok(())
    }

    /// What an error begins with.
    fn logs(&self, name: &str) -> String {
        format!("{name}, with logs in {}", self.system.directory().display())
    }
}

/// The load has a thread and a runtime of its own: nothing of it is handed from thread to thread,
/// which costs more than the work.
async fn on_a_thread<F, T>(load: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    F: Future<Output = Result<T>>,
    T: Send + 'static,
{
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("build the runtime of a load")?;
        runtime.block_on(load())
    };
    tokio::task::spawn_blocking(run)
        .await
        .context("a load panicked")?
}
