//! One agent, as a page.

use std::io::{self, Write};

use agentd_protocol::control::{AgentView, CheckView, EventView, FindingView, PhaseName};
use comfy_table::{Cell, Color};

use super::table::{Column, Grid, bold, faint, inked};
use super::time::{span, span_ms};
use super::{Screen, count, events, findings, ink};

/// Draws the page.
pub(crate) fn show(
    screen: &Screen,
    agent: &AgentView,
    found: &[FindingView],
    happened: &[EventView],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut title = Grid::new(screen, &[Column::Left, Column::Flexible]);
    title.row([bold(Cell::new(&agent.name)), Cell::new(&agent.summary)]);
    title.draw(out)?;
    writeln!(out)?;
    facts(screen, agent, out)?;
    if !agent.checks.is_empty() {
        screen.heading(out, "Checks")?;
        checks(screen, &agent.checks, out)?;
    }
    if !found.is_empty() {
        screen.heading(out, "Findings")?;
        findings::of_one(screen, found, out)?;
    }
    if !happened.is_empty() {
        screen.heading(out, "Last events")?;
        let mut page = events::Page::of_one();
        happened.iter().try_for_each(|event| page.draw(screen, event, out))?;
    }
    Ok(())
}

fn facts(screen: &Screen, agent: &AgentView, out: &mut dyn Write) -> io::Result<()> {
    let mut grid = Grid::new(screen, &[Column::Right, Column::Flexible]).indent(2);
    let mut fact = |label: &str, value: Cell| grid.row([faint(Cell::new(label)), value]);

    let mut phase = agent.phase.as_str().to_owned();
    if let Some(detail) = &agent.detail {
        phase = format!("{phase}: {detail}");
    }
    let since = screen.local(agent.since_ms);
    phase = format!("{phase}, since {since} ({})", screen.ago(agent.since_ms));
    fact("phase", inked(phase, ink::phase(agent.phase)));
    let health = std::iter::once(agent.health.as_str().to_owned());
    let health: Vec<String> = health.chain(agent.health_reasons.iter().cloned()).collect();
    fact("health", inked(health.join("\n"), ink::health(agent.health)));
    let at_start = if agent.enabled { "enabled" } else { "disabled" };
    fact("want", Cell::new(format!("{}, {at_start} at start", agent.want)));
    if let Some(pid) = agent.pid {
        let up = agent.started_ms.map(|ms| format!(", up {}", span(screen.age(ms))));
        fact("process", Cell::new(format!("{pid}{}", up.unwrap_or_default())));
    }
    let mut restarts = agent.restarts.to_string();
    if agent.failures > 0 {
        let failures = usize::try_from(agent.failures).unwrap_or(usize::MAX);
        restarts = format!("{restarts}; {} in a row", count(failures, "failure"));
    }
    if let Some(exit) = &agent.last_exit {
        restarts = format!("{restarts}; its last process ended with {exit}");
    }
    fact("restarts", Cell::new(restarts));
    fact("criticality", Cell::new(&agent.criticality));
    if let Some(version) = &agent.version {
        fact("version", Cell::new(version));
    }
    fact("program", Cell::new(agent.exec.join(" ")));
    fact("user", Cell::new(&agent.user));
    if let Some(cgroup) = &agent.cgroup {
        fact("cgroup", Cell::new(cgroup));
    }
    if agent.phase == PhaseName::Failed {
        fact("do", Cell::new(format!("agentctl logs {0}; agentctl start {0}", agent.name)));
    }
    grid.draw(out)
}

fn checks(screen: &Screen, checks: &[CheckView], out: &mut dyn Write) -> io::Result<()> {
    use Column::{Flexible, Left, Right};
    let mut grid = Grid::new(screen, &[Left, Left, Right, Right, Right, Flexible]).indent(2);
    grid.header(&["CHECK", "STATE", "EVERY", "LAST", "TOOK", "LOOKS AT"]);
    for check in checks {
        let ink = match check.state.as_str() {
            "measured" => Some(Color::Green),
            "unknown" => Some(Color::Yellow),
            _ => None,
        };
        let or_dash = |text: Option<String>| Cell::new(text.unwrap_or_else(|| "-".to_owned()));
        let mut summary = check.summary.clone();
        if let Some(reason) = &check.reason {
            summary = format!("{summary}\n{reason}");
        }
        grid.row([
            Cell::new(&check.name),
            inked(&check.state, ink),
            Cell::new(span_ms(check.every_ms)),
            or_dash(check.last_ms.map(|ms| screen.about(ms))),
            or_dash(check.took_ms.map(span_ms)),
            Cell::new(summary),
        ]);
    }
    grid.draw(out)
}
