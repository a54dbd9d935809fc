//! Findings: what is so, how bad it is, since when, and below it what was measured.

use std::io::{self, Write};

use agentd_protocol::control::FindingView;
use comfy_table::Cell;

use super::table::{Column, Grid, faint, inked};
use super::{Screen, ink};

/// Draws findings of any agent.
pub(crate) fn list(
    screen: &Screen,
    findings: &[FindingView],
    out: &mut dyn Write,
) -> io::Result<()> {
    use Column::{Flexible, Left};
    let mut grid = Grid::new(screen, &[Left, Left, Flexible]);
    grid.header(&["SEVERITY", "AGENT", "FINDING"]);
    for finding in findings {
        let severity = inked(finding.severity.as_str(), severity_ink(finding));
        grid.row([severity, Cell::new(&finding.agent), Cell::new(&finding.summary)]);
        for line in below(screen, finding) {
            grid.row([Cell::new(""), Cell::new(""), faint(Cell::new(line))]);
        }
    }
    grid.draw(out)
}

/// Draws findings in the page of their agent.
pub(crate) fn of_one(
    screen: &Screen,
    findings: &[FindingView],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut grid = Grid::new(screen, &[Column::Left, Column::Flexible]).indent(2);
    for finding in findings {
        let severity = inked(finding.severity.as_str(), severity_ink(finding));
        grid.row([severity, Cell::new(&finding.summary)]);
        for line in below(screen, finding) {
            grid.row([Cell::new(""), faint(Cell::new(line))]);
        }
    }
    grid.draw(out)
}

fn severity_ink(finding: &FindingView) -> Option<comfy_table::Color> {
    if finding.resolved_ms.is_some() { None } else { ink::severity(finding.severity) }
}

/// What stands below the sentence.
fn below(screen: &Screen, finding: &FindingView) -> Vec<String> {
    let mut lines = Vec::new();
    if !finding.evidence.is_empty() {
        let evidence = finding.evidence.iter().map(|(name, value)| format!("{name}={value}"));
        lines.push(evidence.collect::<Vec<_>>().join("  "));
    }
    let opened = format!("since {}", screen.local(finding.opened_ms));
    lines.push(match finding.resolved_ms {
        Some(resolved) => format!("{opened}, resolved {}", screen.local(resolved)),
        None if finding.stale => {
            format!("{opened}, seen {}; not measured now", screen.ago(finding.seen_ms))
        }
        None => format!("{opened}, seen {}", screen.ago(finding.seen_ms)),
    });
    lines
}
