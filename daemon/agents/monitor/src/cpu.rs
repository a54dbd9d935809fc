//! How busy the CPUs are, all together (`/proc/stat`, proc_stat(5)).
//!
//! Busy is everything but idling and waiting for a disk. Time that a hypervisor gave to others
//! (steal) counts as busy: somebody here wanted the CPU and did not have it.

use agentd_kit::{Check, CheckError, Context, Defaults, Readings};

use crate::rate::percent;
use crate::{FormatError, PACE};

/// A minute above the threshold is news; a compiler run for half of one is not.
const DEFAULTS: Defaults = PACE.thresholds(85.0, 95.0, 5.0).raise_after(6).clear_after(6);

const FILE: &str = "/proc/stat";

/// CPU time.
pub(crate) fn check() -> Check {
    Check::new("cpu", "CPU time of all CPUs together", DEFAULTS, look)
}

/// Time since boot, in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    total: u64,
    idle: u64,
    iowait: u64,
    steal: u64,
}

async fn look(ctx: &Context, last: &mut Option<Times>) -> Result<Readings, CheckError> {
    let now = times(&ctx.host().read_text(FILE)?).ok_or_else(|| FormatError::of(FILE))?;
    let mut readings = Readings::new();
    if let Some(share) = last.replace(now).and_then(|before| shares(before, now)) {
        let Shares { busy, iowait, steal } = share;
        readings
            .measure("cpu", busy, "percent", format!("CPUs are {busy:.0} % busy"))
            .evidence("iowait_percent", format!("{iowait:.1}"))
            .evidence("steal_percent", format!("{steal:.1}"));
        readings.sample("cpu.busy", busy, "percent");
        readings.sample("cpu.iowait", iowait, "percent");
        readings.sample("cpu.steal", steal, "percent");
    }
    Ok(readings)
}

fn times(stat: &str) -> Option<Times> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // user nice system idle iowait irq softirq steal; guest times after them are part of user.
    let mut ticks = [0_u64; 8];
    let mut words = line.split_whitespace();
    for tick in &mut ticks {
        *tick = words.next()?.parse().ok()?;
    }
    let total = ticks.iter().try_fold(0_u64, |sum, tick| sum.checked_add(*tick))?;
    Some(Times { total, idle: ticks[3], iowait: ticks[4], steal: ticks[7] })
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Shares {
    busy: f64,
    iowait: f64,
    steal: f64,
}

/// Shares of the time between two looks. Single counters may fall a little (iowait does, says
/// proc_stat(5)); that is no time.
fn shares(before: Times, now: Times) -> Option<Shares> {
    let total = now.total.saturating_sub(before.total);
    let share = |before: u64, now: u64| percent(now.saturating_sub(before).min(total), total);
    let idle = share(before.idle, now.idle)?;
    let iowait = share(before.iowait, now.iowait)?;
    let steal = share(before.steal, now.steal)?;
    Some(Shares { busy: (100.0 - idle - iowait).max(0.0), iowait, steal })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::machine::{Machine, samples};

    #[tokio::test]
    async fn the_share_between_two_looks_is_measured() {
        let machine = Machine::new();
        let mut last = None;
        machine.write(FILE, "cpu  65551 80511 34490 348184 2575 0 428 221 0 0\ncpu0 1 2\n");
        let first = look(&machine.at(10, &DEFAULTS), &mut last).await.unwrap();
        assert!(first.readings().is_empty() && samples(&first).is_empty());

        machine.write(FILE, "cpu  65611 80511 34510 348194 2580 0 428 226 0 0\ncpu0 1 2\n");
        let second = look(&machine.at(20, &DEFAULTS), &mut last).await.unwrap();
        assert_eq!(
            samples(&second),
            ["cpu.busy 85 percent", "cpu.iowait 5 percent", "cpu.steal 5 percent"]
        );
        assert_eq!(second.readings()[0].value(), Some(85.0));
        assert_eq!(second.readings()[0].summary(), "CPUs are 85 % busy");
    }

    #[test]
    fn a_line_without_all_times_is_refused() {
        for text in ["", "cpu0 1 2 3 4 5 6 7 8\n", "cpu  1 2 3 4 5 6 7\n", "cpu  1 2 3 4 5 6 7 x\n"]
        {
            assert_eq!(times(text), None, "{text}");
        }
    }

    #[test]
    fn no_time_is_no_share() {
        let times = Times { total: 5, ..Times::default() };
        assert_eq!(shares(times, times), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "cpu |(cpu |[0-9 \n.-]){0,60}") {
            times(&text);
        }

        #[test]
        fn shares_stay_within_all_of_the_time(
            a in any::<[u32; 4]>(), b in any::<[u32; 4]>(),
        ) {
            let times = |t: [u32; 4]| Times {
                total: t[0].into(), idle: t[1].into(), iowait: t[2].into(), steal: t[3].into(),
            };
            if let Some(s) = shares(times(a), times(b)) {
                for share in [s.busy, s.iowait, s.steal] {
                    prop_assert!((0.0..=100.0).contains(&share));
                }
            }
        }
    }
}
