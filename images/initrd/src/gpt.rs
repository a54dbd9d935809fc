//! Enlarging the last partition of a GPT, as a pure function on bytes.
//!
//! Layout and rules: UEFI specification 2.10, section 5.3. What must hold: a table whose checksums
//! do not match is never rewritten, and no partition but the one asked for changes.

/// Partitions end where these blocks of 1 MiB do, as every partitioning tool has it.
const ALIGNMENT_BYTES: u64 = 1 << 20;

const SIGNATURE: &[u8; 8] = b"EFI PART";
const HEADER_BYTES: usize = 92;
/// Larger than any table in use (128 entries of 128 bytes), small enough to read at once.
const MAX_TABLE_BYTES: usize = 1 << 20;

// Offsets in the header.
const HEADER_SIZE: usize = 12;
const HEADER_CRC: usize = 16;
const MY_LBA: usize = 24;
const ALTERNATE_LBA: usize = 32;
const LAST_USABLE: usize = 48;
const TABLE_LBA: usize = 72;
const ENTRY_COUNT: usize = 80;
const ENTRY_SIZE: usize = 84;
const TABLE_CRC: usize = 88;
// Offsets in an entry.
const FIRST_LBA: usize = 32;
const LAST_LBA: usize = 40;

/// Why a partition table is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GptError {
    /// Not a GPT header.
    #[error("there is no partition table of the GPT kind")]
    Signature,
    /// The header's own checksum is wrong.
    #[error("the checksum of its header is wrong")]
    HeaderChecksum,
    /// The table's checksum is wrong.
    #[error("the checksum of its entries is wrong")]
    TableChecksum,
    /// Sizes that no tool writes.
    #[error("its entries have a size that is not supported")]
    Geometry,
    /// The partition has no entry.
    #[error("it has no partition {0}")]
    NoPartition(usize),
    /// Another partition lies behind it.
    #[error("partition {0} is not the last on the disk")]
    NotLast(usize),
}

/// Where a header says that its table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Table {
    /// First sector of the table.
    pub(crate) lba: u64,
    /// Its length.
    pub(crate) bytes: usize,
    entry: usize,
}

/// What to write, and where; the copy at the end of the disk goes first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Enlarged {
    /// The header in sector 1, a whole sector.
    pub(crate) primary: Vec<u8>,
    /// The header in the disk's last sector.
    pub(crate) backup: Vec<u8>,
    /// Where that is.
    pub(crate) backup_lba: u64,
    /// The entries, for both copies.
    pub(crate) table: Vec<u8>,
    /// Where the second copy of the entries begins.
    pub(crate) backup_table_lba: u64,
    /// The partition's first sector.
    pub(crate) first: u64,
    /// The partition's new length in sectors.
    pub(crate) sectors: u64,
}

/// Reads a header sector, so that the caller can read the table that it describes.
pub(crate) fn table_of(header: &[u8]) -> Result<Table, GptError> {
    if header.len() < HEADER_BYTES || &header[..SIGNATURE.len()] != SIGNATURE {
        return Err(GptError::Signature);
    }
    let size = size32(header, HEADER_SIZE)?;
    if size < HEADER_BYTES || size > header.len() {
        return Err(GptError::Geometry);
    }
    if header_crc(header, size) != u32_at(header, HEADER_CRC) {
        return Err(GptError::HeaderChecksum);
    }
    let entry = size32(header, ENTRY_SIZE)?;
    let bytes = entry.checked_mul(size32(header, ENTRY_COUNT)?).ok_or(GptError::Geometry)?;
    if entry < 128 || bytes > MAX_TABLE_BYTES {
        return Err(GptError::Geometry);
    }
    Ok(Table { lba: u64_at(header, TABLE_LBA), bytes, entry })
}

/// The table with partition `number` (from 1) reaching to the end of a disk of `disk` sectors, or
/// nothing if it does already.
pub(crate) fn enlarge(
    header: &[u8],
    table: &[u8],
    number: usize,
    disk: u64,
    sector_bytes: usize,
) -> Result<Option<Enlarged>, GptError> {
    let described = table_of(header)?;
    if table.len() != described.bytes || sector_bytes == 0 {
        return Err(GptError::Geometry);
    }
    if crc32(table) != u32_at(header, TABLE_CRC) {
        return Err(GptError::TableChecksum);
    }
    let at = number
        .checked_sub(1)
        .and_then(|index| index.checked_mul(described.entry))
        .filter(|at| at + described.entry <= table.len() && table[*at..*at + 16] != [0; 16])
        .ok_or(GptError::NoPartition(number))?;
    let first = u64_at(table, at + FIRST_LBA);
    let last = u64_at(table, at + LAST_LBA);
    let behind = table
        .chunks_exact(described.entry)
        .any(|e| e[..16] != [0; 16] && u64_at(e, FIRST_LBA) > last);
    if behind {
        return Err(GptError::NotLast(number));
    }

    let table_sectors = to_u64(described.bytes.div_ceil(sector_bytes));
    let alignment = (ALIGNMENT_BYTES / to_u64(sector_bytes)).max(1);
    let Some(backup_table_lba) = disk.checked_sub(1 + table_sectors) else {
        return Err(GptError::Geometry);
    };
    let end = backup_table_lba / alignment * alignment;
    if end <= last + 1 || end <= first {
        return Ok(None);
    }

    let mut table = table.to_vec();
    put64(&mut table, at + LAST_LBA, end - 1);
    let mut primary = header.to_vec();
    put64(&mut primary, ALTERNATE_LBA, disk - 1);
    put64(&mut primary, LAST_USABLE, backup_table_lba - 1);
    put32(&mut primary, TABLE_CRC, crc32(&table));
    let mut backup = primary.clone();
    put64(&mut backup, MY_LBA, disk - 1);
    put64(&mut backup, ALTERNATE_LBA, 1);
    put64(&mut backup, TABLE_LBA, backup_table_lba);
    seal(&mut primary)?;
    seal(&mut backup)?;
    Ok(Some(Enlarged {
        primary,
        backup,
        backup_lba: disk - 1,
        table,
        backup_table_lba,
        first,
        sectors: end - first,
    }))
}

/// Puts the header's checksum in, over the header with that field zero.
fn seal(header: &mut [u8]) -> Result<(), GptError> {
    let size = size32(header, HEADER_SIZE)?;
    let crc = header_crc(header, size);
    put32(header, HEADER_CRC, crc);
    Ok(())
}

fn header_crc(header: &[u8], size: usize) -> u32 {
    let mut covered = header[..size].to_vec();
    put32(&mut covered, HEADER_CRC, 0);
    crc32(&covered)
}

/// CRC-32 as in IEEE 802.3, a bit at a time: 16 KiB are checksummed three times in a machine's
/// whole life.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc = (crc >> 1) ^ (0xedb8_8320 * low);
        }
    }
    !crc
}

fn to_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn size32(bytes: &[u8], at: usize) -> Result<usize, GptError> {
    usize::try_from(u32_at(bytes, at)).map_err(|_| GptError::Geometry)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTOR: usize = 512;
    const ENTRIES: usize = 128;

    /// A table with partitions at the given (first, last), and its header.
    fn disk(partitions: &[(u64, u64)]) -> (Vec<u8>, Vec<u8>) {
        let mut table = vec![0; ENTRIES * 128];
        for (index, (first, last)) in partitions.iter().enumerate() {
            table[index * 128] = 1;
            put64(&mut table, index * 128 + FIRST_LBA, *first);
            put64(&mut table, index * 128 + LAST_LBA, *last);
        }
        let mut header = vec![0; SECTOR];
        header[..8].copy_from_slice(SIGNATURE);
        put32(&mut header, HEADER_SIZE, 92);
        put64(&mut header, MY_LBA, 1);
        put64(&mut header, TABLE_LBA, 2);
        put32(&mut header, ENTRY_COUNT, 128);
        put32(&mut header, ENTRY_SIZE, 128);
        put32(&mut header, TABLE_CRC, crc32(&table));
        seal(&mut header).unwrap();
        (header, table)
    }

    #[test]
    fn crc32_is_the_one_of_ieee_802_3() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_last_partition_reaches_the_end_of_a_larger_disk() {
        let (header, table) = disk(&[(2048, 4095), (4096, 8191)]);
        let new = enlarge(&header, &table, 2, 100_000, SECTOR).unwrap().unwrap();
        assert_eq!(new.first, 4096);
        // 100 000 sectors, less the copy's 33, down to a multiple of 2048.
        assert_eq!(new.first + new.sectors, 98_304);
        assert_eq!(new.backup_lba, 99_999);
        assert_eq!(new.backup_table_lba, 99_967);
        assert_eq!(table_of(&new.primary).unwrap().lba, 2);
        assert_eq!(table_of(&new.backup).unwrap().lba, 99_967);
        assert_eq!(new.table[..128], table[..128], "partition 1 is as it was");
    }

    #[test]
    fn a_second_time_changes_nothing() {
        let (header, table) = disk(&[(2048, 4095), (4096, 8191)]);
        let new = enlarge(&header, &table, 2, 100_000, SECTOR).unwrap().unwrap();
        let again = enlarge(&new.primary, &new.table, 2, 100_000, SECTOR);
        assert_eq!(again, Ok(None));
    }

    #[test]
    fn a_partition_with_another_behind_it_stays() {
        let (header, table) = disk(&[(2048, 4095), (4096, 8191)]);
        let refused = enlarge(&header, &table, 1, 100_000, SECTOR);
        assert_eq!(refused, Err(GptError::NotLast(1)));
    }

    #[test]
    fn one_wrong_bit_anywhere_is_seen() {
        let (header, table) = disk(&[(2048, 4095)]);
        for at in 8..92 {
            let mut bad = header.clone();
            bad[at] ^= 1;
            assert!(enlarge(&bad, &table, 1, 100_000, SECTOR).is_err(), "{at}");
        }
        let mut bad = table.clone();
        bad[5000] ^= 1;
        let refused = enlarge(&header, &bad, 1, 100_000, SECTOR);
        assert_eq!(refused, Err(GptError::TableChecksum));
    }

    #[test]
    fn a_disk_without_a_table_is_said_to_have_none() {
        assert_eq!(table_of(&[0; 512]), Err(GptError::Signature));
        assert_eq!(table_of(&[]), Err(GptError::Signature));
    }
}
