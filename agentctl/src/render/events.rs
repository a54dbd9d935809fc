//! Events, each drawn as it comes: a stream cannot be measured before it ends.

use std::io::{self, Write};

use agentd_protocol::control::{EventView, kind};
use comfy_table::{Cell, CellAlignment, Color};

use super::Screen;
use super::table::{Column, Grid, faint, inked};

/// What was drawn so far: how wide the columns have become.
#[derive(Debug)]
pub(crate) struct Page {
    time: u16,
    agent: u16,
    is_of_one: bool,
}

impl Page {
    /// Events of any agent.
    pub(crate) fn of_all() -> Self {
        Self { time: 8, agent: 8, is_of_one: false }
    }

    /// Events of one agent, in a page about it.
    pub(crate) fn of_one() -> Self {
        Self { time: 8, agent: 0, is_of_one: true }
    }

    /// Makes the columns wide enough for these.
    pub(crate) fn measure(&mut self, screen: &Screen, events: &[EventView]) {
        for event in events {
            self.widen(&screen.local(event.time_ms), subject(event));
        }
    }

    /// Draws one.
    pub(crate) fn draw(
        &mut self,
        screen: &Screen,
        event: &EventView,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let time = screen.local(event.time_ms);
        self.widen(&time, subject(event));
        let mut columns = vec![Column::Fixed(self.time)];
        let mut cells = vec![faint(Cell::new(time)).set_alignment(CellAlignment::Right)];
        if !self.is_of_one {
            columns.push(Column::Fixed(self.agent));
            cells.push(Cell::new(subject(event)));
        }
        columns.push(Column::Flexible);
        cells.push(inked(&event.message, ink(event)));
        let mut grid = Grid::new(screen, &columns).indent(if self.is_of_one { 2 } else { 0 });
        grid.row(cells);
        grid.draw(out)
    }

    fn widen(&mut self, time: &str, subject: &str) {
        let width = |text: &str| u16::try_from(text.chars().count()).unwrap_or(u16::MAX).min(32);
        self.time = self.time.max(width(time));
        self.agent = self.agent.max(width(subject));
    }
}

/// Whom an event is about. What is about no agent is about agentd.
fn subject(event: &EventView) -> &str {
    event.agent.as_deref().unwrap_or("agentd")
}

fn ink(event: &EventView) -> Option<Color> {
    let field = |name: &str| event.fields.get(name).map(String::as_str);
    match (event.kind.as_str(), field("to").or_else(|| field("severity"))) {
        (kind::PHASE, Some("running")) | (kind::HEALTH, Some("ok")) => Some(Color::Green),
        (kind::PHASE, Some("failed")) | (kind::HEALTH, Some("stale")) => Some(Color::Red),
        (kind::PHASE, Some("backoff")) | (kind::HEALTH, Some("degraded")) => Some(Color::Yellow),
        (kind::FINDING_OPENED | kind::FINDING_CHANGED, Some("critical")) => Some(Color::Red),
        (kind::FINDING_OPENED | kind::FINDING_CHANGED, Some("warning")) => Some(Color::Yellow),
        (kind::FINDING_RESOLVED | kind::STORE_RECOVERED, _) => Some(Color::Green),
        (kind::CHANNEL | kind::CONFIG_REFUSED, _) => Some(Color::Yellow),
        (kind::STORE_FAILED, _) => Some(Color::Red),
        _ => None,
    }
}
