//! Checks `space` and `inodes`: how full the real file systems are.
//!
//! Space as df(1) counts it: used, out of used and what is left for users without privileges
//! (statvfs(3), `f_bavail`). The share that ext4 keeps for root counts as not there, so 100 % is where
//! services begin to fail. Inodes: used out of all; a file system that has no fixed number of them
//! (btrfs, FAT) is left out.
//!
//! A file system that can only be read does not fill up and is left out too. One that cannot be asked,
//! because its mount point lies where this agent may not go, is named in a finding of its own: what is
//! not measured must not look healthy.

use std::io;

use agentd_kit::{CheckError, Context, Defaults, Host, Readings, Severity, clock};
use nix::sys::statvfs::statvfs;

use crate::mount::{FileSystem, file_systems};

/// Both checks: each run costs a few system calls for each file system.
pub(crate) const DEFAULTS: Defaults =
    Defaults::every(clock::seconds(10)).thresholds(85.0, 95.0, 2.0);

/// How full a file system is; sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    total: u64,
    /// Left for root.
    free: u64,
    /// Left for everyone else.
    available: u64,
    inodes: u64,
    inodes_free: u64,
}

/// Blocks in the file system.
pub(crate) fn run_space(ctx: &Context, _state: &mut ()) -> Result<Readings, CheckError> {
    Ok(decide("space", &measure(ctx.host())?, space))
}

/// Blocks in the file system.
pub(crate) fn run_inodes(ctx: &Context, _state: &mut ()) -> Result<Readings, CheckError> {
    Ok(decide("inodes", &measure(ctx.host())?, inodes))
}

type Measured = (FileSystem, io::Result<Usage>);

fn measure(host: &Host) -> Result<Vec<Measured>, CheckError> {
    let found = file_systems(&host.read_text("/proc/self/mountinfo")?)?;
    let writable = found.into_iter().filter(|fs| !fs.is_read_only);
    Ok(writable
        .map(|fs| {
            let usage = ask(host, &fs.point);
            (fs, usage)
        })
        .collect())
}

fn ask(host: &Host, point: &str) -> io::Result<Usage> {
    let stat = statvfs(&host.path(point)).map_err(io::Error::from)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    Ok(Usage {
        total: bytes(stat.blocks()),
        free: bytes(stat.blocks_free()),
        available: bytes(stat.blocks_available()),
        inodes: stat.files(),
        inodes_free: stat.files_free(),
    })
}

fn decide(
    what: &str,
    measured: &[Measured],
    one: fn(&FileSystem, &Usage, &mut Readings),
) -> Readings {
    let mut readings = Readings::new();
    for (fs, usage) in measured {
        match usage {
            Ok(usage) => one(fs, usage, &mut readings),
            Err(err) => {
                let is_closed = err.kind() == io::ErrorKind::PermissionDenied;
                readings
                    .raise(
                        format!("unmeasured-{what}:{}", fs.point),
                        if is_closed { Severity::Info } else { Severity::Warning },
                        format!("cannot measure {what} of {}: {err}", fs.point),
                    )
                    .evidence("path", &fs.point)
                    .evidence("device", &fs.source);
            }
        }
    }
    readings
}

fn space(fs: &FileSystem, usage: &Usage, readings: &mut Readings) {
    let used = usage.total.saturating_sub(usage.free);
    let Some(percent) = percent(used, used.saturating_add(usage.available)) else { return };
    readings
        .measure(
            format!("space:{}", fs.point),
            percent,
            "percent",
            format!("{} is {} % full", fs.point, percent.floor()),
        )
        .evidence("path", &fs.point)
        .evidence("device", &fs.source)
        .evidence("type", &fs.kind)
        .evidence("used_percent", format!("{percent:.1}"))
        .evidence("total_bytes", usage.total)
        .evidence("used_bytes", used)
        .evidence("available_bytes", usage.available);
}

fn inodes(fs: &FileSystem, usage: &Usage, readings: &mut Readings) {
    let used = usage.inodes.saturating_sub(usage.inodes_free);
    let Some(percent) = percent(used, usage.inodes) else { return };
    readings
        .measure(
            format!("inodes:{}", fs.point),
            percent,
            "percent",
            format!("{} has used {} % of its inodes", fs.point, percent.floor()),
        )
        .evidence("path", &fs.point)
        .evidence("device", &fs.source)
        .evidence("type", &fs.kind)
        .evidence("used_percent", format!("{percent:.1}"))
        .evidence("inodes", usage.inodes)
        .evidence("used_inodes", used);
}

/// `None` when there is nothing to take a share of.
#[expect(clippy::cast_precision_loss, reason = "a share is shown with one digit after the point")]
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| 100.0 * part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn var() -> FileSystem {
        FileSystem {
            device: (259, 3),
            point: "/var".to_owned(),
            kind: "ext4".to_owned(),
            source: "/dev/nvme0n1p3".to_owned(),
            is_read_only: false,
        }
    }

    fn usage(total: u64, free: u64, available: u64) -> Usage {
        Usage { total, free, available, inodes: 1000, inodes_free: 40 }
    }

    #[test]
    fn space_is_counted_as_df_does() {
        // A twentieth is kept for root.
        let readings = decide("space", &[(var(), Ok(usage(1000, 88, 38)))], space);
        let reading = &readings.readings()[0];
        assert_eq!((reading.key(), reading.value()), ("space:/var", Some(96.0)));
        assert_eq!(reading.summary(), "/var is 96 % full");
        assert_eq!(reading.evidence_of("used_bytes"), Some("912"));
        assert_eq!(reading.evidence_of("available_bytes"), Some("38"));
        let to_the_brim = decide("space", &[(var(), Ok(usage(1000, 50, 0)))], space);
        assert_eq!(to_the_brim.readings()[0].value(), Some(100.0));
    }

    #[test]
    fn inodes_are_counted_where_there_is_a_number_of_them() {
        let readings = decide("inodes", &[(var(), Ok(usage(1, 1, 1)))], inodes);
        assert_eq!(readings.readings()[0].key(), "inodes:/var");
        assert_eq!(readings.readings()[0].value(), Some(96.0));
        let without = Usage { inodes: 0, inodes_free: 0, ..usage(1, 1, 1) };
        assert!(decide("inodes", &[(var(), Ok(without))], inodes).readings().is_empty());
        assert!(decide("space", &[(var(), Ok(Usage::default()))], space).readings().is_empty());
    }

    #[test]
    fn numbers_that_cannot_be_do_not_panic() {
        let strange = Usage {
            total: 1,
            free: u64::MAX,
            available: u64::MAX,
            inodes: 1,
            inodes_free: u64::MAX,
        };
        assert_eq!(
            decide("space", &[(var(), Ok(strange))], space).readings()[0].value(),
            Some(0.0)
        );
        assert_eq!(
            decide("inodes", &[(var(), Ok(strange))], inodes).readings()[0].value(),
            Some(0.0)
        );
    }

    #[test]
    fn what_could_not_be_measured_is_said() {
        let closed = io::Error::from(io::ErrorKind::PermissionDenied);
        let broken = io::Error::from_raw_os_error(5);
        let readings = decide("space", &[(var(), Err(closed)), (var(), Err(broken))], space);
        let severities: Vec<_> = readings.readings().iter().map(|r| r.severity()).collect();
        assert_eq!(severities, [Some(Severity::Info), Some(Severity::Warning)]);
        assert_eq!(readings.readings()[0].key(), "unmeasured-space:/var");
    }

    #[test]
    fn a_real_file_system_is_measured_through_the_hosts_root() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        std::fs::create_dir(dir.path().join("var")).unwrap();
        let table = "1 0 8:1 / / ro - ext4 /dev/sda1 ro\n2 1 8:2 / /var rw - ext4 /dev/sda2 rw\n\
                     3 1 8:3 / /gone rw - ext4 /dev/sda3 rw\n";
        std::fs::write(dir.path().join("proc/self/mountinfo"), table).unwrap();
        let readings = decide("space", &measure(&Host::under(dir.path())).unwrap(), space);
        let keys: Vec<&str> = readings.readings().iter().map(|r| r.key()).collect();
        assert_eq!(keys, ["unmeasured-space:/gone", "space:/var"], "the root can only be read");
        let percent = readings.readings()[1].value().unwrap();
        assert!((0.0..=100.0).contains(&percent), "{percent}");
    }
}
