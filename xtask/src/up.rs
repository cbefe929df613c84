//! `cargo xtask up`: AFU-9 with all it needs, until somebody ends it.

use std::process::ExitCode;

use afu9_servers::Durability;
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::cargo::Profile;
use crate::console::Console;
use crate::interrupt::{Interrupt, Interrupted};
use crate::system::{Github, Options, System};
use crate::{Output, Up};

/// What to do when a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supervision {
    /// Say so, and end everything.
    On,
    /// Go on: somebody kills processes on purpose.
    Off,
}

pub(crate) fn run(up: &Up, interrupt: &Interrupt) -> Result<ExitCode> {
    let mut console = match up.output {
        Output::Text => Console::stdout(interrupt.clone()),
        Output::Json => Console::stderr(interrupt.clone()),
    };
    let options = Options {
        name: "up",
        profile: if up.debug {
            Profile::Dev
        } else {
            Profile::Release
        },
        durability: if up.durable {
            Durability::Durable
        } else {
            Durability::Fast
        },
        github: if up.without_simulators {
            Github::External
        } else {
            Github::SimulatedByDefault
        },
        workers: up.workers,
    };
    let mut system = System::start(&options, &mut console, interrupt)?;
    match up.output {
        Output::Text => print_addresses(&system, &mut console),
        // The reader waits for this line, and it must not come in parts.
        Output::Json => println!("{}", description(&system)),
    }
    let supervision = if up.no_supervise {
        Supervision::Off
    } else {
        Supervision::On
    };
    let result = stay(&mut system, supervision, interrupt);
    system.end().context("end everything")?;
    finish(result, &mut console)
}

/// Being ended is how this ends, so it is a success.
pub(crate) fn finish(result: Result<()>, console: &mut Console) -> Result<ExitCode> {
    match result {
        Err(error) if !error.is::<Interrupted>() => Err(error),
        _ => {
            console.line("everything that was started has ended");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Returns only with an error: [`Interrupted`], or which process has died.
pub(crate) fn stay(
    system: &mut System,
    supervision: Supervision,
    interrupt: &Interrupt,
) -> Result<()> {
    loop {
        interrupt.pause()?;
        if supervision == Supervision::On
            && let Some(casualty) = system.casualty()?
        {
            // Ctrl-C elsewhere may have reached it before us.
            interrupt.check()?;
            bail!("{casualty}");
        }
    }
}

pub(crate) fn print_addresses(system: &System, console: &mut Console) {
    let addresses = &system.addresses;
    console.heading("Addresses");
    console.line(&format!("control center   {}", addresses.api_url));
    if let Some(url) = &addresses.github_url {
        console.line(&format!("GitHub           {url}"));
    }
    console.line(&format!("NATS             {}", addresses.nats_url));
    if system.postgres.is_some() {
        console.line(&format!("Postgres         {}", addresses.database_url));
    }
    console.line(&format!("API token        {}", addresses.token));
    console.line(&format!("webhook secret   {}", addresses.webhook_secret));
    console.line(&format!(
        "data and logs    {}",
        system.directory.path().display()
    ));
    console.aside("Ctrl-C ends everything");
}

fn description(system: &System) -> Value {
    let addresses = &system.addresses;
    json!({
        "nats_url": addresses.nats_url,
        "database_url": addresses.database_url,
        "api_url": addresses.api_url,
        "github_url": addresses.github_url,
        "token": addresses.token,
        "webhook_secret": addresses.webhook_secret,
        "pids": {
            "nats": system.nats.as_ref().map(|server| server.pid()),
            "postgres": system.postgres.as_ref().map(|server| server.pid()),
            "orchestrator": system.pids("orchestrator"),
            "worker": system.pids("worker"),
            "projector": system.pids("projector"),
            "gateway": system.pids("gateway"),
            "simulated_github": system.simulator.as_ref().map(|process| process.pid()),
        },
        "data_dir": system.directory.path().display().to_string(),
    })
}
