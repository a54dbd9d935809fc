//! Lets the data partition, the last on the disk, take up whatever room a larger disk has.
//!
//! Two steps, because the table is changed while nothing on the disk is mounted and the file system
//! while it is. A power cut between any two writes leaves a disk that starts: the copy of the table
//! at the end is written before the one at the beginning, the kernel falls back from a broken one
//! to the other, and the file system is compared with its partition at each boot.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::block::Partition;
use crate::error::GrowError;
use crate::gpt::{self, Enlarged};
use crate::sys;

/// sysfs counts in these, whatever the disk's own sectors are (kernel, Documentation/ABI/stable/
/// sysfs-block, `size`).
const SYSFS_SECTOR: u64 = 512;

/// The file system's block, as mke2fs chooses for anything over 512 MiB and as we ask for.
const BLOCK: u64 = 4096;

/// How long the data partition is now, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartitionBytes(u64);

/// Enlarges the partition if there is room for it behind. Nothing on its disk may be mounted.
pub(crate) fn partition(data: &Partition) -> Result<PartitionBytes, GrowError> {
    let class = Path::new("/sys/class/block").join(&data.name);
    let in_sysfs = fs::canonicalize(&class).map_err(failed("resolve", &class))?;
    let before = PartitionBytes(number(&in_sysfs.join("size"))? * SYSFS_SECTOR);
    // A partition's directory lies in its disk's.
    let (Some(disk_dir), Ok(index)) = (in_sysfs.parent(), number(&in_sysfs.join("partition")))
    else {
        return Ok(before);
    };
    let Some(name) = disk_dir.file_name().map(|n| n.to_string_lossy().into_owned()) else {
        return Ok(before);
    };
    let disk_bytes = number(&disk_dir.join("size"))? * SYSFS_SECTOR;
    let start = number(&in_sysfs.join("start"))? * SYSFS_SECTOR;
    // Less than 2 MiB behind it: the table's copy and the alignment. Every boot but one ends here.
    if disk_bytes.saturating_sub(start + before.0) < 2 << 20 {
        return Ok(before);
    }
    let sector = number(&disk_dir.join("queue/logical_block_size"))?;
    let after = rewrite(&name, index, disk_bytes, sector)?;
    Ok(after.unwrap_or(before))
}

/// Enlarges the file system mounted at `mounted` to its partition. The kernel does it while it is
/// in use, and does nothing if it fits already.
pub(crate) fn file_system(size: PartitionBytes, mounted: &Path) -> Result<(), GrowError> {
    let stat = nix::sys::statfs::statfs(mounted).map_err(|errno| GrowError::File {
        verb: "look at",
        path: mounted.to_owned(),
        source: errno.into(),
    })?;
    // f_blocks leaves out the file system's own tables, which are a few per cent at most: a
    // difference worth acting on is larger than that.
    let in_use = stat.blocks() * BLOCK;
    if size.0 < in_use + in_use / 8 {
        return Ok(());
    }
    let dir = File::open(mounted).map_err(failed("open", mounted))?;
    sys::resize_ext4(&dir, size.0 / BLOCK).map_err(|source| GrowError::Ioctl {
        verb: "enlarge the file system on",
        target: mounted.display().to_string(),
        source,
    })
}

/// Writes the new table and tells the kernel. `None` if there was nothing to do.
fn rewrite(
    disk: &str,
    index: u64,
    disk_bytes: u64,
    sector: u64,
) -> Result<Option<PartitionBytes>, GrowError> {
    let path = Path::new("/dev").join(disk);
    let io = |verb| failed(verb, &path);
    let refused = |source| GrowError::Table { disk: disk.to_owned(), source };
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(io("open"))?;
    let (Ok(sector_bytes), Ok(index)) = (usize::try_from(sector), usize::try_from(index)) else {
        return Ok(None);
    };
    let mut header = vec![0; sector_bytes];
    file.read_exact_at(&mut header, sector).map_err(io("read"))?;
    let described = gpt::table_of(&header).map_err(refused)?;
    let mut table = vec![0; described.bytes];
    file.read_exact_at(&mut table, described.lba.saturating_mul(sector)).map_err(io("read"))?;
    let disk_sectors = disk_bytes / sector.max(1);
    let new = gpt::enlarge(&header, &table, index, disk_sectors, sector_bytes).map_err(refused)?;
    let Some(new) = new else {
        return Ok(None);
    };
    write_table(&file, &new, described.lba, sector).map_err(io("write"))?;
    let bytes = PartitionBytes(new.sectors * sector);
    sys::resize_partition(&file, index, new.first * sector, bytes.0).map_err(|source| {
        GrowError::Ioctl {
            verb: "enlarge a partition of",
            target: path.display().to_string(),
            source,
        }
    })?;
    Ok(Some(bytes))
}

fn write_table(file: &File, new: &Enlarged, table_lba: u64, sector: u64) -> io::Result<()> {
    file.write_all_at(&new.table, new.backup_table_lba * sector)?;
    file.write_all_at(&new.backup, new.backup_lba * sector)?;
    file.sync_all()?;
    file.write_all_at(&new.table, table_lba * sector)?;
    file.write_all_at(&new.primary, sector)?;
    file.sync_all()
}

fn number(path: &Path) -> Result<u64, GrowError> {
    let text = fs::read_to_string(path).map_err(failed("read", path))?;
    text.trim()
        .parse()
        .map_err(|_| GrowError::Number { path: path.to_owned(), found: text.trim().to_owned() })
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GrowError {
    let path: PathBuf = path.to_owned();
    move |source| GrowError::File { verb, path, source }
}
