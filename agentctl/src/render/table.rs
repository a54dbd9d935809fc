//! Tables without lines: columns two blanks apart, cut or wrapped to fit the screen.

use std::io::{self, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Row, Table, Width,
};

use super::Screen;

/// How wide a column is, and on which side its text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// As wide as its text; cut or wrapped only where the screen ends.
    Flexible,
    /// As wide as its text, never less.
    Left,
    /// As wide as its text, never less, flush right.
    Right,
    /// So wide.
    Fixed(u16),
}

/// A table in the making.
#[derive(Debug)]
pub(crate) struct Grid {
    table: Table,
    columns: Vec<Column>,
    indent: u16,
    is_cut: bool,
}

impl Grid {
    /// An empty table whose cells are wrapped.
    pub(crate) fn new(screen: &Screen, columns: &[Column]) -> Self {
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.force_no_tty();
        if screen.is_coloured {
            table.enforce_styling();
            table.style_text_only();
        }
        if let Some(width) = screen.width {
            table.set_width(width);
        }
        Self { table, columns: columns.to_vec(), indent: 0, is_cut: false }
    }

    /// Begins each line so far from the left.
    pub(crate) fn indent(mut self, indent: u16) -> Self {
        self.indent = indent;
        self
    }

    /// Cuts cells to one line instead of wrapping them.
    pub(crate) fn cut(mut self) -> Self {
        self.is_cut = true;
        self
    }

    /// Sets the line above the columns.
    pub(crate) fn header(&mut self, words: &[&str]) {
        self.table.set_header(words.iter().map(|word| faint(Cell::new(word))));
    }

    /// Adds a line.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let mut row = Row::from(cells.into_iter().collect::<Vec<Cell>>());
        if self.is_cut {
            row.max_height(1);
        }
        self.table.add_row(row);
    }

    /// Writes it.
    pub(crate) fn draw(mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.table.is_empty() {
            return Ok(());
        }
        let last = self.columns.len().saturating_sub(1);
        for (index, kind) in self.columns.iter().enumerate() {
            let Some(column) = self.table.column_mut(index) else { continue };
            let indent = if index == 0 { self.indent } else { 0 };
            let gap = if index == last { 0 } else { 2 };
            column.set_padding((indent, gap));
            match *kind {
                Column::Flexible => {}
                Column::Left | Column::Right => {
                    column.set_constraint(ColumnConstraint::ContentWidth);
                }
                Column::Fixed(width) => {
                    let width = Width::Fixed(width + indent + gap);
                    column.set_constraint(ColumnConstraint::Absolute(width));
                }
            }
            if *kind == Column::Right {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(out, "{}", self.table.trim_fmt())
    }
}

/// A cell in a colour, or in none.
pub(crate) fn inked(text: impl ToString, ink: Option<Color>) -> Cell {
    let cell = Cell::new(text);
    match ink {
        Some(ink) => cell.fg(ink),
        None => cell,
    }
}

/// The cell, less to be seen.
pub(crate) fn faint(cell: Cell) -> Cell {
    cell.add_attribute(Attribute::Dim)
}

/// The cell, more to be seen.
pub(crate) fn bold(cell: Cell) -> Cell {
    cell.add_attribute(Attribute::Bold)
}
