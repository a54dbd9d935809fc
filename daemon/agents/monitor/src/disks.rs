//! What goes to and from the disks (`/proc/diskstats`, kernel's Documentation/admin-guide/iostats.rst).
//!
//! Only whole devices that data ends up on: a partition's traffic is its disk's too, and that of a
//! device made of others (device mapper, RAID, loop) is theirs. How full they are is the storage
//! agent's.

use std::collections::{BTreeMap, BTreeSet};

use agentd_kit::{Check, CheckError, Context, Readings};
use procfs::{DiskStats, FromBufRead};

use crate::rate::Rates;
use crate::{FormatError, PACE};

const FILE: &str = "/proc/diskstats";
/// One entry for each whole device.
const DEVICES: &str = "/sys/block";

/// Names of devices that are made of others, or of memory, or hold a medium only at times.
const NOT_DISKS: [&str; 9] = ["loop", "ram", "zram", "dm-", "md", "nbd", "sr", "fd", "zd"];

/// Sectors in these files have 512 bytes, whatever the device's own have.
const SECTOR: u64 = 512;

/// Disk traffic.
pub(crate) fn check() -> Check {
    Check::new("disks", "traffic of each disk", PACE, look)
}

async fn look(ctx: &Context, rates: &mut Rates) -> Result<Readings, CheckError> {
    let disks: BTreeSet<String> =
        ctx.host().list(DEVICES)?.into_iter().filter(|name| is_disk(name)).collect();
    let text = ctx.host().read_text(FILE)?;
    let counters = counters(&text, &disks).ok_or_else(|| FormatError::of(FILE))?;
    let mut readings = Readings::new();
    for (name, rate) in rates.advance(ctx.now().boot, counters) {
        if name.ends_with(".busy") {
            // Milliseconds a second; the kernel rounds each request up, so a little above 1000.
            readings.sample(name, (rate / 10.0).min(100.0), "percent");
        } else {
            readings.sample(name, rate, "bytes/s");
        }
    }
    Ok(readings)
}

fn is_disk(name: &str) -> bool {
    !NOT_DISKS.iter().any(|prefix| name.starts_with(prefix))
}

fn counters(text: &str, disks: &BTreeSet<String>) -> Option<BTreeMap<String, u64>> {
    let DiskStats(stats) = DiskStats::from_buf_read(text.as_bytes()).ok()?;
    let counters = stats.into_iter().filter(|stat| disks.contains(&stat.name)).flat_map(|stat| {
        let name = stat.name;
        [
            (format!("disk.{name}.read"), stat.sectors_read.saturating_mul(SECTOR)),
            (format!("disk.{name}.write"), stat.sectors_written.saturating_mul(SECTOR)),
            (format!("disk.{name}.busy"), stat.time_in_progress),
        ]
    });
    Some(counters.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::machine::{Machine, samples};

    const RECORDED: &str = include_str!("../tests/recorded/diskstats");

    #[tokio::test]
    async fn only_whole_disks_are_sampled_and_from_the_second_look_on() {
        let machine = Machine::new();
        for name in ["loop0", "vda", "zram0", "dm-0"] {
            machine.write(&format!("/sys/block/{name}/x"), "");
        }
        let mut rates = Rates::default();
        machine.write(FILE, RECORDED);
        assert!(samples(&look(&machine.at(10, &PACE), &mut rates).await.unwrap()).is_empty());
        // 100 sectors read, 40 written and 5 s at work, for the disk and for its partition.
        let later = RECORDED
            .replace(" 19119826 ", " 19119926 ")
            .replace(" 58841008 ", " 58841048 ")
            .replace(" 49712 ", " 54712 ");
        machine.write(FILE, &later);
        let readings = look(&machine.at(20, &PACE), &mut rates).await.unwrap();
        assert_eq!(
            samples(&readings),
            [
                "disk.vda.busy 50 percent",
                "disk.vda.read 5120 bytes/s",
                "disk.vda.write 2048 bytes/s"
            ]
        );
    }

    #[test]
    fn names_say_what_is_a_disk() {
        for name in ["vda", "sda", "nvme0n1", "mmcblk0", "xvda"] {
            assert!(is_disk(name), "{name}");
        }
        for name in ["loop3", "zram0", "dm-1", "md127", "sr0", "nbd0", "fd0"] {
            assert!(!is_disk(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(at in 0..RECORDED.len(), junk in "[a-z0-9 \n-]{0,40}") {
            let disks = BTreeSet::from(["vda".to_owned()]);
            counters(&junk, &disks);
            counters(&format!("{}{junk}{}", &RECORDED[..at], &RECORDED[at..]), &disks);
        }
    }
}
