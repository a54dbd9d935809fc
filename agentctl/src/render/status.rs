//! agentd itself, the configuration it read, and the cell of an agent.

use std::io::{self, Write};

use agentd_protocol::control::{AgentView, Explanation, ReloadReport, Status};
use comfy_table::{Cell, Color};

use super::agents::why;
use super::table::{Column, Grid, bold, inked};
use super::time::{span, span_ms};
use super::{Screen, count};

/// Draws what is wrong, and ends with how much that is.
pub(crate) fn doctor(
    screen: &Screen,
    status: &Status,
    unwell: &[&AgentView],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut intro = Grid::new(screen, &[Column::Flexible]);
    let mut line = format!(
        "agentd {}, process {}, up {}",
        status.version,
        status.pid,
        span(screen.age(status.started_ms))
    );
    if status.root != "/" {
        line = format!("{line}, root {}", status.root);
    }
    intro.row([Cell::new(line)]);
    intro.row([Cell::new(match status.all_ready_boot_ms {
        Some(ms) => format!("all wanted agents ran {} after boot", seconds(ms)),
        None => "not all wanted agents have run yet".to_owned(),
    })]);
    intro.draw(out)?;
    if !status.problems.is_empty() {
        screen.heading(out, "Problems")?;
        let mut grid = Grid::new(screen, &[Column::Left, Column::Flexible]).indent(2);
        for problem in &status.problems {
            let area = inked(&problem.area, Some(Color::Red));
            // `network.toml:3:1: …` begins with the file already.
            if problem.message.starts_with(&problem.subject) {
                grid.row([area, Cell::new(&problem.message)]);
            } else {
                grid.row([area, bold(Cell::new(&problem.subject))]);
                grid.row([Cell::new(""), Cell::new(&problem.message)]);
            }
        }
        grid.draw(out)?;
    }
    if !unwell.is_empty() {
        screen.heading(out, "Agents that are not well")?;
        why(screen, unwell, 2, out)?;
    }
    if !status.limits.is_empty() {
        screen.heading(out, "What this machine cannot give")?;
        bullets(screen, &status.limits, out)?;
    }
    writeln!(out)?;
    match (status.problems.len(), unwell.len()) {
        (0, 0) => writeln!(out, "Nothing is wrong."),
        (0, agents) => writeln!(out, "{} not well.", are(agents, "agent")),
        (problems, 0) => writeln!(out, "{}.", count(problems, "problem")),
        (problems, agents) => {
            writeln!(out, "{}; {} not well.", count(problems, "problem"), are(agents, "agent"))
        }
    }
}

/// Draws the plan of a cell.
pub(crate) fn explain(
    screen: &Screen,
    explanation: &Explanation,
    out: &mut dyn Write,
) -> io::Result<()> {
    let operations = explanation.operations.len();
    let title = format!(
        "The cell of {}: {}, in this order",
        explanation.name,
        count(operations, "operation")
    );
    writeln!(out, "{}", screen.bold(&title))?;
    let mut grid = Grid::new(screen, &[Column::Right, Column::Flexible]).indent(2);
    for (index, operation) in explanation.operations.iter().enumerate() {
        grid.row([super::table::faint(Cell::new(index + 1)), Cell::new(operation)]);
    }
    grid.draw(out)?;
    if !explanation.missing.is_empty() {
        screen.heading(out, "Asked for and not given here")?;
        bullets(screen, &explanation.missing, out)?;
    }
    Ok(())
}

/// Draws what a reload changed, or would change.
pub(crate) fn reload(
    screen: &Screen,
    report: &ReloadReport,
    out: &mut dyn Write,
) -> io::Result<()> {
    let kinds = [
        ("added", Color::Green, &report.added),
        ("changed", Color::Yellow, &report.changed),
        ("removed", Color::Red, &report.removed),
    ];
    let mut grid = Grid::new(screen, &[Column::Left, Column::Flexible]);
    for (word, ink, names) in kinds.into_iter().filter(|(_, _, names)| !names.is_empty()) {
        grid.row([inked(word, Some(ink)), Cell::new(names.join(", "))]);
    }
    grid.draw(out)?;
    let is_same = kinds.iter().all(|(_, _, names)| names.is_empty());
    match (report.applied, is_same) {
        (true, true) => writeln!(out, "The configuration is in force; no agent changed."),
        (true, false) => writeln!(out, "The configuration is in force."),
        (false, true) => writeln!(out, "The configuration is good; no agent would change."),
        (false, false) => writeln!(out, "The configuration is good; nothing was changed yet."),
    }
}

fn bullets(screen: &Screen, lines: &[String], out: &mut dyn Write) -> io::Result<()> {
    let mut grid = Grid::new(screen, &[Column::Left, Column::Flexible]).indent(2);
    for line in lines {
        grid.row([inked("-", Some(Color::Yellow)), Cell::new(line)]);
    }
    grid.draw(out)
}

/// `14.2s`; from a minute on as any span.
fn seconds(ms: u64) -> String {
    if ms < 60_000 { format!("{}.{}s", ms / 1_000, ms % 1_000 / 100) } else { span_ms(ms) }
}

fn are(n: usize, one: &str) -> String {
    format!("{} {}", count(n, one), if n == 1 { "is" } else { "are" })
}
