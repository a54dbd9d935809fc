//! One line of the kernel's log that tells of a block device or a file system in trouble, as text.
//!
//! The kernel's messages are no interface and change with its version; what is looked for are the
//! words that have been stable for years, each with the place in the kernel that says them. A line
//! that is not known counts for nothing.

/// What a line tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// `sda1`, `nvme0`, `ata1.00`: as the kernel names it.
    pub(crate) device: String,
}

/// Longest name of a device that is believed.
const MAX_NAME: usize = 32;

/// What the line tells of, if it is one of those known.
pub(crate) fn trouble(line: &str) -> Option<Trouble> {
    let device = [block, buffer, file_system, journal, nvme, nvme_command, ata, scsi, mmc, verity]
        .iter()
        .find_map(|known| known(line))?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.:!/".contains(c);
    (!device.is_empty() && device.len() <= MAX_NAME && device.chars().all(is_name))
        .then(|| Trouble { device: device.to_owned() })
}

/// `I/O error, dev sda, sector 2048 op 0x0:(READ)`, `critical medium error, dev sda, sector …`
/// (block/blk-mq.c, blk_print_req_error).
fn block(line: &str) -> Option<&str> {
    let (what, rest) = line.split_once(", dev ")?;
    let (device, rest) = rest.split_once(',')?;
    (what.ends_with("error") && rest.trim_start().starts_with("sector")).then_some(device)
}

/// `Buffer I/O error on dev sda1, logical block 0, async page read` (fs/buffer.c, buffer_io_error).
fn buffer(line: &str) -> Option<&str> {
    let (device, _) = line.strip_prefix("Buffer I/O error on dev ")?.split_once(',')?;
    Some(device)
}

/// `EXT4-fs error (device sda1): …`, `EXT4-fs (sda1): Remounting filesystem read-only`,
/// `XFS (sda1): metadata I/O error in …`, `BTRFS error (device sda1 state EA): …`,
/// `F2FS-fs (sda1): …`, `FAT-fs (sda1): error, …`.
fn file_system(line: &str) -> Option<&str> {
    let (who, rest) = line.split_once('(')?;
    let (place, said) = rest.split_once(')')?;
    let device = place.strip_prefix("device ").unwrap_or(place).split(' ').next()?;
    let who = who.trim_end();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let is_trouble = match who {
        "EXT4-fs error" | "BTRFS error" | "BTRFS: error" | "BTRFS critical" => true,
        "EXT4-fs" => says(&["Remounting filesystem read-only", "I/O error", "failed to convert"]),
        "XFS" => says(&["I/O error", "orruption", "been shut down"]),
        "F2FS-fs" => says(&["error", "nconsisten", "orrupt"]),
        "FAT-fs" => said.starts_with(": error"),
        _other => false,
    };
    is_trouble.then_some(device)
}

/// `Aborting journal on device sda1-8.`, `JBD2: Detected IO errors … on sda1-8`
/// (fs/jbd2/journal.c): the number after the dash is the journal's inode.
fn journal(line: &str) -> Option<&str> {
    let name = match line.strip_prefix("Aborting journal on device ") {
        Some(rest) => rest.trim_end_matches('.'),
        None => line.strip_prefix("JBD2: Detected IO errors")?.rsplit_once(" on ")?.1,
    };
    Some(name.rsplit_once('-').map_or(name, |(device, _)| device))
}

/// `nvme nvme0: I/O 12 QID 3 timeout, aborting`, `nvme nvme0: controller is down; will reset`
/// (drivers/nvme/host/pci.c).
fn nvme(line: &str) -> Option<&str> {
    let (device, said) = line.strip_prefix("nvme ")?.split_once(": ")?;
    let is_timeout = said.starts_with("I/O ") && said.contains(" timeout");
    let starts = [
        "controller is down",
        "Device not ready",
        "Disabling device after reset failure",
        "Removing after probe failure",
        "failed to set APST feature",
        "Identify Controller failed",
    ];
    (is_timeout || starts.iter().any(|start| said.starts_with(start))).then_some(device)
}

/// `nvme0n1: I/O Cmd(0x2) @ LBA 0, 8 blocks, I/O Error (sct 0x2 / sc 0x81)`
/// (drivers/nvme/host/core.c, nvme_log_error).
fn nvme_command(line: &str) -> Option<&str> {
    let (device, said) = line.split_once(": ")?;
    (device.starts_with("nvme") && said.contains("I/O Error (sct")).then_some(device)
}

/// `ata1.00: failed command: READ FPDMA QUEUED` (drivers/ata/libata-eh.c).
fn ata(line: &str) -> Option<&str> {
    let (device, said) = line.split_once(": ")?;
    let is_ata =
        device.strip_prefix("ata").is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()));
    let says = ["failed command", "disable device", "hard resetting link failed"];
    (is_ata && says.iter().any(|word| said.starts_with(word))).then_some(device)
}

/// `sd 0:0:0:0: [sda] tag#1 FAILED Result: hostbyte=…`, `… Sense Key : Medium Error [current]`
/// (drivers/scsi/scsi_logging.c).
fn scsi(line: &str) -> Option<&str> {
    let (_, rest) = line.strip_prefix("sd ")?.split_once(": [")?;
    let (device, said) = rest.split_once("] ")?;
    let is_sense = ["Medium Error", "Hardware Error", "Aborted Command"]
        .iter()
        .any(|key| said.contains(&format!("Sense Key : {key}")));
    (is_sense || said.contains("FAILED Result:")).then_some(device)
}

/// `mmcblk0: error -110 sending status command`, `mmc0: Card stuck being busy!`
/// (drivers/mmc/core).
fn mmc(line: &str) -> Option<&str> {
    let (device, said) = line.split_once(": ")?;
    let says = ["error -", "timed out", "Card stuck", "recovery failed", "I/O error"];
    (device.starts_with("mmc") && says.iter().any(|word| said.contains(word))).then_some(device)
}

/// `device-mapper: verity: 259:2: data block 5 is corrupted` (drivers/md/dm-verity-target.c).
fn verity(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("device-mapper: verity: ")?;
    let (device, said) = rest.split_once(": ")?;
    said.ends_with("is corrupted").then_some(device)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_that_tell_of_trouble_name_their_device() {
        for (line, device) in [
            (
                "I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
                "sda",
            ),
            ("blk_update_request: I/O error, dev nvme0n1, sector 0 op 0x1:(WRITE)", "nvme0n1"),
            ("critical medium error, dev sdb, sector 12345 op 0x0:(READ)", "sdb"),
            ("Buffer I/O error on dev dm-0, logical block 0, async page read", "dm-0"),
            (
                "EXT4-fs error (device nvme0n1p3): ext4_lookup:1817: inode #2: comm ls: bad",
                "nvme0n1p3",
            ),
            (
                "EXT4-fs error (device sda1) in ext4_do_update_inode:5105: Journal has aborted",
                "sda1",
            ),
            ("EXT4-fs (sda1): Remounting filesystem read-only", "sda1"),
            ("XFS (sda1): metadata I/O error in \"xfs_imap\" at daddr 0x1 len 8 error 5", "sda1"),
            ("XFS (dm-1): Corruption of in-memory data (0x8) detected at x", "dm-1"),
            ("BTRFS error (device sda2 state EA): bdev /dev/sda2 errs: wr 1, rd 0", "sda2"),
            ("BTRFS: error (device sda2) in btrfs_commit_transaction:2001", "sda2"),
            ("Aborting journal on device sda1-8.", "sda1"),
            ("JBD2: Detected IO errors 5 while flushing file data on nvme0n1p3-8", "nvme0n1p3"),
            ("nvme nvme0: I/O 12 QID 3 timeout, aborting", "nvme0"),
            (
                "nvme nvme0: I/O tag 12 (100c) opcode 0x2 (I/O Cmd) QID 3 timeout, reset controller",
                "nvme0",
            ),
            ("nvme nvme0: controller is down; will reset: CSTS=0xffffffff", "nvme0"),
            (
                "nvme0n1: I/O Cmd(0x2) @ LBA 0, 8 blocks, I/O Error (sct 0x2 / sc 0x81) MORE",
                "nvme0n1",
            ),
            ("ata1.00: failed command: READ FPDMA QUEUED", "ata1.00"),
            (
                "sd 0:0:0:0: [sda] tag#1 FAILED Result: hostbyte=DID_BAD_TARGET driverbyte=DRIVER_OK",
                "sda",
            ),
            ("sd 0:0:0:0: [sda] tag#1 Sense Key : Medium Error [current] ", "sda"),
            ("mmcblk0: error -110 sending status command, retrying", "mmcblk0"),
            ("device-mapper: verity: 259:2: data block 5 is corrupted", "259:2"),
        ] {
            assert_eq!(trouble(line), Some(Trouble { device: device.to_owned() }), "{line}");
        }
    }

    #[test]
    fn what_a_healthy_machine_says_is_no_trouble() {
        for line in [
            "",
            "EXT4-fs (nvme0n1p3): mounted filesystem c2f74d1a-294b r/w with ordered data mode. Quota mode: none.",
            "EXT4-fs (sda1): error count since last fsck: 3",
            "nvme nvme0: 2/0/0 default/read/poll queues",
            "nvme nvme0: Ignoring bogus Namespace Identifiers",
            "nvme nvme0: pci function 0000:00:01.0",
            " nvme0n1: p1 p2 p3",
            "ata1: SATA max UDMA/133 abar m4096@0xfebc5000 port 0xfebc5100 irq 24",
            "ata1.00: ATA-7: QEMU HARDDISK, 2.5+, max UDMA/100",
            "sd 0:0:0:0: [sda] Write cache: enabled, read cache: enabled, doesn't support DPO or FUA",
            "FAT-fs (nvme0n1p1): Volume was not properly unmounted. Some data may be corrupt. Please run fsck.",
            "XFS (sda1): Ending clean mount",
            "mmc0: new high speed SDHC card at address 4567",
            "request done, dev sda, sector 5",
            "I/O error, dev sda, partition 5",
            "I/O error, dev , sector 5",
            "I/O error, dev \u{1b}[1m, sector 5",
        ] {
            assert_eq!(trouble(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_known_or_not_and_never_a_panic(
            start in prop::sample::select(vec![
                "", "sd ", "nvme ", "Buffer I/O error on dev ", "Aborting journal on device ", "ata",
                "device-mapper: verity: ", "JBD2: Detected IO errors",
            ]),
            rest in r"([a-z0-9]|: |, |\(|\)|\[|\]|-| on |error|, dev |sector|é){0,30}",
        ) {
            if let Some(Trouble { device }) = trouble(&format!("{start}{rest}")) {
                prop_assert!(!device.is_empty() && device.len() <= MAX_NAME);
            }
        }
    }
}
