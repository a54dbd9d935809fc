//! A small chart of means, a column a step. A step without a reading is a gap, never zero.

use std::io::{self, Write};

use super::super::Screen;
use super::reading;
use super::step::{Bucket, Step};

/// Rows of the chart.
const HEIGHT: usize = 6;

/// A row is filled in eighths.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws the chart, or nothing where it would not fit or would say nothing.
pub(super) fn draw(
    screen: &Screen,
    buckets: &[Bucket],
    step: &Step,
    unit: &str,
    ends: &[String; 2],
    out: &mut dyn Write,
) -> io::Result<()> {
    let top = buckets.iter().map(|bucket| bucket.mean).fold(0.0, f64::max);
    let is_drawable = buckets.iter().all(|bucket| bucket.mean.is_finite() && bucket.mean >= 0.0);
    let Some(columns) = levels(buckets, step, top).filter(|_| is_drawable && top > 0.0) else {
        return Ok(());
    };
    let highest = reading(top, unit);
    let lowest = reading(0.0, unit);
    let label = highest.chars().count().max(lowest.chars().count());
    let [from, to] = ends.each_ref().map(|end| end.chars().count());
    if columns.len() < from + to + 2
        || screen.width.is_some_and(|width| label + 2 + columns.len() > usize::from(width))
    {
        return Ok(());
    }
    writeln!(out)?;
    for row in (0..HEIGHT).rev() {
        let label_here = match row {
            0 => &lowest,
            row if row == HEIGHT - 1 => &highest,
            _ => "",
        };
        let cells: String =
            columns.iter().map(|level| BLOCKS[level.saturating_sub(row * 8).min(8)]).collect();
        let line = format!("{label_here:>label$} ┤{cells}");
        writeln!(out, "{}", line.trim_end())?;
    }
    let gap = columns.len() - from;
    writeln!(out, "{:label$}  {}{:>gap$}", "", ends[0], ends[1])
}

/// The height of each column in eighths of a row. A reading is at least one eighth, so that it
/// differs from a gap. None where there are too few columns or far too many.
fn levels(buckets: &[Bucket], step: &Step, top: f64) -> Option<Vec<usize>> {
    let (first, last) = (buckets.first()?, buckets.last()?);
    let index = |bucket: &Bucket| {
        usize::try_from(bucket.start_ms.saturating_sub(first.start_ms) / step.ms()).ok()
    };
    let count = index(last).filter(|last| (1..200).contains(last))? + 1;
    let mut levels = vec![0; count];
    for bucket in buckets {
        let eighths = HEIGHT * 8;
        // The highest of the eighths that the reading reaches, found without a cast.
        let level = (1..=eighths).rev().find(|level| share(*level, eighths) * top <= bucket.mean);
        *levels.get_mut(index(bucket)?)? = level.unwrap_or(1);
    }
    Some(levels)
}

fn share(part: usize, of: usize) -> f64 {
    let float = |n: usize| u32::try_from(n).map_or(f64::INFINITY, f64::from);
    float(part) / float(of)
}
