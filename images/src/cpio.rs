//! The archive that the kernel unpacks as its first file system: "newc" cpio, uncompressed, because
//! reading a megabyte more takes less time than unpacking it would.
//!
//! Format: kernel, Documentation/driver-api/early-userspace/buffer-format.rst.

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const CONSOLE: u32 = 0o020_600;

/// An initrd that holds `init` and the one device node that the kernel opens for it.
pub(crate) fn initrd(init: &[u8]) -> Vec<u8> {
    let mut archive = Vec::with_capacity(init.len() + 1024);
    entry(&mut archive, 1, "dev", DIRECTORY, (0, 0), &[]);
    // Without it, /init has no stdout or stderr and its complaints are lost.
    entry(&mut archive, 2, "dev/console", CONSOLE, (5, 1), &[]);
    entry(&mut archive, 3, "init", EXECUTABLE, (0, 0), init);
    entry(&mut archive, 0, "TRAILER!!!", 0, (0, 0), &[]);
    archive
}

fn entry(
    archive: &mut Vec<u8>,
    inode: u32,
    name: &str,
    mode: u32,
    (major, minor): (u32, u32),
    content: &[u8],
) {
    let size = u32::try_from(content.len()).expect("an initrd program is far below 4 GiB");
    let name_size = u32::try_from(name.len() + 1).expect("names here are literals");
    archive.extend_from_slice(b"070701");
    // inode, mode, uid, gid, links, mtime, size, device, rdev, name size, checksum
    for field in [inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0] {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(content);
    pad(archive);
}

/// Headers and contents begin at multiples of four.
fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_laid_out_as_the_kernel_reads_it() {
        let archive = initrd(b"hello");
        assert_eq!(archive.len() % 4, 0);
        let text = String::from_utf8_lossy(&archive);
        assert!(text.starts_with("0707010000000100"), "{text}");
        let init = text.find("init\0").unwrap();
        // The content follows the name, at the next multiple of four.
        let content = (init + "init\0".len()).next_multiple_of(4);
        assert_eq!(&archive[content..content + 5], b"hello");
        assert!(text.contains("TRAILER!!!\0"));
    }
}
