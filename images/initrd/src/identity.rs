//! What makes this machine this one: its machine-id and its own configuration, both kept on the
//! data partition and shown by the read-only root at the paths where programs look for them.
//!
//! machine-id(5): 32 lower-case hexadecimal digits and a newline, never all zero. It is made once,
//! at the first boot, and written so that a power cut leaves either none or a whole one.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use crate::error::BootError;

/// On the data partition, out of the way of agentd's own state.
const STATE: &str = "var/lib/agentos-image";

/// Shows the machine's id and its /etc/agentos in the root under `sysroot`.
pub(crate) fn install(sysroot: &Path) -> Result<(), BootError> {
    let state = sysroot.join(STATE);
    let site = state.join("etc");
    fs::create_dir_all(&site).map_err(failed("create", &site))?;
    let id = state.join("machine-id");
    if !is_machine_id(&fs::read(&id).unwrap_or_default()) {
        write_whole(&id, &new_machine_id()?)?;
    }
    bind(&id, &sysroot.join("etc/machine-id"), true)?;
    bind(&site, &sysroot.join("etc/agentos"), false)
}

fn is_machine_id(text: &[u8]) -> bool {
    let Some(digits) = text.strip_suffix(b"\n") else {
        return false;
    };
    digits.len() == 32
        && digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && digits.iter().any(|b| *b != b'0')
}

/// A random id with the version bits of a UUID, as machine-id(5) recommends.
fn new_machine_id() -> Result<Vec<u8>, BootError> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0_u8; 16];
    File::open(source)
        .and_then(|mut f| f.read_exact(&mut bytes))
        .map_err(failed("read", source))?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut text: Vec<u8> = bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 0x0f)]).collect();
    text.push(b'\n');
    Ok(text)
}

fn digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 0x0f)]
}

/// Beside it first, then in its place.
fn write_whole(path: &Path, content: &[u8]) -> Result<(), BootError> {
    let beside = path.with_extension("new");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o444)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .map_err(failed("write", &beside))?;
    fs::rename(&beside, path).map_err(failed("put in place", path))
}

fn bind(from: &Path, to: &Path, read_only: bool) -> Result<(), BootError> {
    let bound = |flags| {
        mount(Some(from), to, None::<&str>, flags, None::<&str>).map_err(|source| {
            BootError::Mount { what: from.display().to_string(), target: to.to_owned(), source }
        })
    };
    bound(MsFlags::MS_BIND)?;
    if read_only {
        // mount(2): a bind mount takes new flags only by a second call, which states all of them.
        bound(
            MsFlags::MS_BIND
                | MsFlags::MS_REMOUNT
                | MsFlags::MS_RDONLY
                | MsFlags::MS_NOSUID
                | MsFlags::MS_NODEV
                | MsFlags::MS_NOEXEC,
        )?;
    }
    Ok(())
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BootError {
    let path = path.to_owned();
    move |source| BootError::File { verb, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_machine_id_is_one() {
        let id = new_machine_id().unwrap();
        assert!(is_machine_id(&id), "{id:?}");
        assert_ne!(id, new_machine_id().unwrap());
    }

    #[test]
    fn half_an_id_is_none() {
        assert!(!is_machine_id(b""));
        assert!(!is_machine_id(b"0123456789abcdef\n"));
        assert!(!is_machine_id(&[b'a'; 32]));
        assert!(!is_machine_id(b"uninitialized\n"));
        assert!(!is_machine_id(b"00000000000000000000000000000000\n"));
        assert!(!is_machine_id(b"0123456789ABCDEF0123456789ABCDEF\n"));
    }
}
