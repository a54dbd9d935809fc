//! Kept readings: the list of series, and one series as a table with a chart below it.

mod chart;
mod step;

use std::io::{self, Write};

use agentd_protocol::control::{MetricInfo, MetricSeries};
use comfy_table::Cell;

use self::step::{Bucket, Step};
use super::Screen;
use super::table::{Column, Grid, bold, faint};

/// Draws every series with its newest reading.
pub(crate) fn list(screen: &Screen, metrics: &[MetricInfo], out: &mut dyn Write) -> io::Result<()> {
    let mut grid = Grid::new(screen, &[Column::Flexible, Column::Right, Column::Right]).cut();
    grid.header(&["METRIC", "LAST", "READ"]);
    for metric in metrics {
        grid.row([
            bold(Cell::new(&metric.name)),
            Cell::new(reading(metric.last, &metric.unit)),
            faint(Cell::new(screen.about(metric.last_ms))),
        ]);
    }
    grid.draw(out)
}

/// Draws one series that has points, in steps that leave it readable.
pub(crate) fn series(
    screen: &Screen,
    series: &MetricSeries,
    out: &mut dyn Write,
) -> io::Result<()> {
    let step = Step::for_points(&series.points);
    let buckets = step.group(&series.points);
    let (Some(first), Some(last), Some(all)) =
        (buckets.first(), buckets.last(), Bucket::over(&series.points))
    else {
        return Ok(());
    };
    let label = Label::between(screen, first.start_ms, last.start_ms);
    let title = format!("{}, by {}", series.name, step.name());
    writeln!(out, "{}", screen.bold(&title))?;
    let mut grid = Grid::new(
        screen,
        &[Column::Left, Column::Right, Column::Right, Column::Right, Column::Right],
    );
    grid.header(&["FROM", "LEAST", "MEAN", "GREATEST", "READINGS"]);
    for bucket in &buckets {
        grid.row([
            Cell::new(label.of(screen, bucket.start_ms)),
            Cell::new(reading(bucket.min, &series.unit)),
            Cell::new(reading(bucket.mean, &series.unit)),
            Cell::new(reading(bucket.max, &series.unit)),
            faint(Cell::new(bucket.count)),
        ]);
    }
    grid.draw(out)?;
    let ends = [first, last].map(|bucket| label.of(screen, bucket.start_ms));
    chart::draw(screen, &buckets, &step, &series.unit, &ends, out)?;
    writeln!(
        out,
        "\nleast {}, mean {}, greatest {}, of {} readings",
        reading(all.min, &series.unit),
        reading(all.mean, &series.unit),
        reading(all.max, &series.unit),
        all.count
    )
}

/// How the start of a step is written: with the date, if not all lie in today.
#[derive(Clone, Copy, Debug)]
struct Label(&'static str);

impl Label {
    fn between(screen: &Screen, first_ms: i64, last_ms: i64) -> Self {
        let is_today = |ms| screen.zoned(ms).is_some_and(|at| at.date() == screen.now.date());
        if is_today(first_ms) && is_today(last_ms) { Self("%H:%M") } else { Self("%Y-%m-%d %H:%M") }
    }

    fn of(self, screen: &Screen, ms: i64) -> String {
        screen.zoned(ms).map_or_else(|| format!("@{ms}"), |at| at.strftime(self.0).to_string())
    }
}

/// A reading with its unit, in at most four digits or so.
fn reading(value: f64, unit: &str) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    match unit {
        "percent" => format!("{value:.1} %"),
        "bytes" => bytes(value),
        "bytes/s" => format!("{}/s", bytes(value)),
        "1" => number(value),
        other => format!("{} {other}", number(value)),
    }
}

fn bytes(value: f64) -> String {
    let mut size = value;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if size.abs() < 1024.0 {
            return if unit == "B" { format!("{size:.0} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} PiB")
}

fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_short_and_have_their_unit() {
        let cases = [
            (3.0999, "percent", "3.1 %"),
            (0.0, "bytes", "0 B"),
            (1023.0, "bytes", "1023 B"),
            (12_900_000.0, "bytes", "12.3 MiB"),
            (2048.0, "bytes/s", "2.0 KiB/s"),
            (1e18, "bytes", "888.2 PiB"),
            (0.25, "1", "0.25"),
            (40.0, "1", "40"),
            (41.5, "celsius", "41.5 celsius"),
            (f64::INFINITY, "1", "-"),
        ];
        for (value, unit, text) in cases {
            assert_eq!(reading(value, unit), text);
        }
    }
}
