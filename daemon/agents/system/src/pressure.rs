//! Pressure on CPU, memory and I/O: time lost because there was not enough of it.
//!
//! CPU is measured by `some` (a task waited for a CPU; `full` does not exist for the machine as a
//! whole), memory and I/O by `full`: a single task that waits for a disk is what disks are for, but
//! when nothing runs at all the machine stands. Averages over a minute, so that a burst is not news.

use agentd_kit::pressure::{self, Pressure, Stalls};
use agentd_kit::{Check, CheckError, Context, Defaults, Readings, clock};

const EVERY: Defaults = Defaults::every(clock::seconds(10)).timeout(clock::seconds(2));
/// A machine that is merely busy shows some; two minutes of hardly anything else is news.
const CPU: Defaults = EVERY.thresholds(90.0, 98.0, 10.0).raise_after(12).clear_after(6);
/// Time lost to reclaim hurts long before it is half of all time.
const MEMORY: Defaults = EVERY.thresholds(10.0, 25.0, 5.0).raise_after(3).clear_after(6);
const IO: Defaults = EVERY.thresholds(50.0, 80.0, 10.0).raise_after(6).clear_after(6);

/// One check for each resource, as each has its own thresholds.
pub(crate) fn checks() -> [Check; 3] {
    [
        Check::new("pressure-cpu", "time lost waiting for a CPU", CPU, async |ctx, _: &mut ()| {
            look(ctx, "cpu", |p| p.some)
        }),
        Check::new(
            "pressure-memory",
            "time lost waiting for memory",
            MEMORY,
            async |ctx, _: &mut ()| look(ctx, "memory", |p| p.full),
        ),
        Check::new("pressure-io", "time lost waiting for disks", IO, async |ctx, _: &mut ()| {
            look(ctx, "io", |p| p.full)
        }),
    ]
}

fn look(
    ctx: &Context,
    resource: &str,
    pick: impl Fn(&Pressure) -> Stalls,
) -> Result<Readings, CheckError> {
    let pressure = pressure::read(ctx.host(), resource)?;
    let percent = pick(&pressure).avg60;
    let mut readings = Readings::new();
    let summary = format!("{percent:.0} % of the last minute was lost waiting for {resource}");
    let reading = readings.measure(format!("pressure:{resource}"), percent, "percent", summary);
    for (name, stalls) in [("some", pressure.some), ("full", pressure.full)] {
        let Stalls { avg10, avg60, avg300 } = stalls;
        reading.evidence(format!("{name}_10s_60s_300s"), format!("{avg10} {avg60} {avg300}"));
    }
    Ok(readings)
}

#[cfg(test)]
mod tests {
    use agentd_kit::{Host, InForce};

    use super::*;

    #[test]
    fn each_resource_is_measured_by_what_hurts() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/pressure")).unwrap();
        let text =
            "some avg10=1 avg60=70.5 avg300=3 total=4\nfull avg10=5 avg60=6 avg300=7 total=8\n";
        std::fs::write(dir.path().join("proc/pressure/io"), text).unwrap();
        let ctx = Context::new(Host::under(dir.path()), InForce::from(&IO), clock::now());
        let some = look(&ctx, "io", |p| p.some).unwrap();
        assert_eq!(some.readings()[0].value(), Some(70.5));
        let full = look(&ctx, "io", |p| p.full).unwrap();
        assert_eq!(full.readings()[0].value(), Some(6.0));
        assert_eq!(full.readings()[0].key(), "pressure:io");
        assert_eq!(full.readings()[0].evidence_of("some_10s_60s_300s"), Some("1 70.5 3"));
        let err = look(&ctx, "cpu", |p| p.some).unwrap_err().to_string();
        assert!(err.contains("proc/pressure/cpu"), "{err}");
    }
}
