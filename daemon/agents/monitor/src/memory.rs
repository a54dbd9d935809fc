//! Memory in use (`/proc/meminfo`, proc_meminfo(5)).
//!
//! Used is what is not available: the kernel's own estimate of what programs could still have, so
//! that caches count as free and what cannot be reclaimed does not.

use agentd_kit::{Check, CheckError, Context, Defaults, Readings};
use procfs::{FromBufRead, Meminfo};

use crate::rate::percent;
use crate::{FormatError, PACE};

const DEFAULTS: Defaults = PACE.thresholds(80.0, 95.0, 3.0).raise_after(3).clear_after(3);

const FILE: &str = "/proc/meminfo";

/// Memory and swap.
pub(crate) fn check() -> Check {
    Check::new("memory", "memory in use, and swap", DEFAULTS, look)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    total: u64,
    available: u64,
    swap_total: u64,
    swap_free: u64,
}

async fn look(ctx: &Context, _: &mut ()) -> Result<Readings, CheckError> {
    let text = ctx.host().read_text(FILE)?;
    let memory = memory(&text).ok_or_else(|| FormatError::of(FILE))?;
    let used = memory.total.saturating_sub(memory.available);
    let share = percent(used, memory.total).ok_or_else(|| FormatError::of(FILE))?;
    let mut readings = Readings::new();
    readings
        .measure("memory", share, "percent", format!("{share:.0} % of the memory is in use"))
        .evidence("available_bytes", memory.available)
        .evidence("total_bytes", memory.total);
    readings.sample("memory.used", share, "percent");
    readings.sample("memory.available", bytes(memory.available), "bytes");
    if memory.swap_total > 0 {
        let used = memory.swap_total.saturating_sub(memory.swap_free);
        readings.sample("swap.used", bytes(used), "bytes");
    }
    Ok(readings)
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 8 PiB, and a sample is a float")]
fn bytes(count: u64) -> f64 {
    count as f64
}

fn memory(text: &str) -> Option<Memory> {
    let info = Meminfo::from_buf_read(text.as_bytes()).ok()?;
    Some(Memory {
        total: info.mem_total,
        available: info.mem_available?,
        swap_total: info.swap_total,
        swap_free: info.swap_free,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::machine::{Machine, samples};

    const RECORDED: &str = include_str!("../tests/recorded/meminfo");

    #[tokio::test]
    async fn caches_count_as_free() {
        let machine = Machine::new();
        machine.write(FILE, RECORDED);
        let readings = look(&machine.at(1, &DEFAULTS), &mut ()).await.unwrap();
        let used = readings.readings()[0].value().unwrap();
        assert!((4.0..4.1).contains(&used), "{used}");
        assert_eq!(readings.readings()[0].evidence_of("total_bytes"), Some("25276510208"));
        assert_eq!(samples(&readings)[1], "memory.available 24249847808 bytes");
        assert_eq!(samples(&readings).len(), 2, "no swap, no sample of it");
    }

    #[tokio::test]
    async fn swap_is_sampled_where_there_is_some() {
        let machine = Machine::new();
        let text = RECORDED.replace("SwapTotal:             0", "SwapTotal:          1000");
        machine.write(FILE, &text.replace("SwapFree:              0", "SwapFree:            600"));
        let readings = look(&machine.at(1, &DEFAULTS), &mut ()).await.unwrap();
        assert_eq!(samples(&readings)[2], "swap.used 409600 bytes");
    }

    #[tokio::test]
    async fn a_file_that_is_cut_short_is_unknown() {
        let machine = Machine::new();
        machine.write(FILE, &RECORDED[..200]);
        let err = look(&machine.at(1, &DEFAULTS), &mut ()).await.unwrap_err().to_string();
        assert_eq!(err, "/proc/meminfo is not as the kernel writes it");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(at in 0..RECORDED.len(), junk in "[a-zA-Z:0-9 kB\n-]{0,30}") {
            memory(&junk);
            memory(&format!("{}{junk}{}", &RECORDED[..at], &RECORDED[at..]));
        }
    }
}
