//! agentd: start-up and end. What runs in between is in the library.

mod args;
mod log;
mod start;

use std::process::ExitCode;

use agentd::systemd;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::Level;

use args::Args;

/// What agentd does is waiting; two threads let an answer be written while the owner turns.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(status) => status,
        Err(err) => {
            let line = format!("agentd: {err:#}");
            tracing::error!(err = line, "agentd ended");
            complain(&line);
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let place = start::Place::new(args)?;
    if args.check {
        return Ok(check(&place));
    }
    let level = if args.debug { Level::DEBUG } else { Level::INFO };
    log::init(place.paths.is_system(), level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(32)
        .enable_all()
        .build()?;
    runtime.block_on(supervise(args, place))?;
    // A blocking thread that hangs on a disk must not hold up the end.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

async fn supervise(args: &Args, place: start::Place) -> anyhow::Result<()> {
    // Before anything is started, so that no signal is lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let parts = start::start(args, place)?;
    for limit in &parts.limits {
        tracing::warn!(limit, "something cannot be done here");
    }
    let (stop, stopped) = watch::channel(false);
    let mut owner = tokio::spawn(parts.owner.run(stopped, systemd::alive));
    let fronts = tokio::spawn(parts.fronts);
    systemd::ready();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "agentd started");
    tokio::select! {
        ended = &mut owner => return ended.map_err(anyhow::Error::from),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    systemd::stopping();
    tracing::info!("agentd was told to stop");
    stop.send_replace(true);
    owner.await?;
    fronts.abort();
    Ok(())
}

fn check(place: &start::Place) -> ExitCode {
    let loaded = agentd::config::load(&place.paths);
    for problem in &loaded.problems {
        complain(&problem.message);
    }
    let names: Vec<&str> = loaded.specs.keys().map(agentd_model::AgentName::as_str).collect();
    say(&format!("{} agents: {}", names.len(), names.join(", ")));
    if loaded.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

#[expect(clippy::print_stdout, reason = "the result of --check")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "the log may not be there yet, or be the journal")]
fn complain(line: &str) {
    eprintln!("{line}");
}
