//! What agentd tells systemd (sd_notify(3)). Without systemd every call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::owner::Snapshot;

/// Control answers.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The agents are being stopped.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping the agents")]);
}

/// The owner's loop turns. Tells the watchdog, and how many agents run.
pub fn alive(snapshot: &Snapshot) {
    use agentd_protocol::control::PhaseName::Running;
    let running = snapshot.agents.values().filter(|agent| agent.phase == Running).count();
    let problems = snapshot.problems.len();
    let status = format!(
        "{running} of {} agents running, {} findings, {problems} problems",
        snapshot.agents.len(),
        snapshot.findings.len()
    );
    tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
}

/// How often systemd wants to hear that agentd lives, if it does.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(err) = sd_notify::notify(state) {
        tracing::debug!(%err, "systemd was not told");
    }
}
