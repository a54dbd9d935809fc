//! Pressure as samples; findings about it are the system agent's.

use agentd_kit::{Check, CheckError, Context, Readings, pressure};

use crate::PACE;

/// Pressure on CPU, memory and I/O.
pub(crate) fn check() -> Check {
    Check::new("pressure", "time lost waiting for CPU, memory and disks", PACE, look)
}

async fn look(ctx: &Context, _: &mut ()) -> Result<Readings, CheckError> {
    let mut readings = Readings::new();
    for resource in ["cpu", "memory", "io"] {
        let pressure = pressure::read(ctx.host(), resource)?;
        // Averages over the time between two samples.
        readings.sample(format!("pressure.{resource}.some"), pressure.some.avg10, "percent");
        if resource != "cpu" {
            readings.sample(format!("pressure.{resource}.full"), pressure.full.avg10, "percent");
        }
    }
    Ok(readings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Machine, samples};

    #[tokio::test]
    async fn each_resource_is_sampled() {
        let machine = Machine::new();
        for (n, resource) in ["cpu", "memory", "io"].into_iter().enumerate() {
            let text = format!(
                "some avg10={n}.50 avg60=0.00 avg300=0.00 total=1\n\
                 full avg10={n}.25 avg60=0.00 avg300=0.00 total=1\n"
            );
            machine.write(&format!("/proc/pressure/{resource}"), &text);
        }
        let readings = look(&machine.at(1, &PACE), &mut ()).await.unwrap();
        assert_eq!(
            samples(&readings),
            [
                "pressure.cpu.some 0.5 percent",
                "pressure.memory.some 1.5 percent",
                "pressure.memory.full 1.25 percent",
                "pressure.io.some 2.5 percent",
                "pressure.io.full 2.25 percent",
            ]
        );
    }
}
