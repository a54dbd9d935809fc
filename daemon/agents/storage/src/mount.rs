//! What is mounted, as text: `/proc/self/mountinfo` (proc_pid_mountinfo(5)), and which of it are real
//! file systems.
//!
//! The agent reads the mounts of its own namespace, where the whole tree is bound once more and made
//! read-only mount by mount. So a mount's own options say nothing here; those of the file system
//! itself (the "super options") are the same in every namespace, and only they are read.

use std::collections::BTreeMap;

/// Device numbers of a file system.
pub(crate) type Device = (u32, u32);

/// One line of the table, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    device: Device,
    /// Which directory of the file system is mounted.
    root: String,
    point: String,
    kind: String,
    source: String,
    is_read_only: bool,
}

/// A real file system, at the place where it is best known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSystem {
    pub(crate) device: Device,
    /// The mount point that shows all of it, or the shortest.
    pub(crate) point: String,
    /// `ext4`.
    pub(crate) kind: String,
    /// `/dev/nvme0n1p3`.
    pub(crate) source: String,
    /// The file system itself can be read only.
    pub(crate) is_read_only: bool,
}

/// A line is not what proc_pid_mountinfo(5) says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number} of the mount table is not understood: {line:?}")]
pub(crate) struct MountError {
    number: usize,
    line: String,
}

/// The real file systems of a mount table, each once, by mount point.
///
/// Real is what lies on a block device, and btrfs, ZFS and UBIFS, which hide theirs. What can never be
/// written (squashfs, EROFS, ISO 9660) is left out: it is always full. So is what lies in memory or on
/// another machine.
pub(crate) fn file_systems(mountinfo: &str) -> Result<Vec<FileSystem>, MountError> {
    // Of several mounts on one point only the last can be seen.
    let mut visible: BTreeMap<String, Mount> = BTreeMap::new();
    for (at, line) in mountinfo.lines().enumerate() {
        let mount = mount(line)
            .ok_or_else(|| MountError { number: at + 1, line: line.chars().take(160).collect() })?;
        visible.insert(mount.point.clone(), mount);
    }
    let mut best: BTreeMap<Device, Mount> = BTreeMap::new();
    for mount in visible.into_values().filter(is_real) {
        let rank = |m: &Mount| (m.root != "/", m.point.len(), m.point.clone());
        match best.get(&mount.device) {
            Some(other) if rank(other) <= rank(&mount) => {}
            _ => drop(best.insert(mount.device, mount)),
        }
    }
    let mut found: Vec<FileSystem> = best
        .into_values()
        .map(|m| FileSystem {
            device: m.device,
            point: m.point,
            kind: m.kind,
            source: m.source,
            is_read_only: m.is_read_only,
        })
        .collect();
    found.sort_by(|a, b| a.point.cmp(&b.point));
    Ok(found)
}

fn is_real(mount: &Mount) -> bool {
    let never_written = ["squashfs", "erofs", "iso9660", "cramfs", "romfs"];
    let hides_its_device = ["btrfs", "zfs", "ubifs", "bcachefs"];
    // Major 0 is for what has no device (Documentation/admin-guide/devices.txt).
    (mount.device.0 != 0 || hides_its_device.contains(&mount.kind.as_str()))
        && !never_written.contains(&mount.kind.as_str())
}

/// `29 28 259:3 / /var rw,nosuid shared:2 - ext4 /dev/nvme0n1p3 rw`
fn mount(line: &str) -> Option<Mount> {
    let mut fields = line.split(' ');
    let (_id, _parent) = (fields.next()?, fields.next()?);
    let (major, minor) = fields.next()?.split_once(':')?;
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    // The mount's own options, then any number of tags up to a lone dash.
    fields.by_ref().find(|field| *field == "-")?;
    let kind = unescape(fields.next()?);
    let source = unescape(fields.next()?);
    let is_read_only = fields.next()?.split(',').any(|option| option == "ro");
    Some(Mount {
        device: (major.parse().ok()?, minor.parse().ok()?),
        root,
        point,
        kind,
        source,
        is_read_only,
    })
}

/// Blanks, tabs, line ends and backslashes are written as `\040` and so on (the same page, and
/// fs/proc_namespace.c, mangle).
pub(crate) fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        match (byte, octal(after)) {
            (b'\\', Some(value)) => {
                bytes.push(value);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The value of three octal digits at the start.
fn octal(bytes: &[u8]) -> Option<u8> {
    let digits = bytes.get(..3)?;
    digits.iter().try_fold(0_u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From an appliance, shortened.
    const APPLIANCE: &str = "\
24 28 0:22 / /proc rw,nosuid,nodev,noexec,relatime shared:5 - proc proc rw
27 28 0:24 / /run rw,nosuid,nodev,relatime shared:14 - tmpfs tmpfs rw,size=197972k,mode=755
28 1 259:2 / / ro,noatime shared:1 - ext4 /dev/nvme0n1p2 ro,norecovery
29 28 259:3 / /var rw,nosuid,nodev,noatime shared:2 - ext4 /dev/nvme0n1p3 rw
30 28 259:3 /lib/agentos-image/machine-id /etc/machine-id ro,noatime shared:3 - ext4 /dev/nvme0n1p3 rw
31 28 259:3 /lib/agentos-image/etc /etc/agentos rw,noatime shared:4 - ext4 /dev/nvme0n1p3 rw
44 28 0:33 / /tmp rw,nosuid,nodev - tmpfs tmpfs rw,size=494928k,inode64
";

    fn points(mountinfo: &str) -> Vec<(String, bool)> {
        let found = file_systems(mountinfo).unwrap();
        found.into_iter().map(|fs| (fs.point, fs.is_read_only)).collect()
    }

    fn one(point: &str, is_read_only: bool) -> (String, bool) {
        (point.to_owned(), is_read_only)
    }

    #[test]
    fn each_real_file_system_is_found_once_where_all_of_it_shows() {
        assert_eq!(points(APPLIANCE), [one("/", true), one("/var", false)]);
        let var = &file_systems(APPLIANCE).unwrap()[1];
        assert_eq!((var.kind.as_str(), var.source.as_str()), ("ext4", "/dev/nvme0n1p3"));
        assert_eq!(var.device, (259, 3));
    }

    #[test]
    fn the_file_systems_own_options_count_and_not_the_mounts() {
        let in_a_cell =
            "29 28 259:3 / /var ro,nosuid master:2 - ext4 /dev/nvme0n1p3 rw,errors=remount-ro\n";
        assert_eq!(points(in_a_cell), [one("/var", false)]);
    }

    #[test]
    fn what_has_no_device_is_real_only_where_it_hides_one() {
        let table = "\
1 0 0:40 / /data rw - btrfs /dev/sda1 rw,space_cache=v2
2 0 0:41 / /net rw - nfs4 server:/x rw
3 0 0:42 / /merged rw - overlay overlay rw
4 0 7:1 / /snap ro - squashfs /dev/loop1 ro
5 0 11:0 / /cd ro - iso9660 /dev/sr0 ro
";
        assert_eq!(points(table), [one("/data", false)]);
    }

    #[test]
    fn a_mount_that_another_one_hides_does_not_count() {
        let table = "1 0 8:1 / /mnt rw - ext4 /dev/sda1 rw\n2 1 8:2 / /mnt rw - xfs /dev/sda2 rw\n";
        let found = file_systems(table).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].kind, "xfs");
    }

    #[test]
    fn blanks_in_names_are_written_out() {
        let table = r"1 0 8:1 / /mnt/my\040disk\134x rw shared:1 master:2 - ext4 /dev/sda1 rw";
        assert_eq!(points(table), [one(r"/mnt/my disk\x", false)]);
        assert_eq!(unescape(r"a\9\04\777"), r"a\9\04\777");
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error_with_its_number() {
        let err = file_systems(&format!("{APPLIANCE}31 28 259:3 / /x rw")).unwrap_err();
        assert!(err.to_string().starts_with("line 8 "), "{err}");
    }

    #[test]
    fn this_machines_own_table_is_understood() {
        file_systems(&std::fs::read_to_string("/proc/self/mountinfo").unwrap()).unwrap();
    }

    proptest! {
        #[test]
        fn any_text_is_a_table_or_an_error_and_never_a_panic(
            text in r"([0-9]{1,3}|:|/|\\[0-9]{0,3}| - | |é|ro|,|\n){0,80}",
        ) {
            let _either = file_systems(&text);
            unescape(&text);
        }
    }
}
