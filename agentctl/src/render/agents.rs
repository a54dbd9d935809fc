//! The list of all agents, and one agent in a line.

use std::io::{self, Write};

use agentd_protocol::control::{AgentList, AgentView, Health, PhaseName};
use comfy_table::{Cell, Color};

use super::table::{Column, Grid, bold, inked};
use super::time::span;
use super::{Screen, ink};

/// Draws every agent in a line, and below why some are not well.
pub(crate) fn list(screen: &Screen, list: &AgentList, out: &mut dyn Write) -> io::Result<()> {
    use Column::{Flexible, Left, Right};
    let mut grid = Grid::new(screen, &[Flexible, Left, Left, Right, Right, Right, Right]).cut();
    grid.header(&["AGENT", "PHASE", "HEALTH", "UPTIME", "RESTARTS", "PID", "FINDINGS"]);
    for agent in &list.agents {
        let or_dash = |text: Option<String>| Cell::new(text.unwrap_or_else(|| "-".to_owned()));
        grid.row([
            bold(Cell::new(&agent.name)),
            inked(agent.phase.as_str(), ink::phase(agent.phase)),
            inked(agent.health.as_str(), ink::health(agent.health)),
            or_dash(agent.started_ms.map(|ms| span(screen.age(ms)))),
            Cell::new(agent.restarts),
            or_dash(agent.pid.map(|pid| pid.to_string())),
            inked(agent.findings, (agent.findings > 0).then_some(Color::Yellow)),
        ]);
    }
    grid.draw(out)?;
    let unwell: Vec<&AgentView> = list.agents.iter().filter(|agent| !is_well(agent)).collect();
    if unwell.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    why(screen, &unwell, 0, out)
}

/// Draws why each of these agents is not well.
pub(crate) fn why(
    screen: &Screen,
    agents: &[&AgentView],
    indent: u16,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut grid = Grid::new(screen, &[Column::Left, Column::Flexible]).indent(indent);
    for agent in agents {
        let ink = match agent.phase {
            PhaseName::Running => ink::health(agent.health),
            phase => ink::phase(phase),
        };
        grid.row([inked(&agent.name, ink), Cell::new(state(agent))]);
    }
    grid.draw(out)
}

/// Whether nothing need be said about an agent: it is down because it is to be, or it does well.
pub(crate) fn is_well(agent: &AgentView) -> bool {
    if agent.want == "up" {
        agent.phase == PhaseName::Running && agent.health == Health::Ok
    } else {
        agent.phase == PhaseName::Idle
    }
}

/// How an agent is, in a line: `backoff, next start in 8s; last exit status 1`.
pub(crate) fn state(agent: &AgentView) -> String {
    let mut text = agent.phase.as_str().to_owned();
    if let Some(detail) = &agent.detail {
        text.push_str(": ");
        text.push_str(detail);
    }
    match agent.phase {
        PhaseName::Running => {
            text = format!("{text}, {}", agent.health.as_str());
            if !agent.health_reasons.is_empty() {
                text = format!("{text}: {}", agent.health_reasons.join("; "));
            }
        }
        PhaseName::Backoff | PhaseName::Failed => {
            // agentd's own words may hold it already.
            if let Some(exit) = agent.last_exit.as_ref().filter(|exit| !text.contains(*exit)) {
                text = format!("{text}; its last process ended with {exit}");
            }
        }
        PhaseName::Idle
        | PhaseName::Waiting
        | PhaseName::Spawning
        | PhaseName::Starting
        | PhaseName::Stopping => {}
    }
    text
}
