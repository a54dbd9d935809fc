//! Errors that a file system has written down about itself: ext4 counts them in its superblock, where
//! they stay over reboots until e2fsck(8) has repaired it (`/sys/fs/ext4/DEVICE/errors_count`,
//! Documentation/ABI/testing/sysfs-fs-ext4).

use agentd_kit::{Host, ReadError};

/// The errors of one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// `nvme0n1p3`.
    pub(crate) device: String,
    /// How many; never zero.
    pub(crate) count: u64,
}

/// The mounted ext4 file systems that have recorded errors.
pub(crate) fn ext4_errors(host: &Host) -> Result<Vec<Recorded>, ReadError> {
    const FOLDER: &str = "/sys/fs/ext4";
    let devices = match host.list(FOLDER) {
        Ok(devices) => devices,
        // No file system of this kind was ever mounted.
        Err(err) if err.is_absent() => Vec::new(),
        Err(err) => return Err(err),
    };
    let mut found = Vec::new();
    for device in devices {
        // Beside the devices lies `features`, which has no such file.
        let text = host.read_if_there(format!("{FOLDER}/{device}/errors_count"))?;
        let count = text.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        if count > 0 {
            found.push(Recorded { device, count });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_with_errors_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::under(dir.path());
        assert_eq!(ext4_errors(&host).unwrap(), []);
        for (device, count) in [("sda1", "0\n"), ("sda2", "3\n"), ("sda3", "rubbish")] {
            let folder = dir.path().join("sys/fs/ext4").join(device);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("errors_count"), count).unwrap();
        }
        std::fs::create_dir_all(dir.path().join("sys/fs/ext4/features")).unwrap();
        let found = ext4_errors(&host).unwrap();
        assert_eq!(found, [Recorded { device: "sda2".to_owned(), count: 3 }]);
    }
}
