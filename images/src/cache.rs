//! What is kept between builds, outside the checkout: one folder per thing, named after a hash of
//! everything that it was made from.
//!
//! What must hold: a folder under its final name is whole (it is made beside and renamed), and two
//! builds never make the same thing at once (one lock for all building).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use crate::interrupt;

/// Something about the cache folder went wrong.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Neither XDG_CACHE_HOME nor HOME is set.
    #[error("cannot tell where caches live: neither XDG_CACHE_HOME nor HOME is set")]
    NoHome,
    /// Somebody pressed Ctrl-C while another build was waited for.
    #[error("interrupted while waiting for another build")]
    Interrupted,
    /// A file or folder.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was attempted.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// The cache folder of this user.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// Held while something is built.
#[derive(Debug)]
pub(crate) struct Building {
    _lock: Flock<File>,
}

/// Held while something in the cache is used, so that it is not cleared away.
#[derive(Debug)]
pub(crate) struct InUse {
    _lock: Flock<File>,
}

impl Cache {
    /// `$XDG_CACHE_HOME/agentos`, or `~/.cache/agentos`.
    pub fn open() -> Result<Self, CacheError> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let base = absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .ok_or(CacheError::NoHome)?;
        Self::at(&base.join("agentos"))
    }

    /// A cache in the given folder.
    pub(crate) fn at(root: &Path) -> Result<Self, CacheError> {
        create_dir(root)?;
        Ok(Self { root: root.to_owned() })
    }

    /// A folder of the cache, made if it is not there.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, CacheError> {
        let path = self.root.join(name);
        create_dir(&path)?;
        Ok(path)
    }

    /// Waits for any other build to end. Calls `waiting` first if there is one.
    pub(crate) fn lock(&self, waiting: impl FnOnce()) -> Result<Building, CacheError> {
        let path = self.root.join("build.lock");
        let mut waiting = Some(waiting);
        let mut file = lock_file(&path)?;
        // Not a blocking lock: nothing but the other build's end could break that off.
        let lock = loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => break lock,
                Err((again, Errno::EWOULDBLOCK)) => file = again,
                Err((_, errno)) => return Err(io_error("lock", &path)(errno.into())),
            }
            if let Some(tell) = waiting.take() {
                tell();
            }
            if interrupt::pause(Duration::from_millis(200)) {
                return Err(CacheError::Interrupted);
            }
        };
        Ok(Building { _lock: lock })
    }

    /// A temporary folder in the cache, for making something that is renamed into place: same file
    /// system, gone by itself if the build fails.
    pub(crate) fn scratch(&self) -> Result<tempfile::TempDir, CacheError> {
        let parent = self.folder("tmp")?;
        tempfile::Builder::new()
            .prefix("build-")
            .tempdir_in(&parent)
            .map_err(io_error("create a folder in", &parent))
    }

    /// Removes what builds that were killed have left. Only while building is locked.
    pub(crate) fn clear_scratch(&self, _proof: &Building) -> Result<(), CacheError> {
        let path = self.folder("tmp")?;
        for entry in fs::read_dir(&path).map_err(io_error("list", &path))?.flatten() {
            let stale = entry.path();
            fs::remove_dir_all(&stale).map_err(io_error("remove", &stale))?;
        }
        Ok(())
    }

    /// Keeps the `keep` folders of `kind` used last and removes the others that nobody uses.
    pub(crate) fn prune(&self, kind: &str, keep: usize) -> Result<(), CacheError> {
        let parent = self.folder(kind)?;
        let mut folders: Vec<_> = fs::read_dir(&parent)
            .map_err(io_error("list", &parent))?
            .flatten()
            .filter_map(|entry| {
                let used = fs::metadata(entry.path().join(USED)).ok()?.modified().ok()?;
                Some((used, entry.path()))
            })
            .collect();
        folders.sort();
        let surplus = folders.len().saturating_sub(keep);
        for (_, folder) in &folders[..surplus] {
            let file = lock_file(&folder.join(USED))?;
            if let Ok(_alone) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                fs::remove_dir_all(folder).map_err(io_error("remove", folder))?;
            }
        }
        Ok(())
    }
}

/// A file in each prunable folder: locked while it is used, and its time says when it last was.
const USED: &str = ".used";

/// Marks a folder as used now, for as long as the answer lives.
pub(crate) fn hold(folder: &Path) -> Result<InUse, CacheError> {
    let path = folder.join(USED);
    fs::write(&path, b"").map_err(io_error("write", &path))?;
    let file = lock_file(&path)?;
    let lock = Flock::lock(file, FlockArg::LockShared)
        .map_err(|(_, errno)| io_error("lock", &path)(errno.into()))?;
    Ok(InUse { _lock: lock })
}

/// Puts a finished folder or file in its place.
pub(crate) fn put_in_place(made: &Path, place: &Path) -> Result<(), CacheError> {
    if place.is_dir() {
        fs::remove_dir_all(place).map_err(io_error("remove", place))?;
    }
    fs::rename(made, place).map_err(io_error("put in place", place))
}

pub(crate) fn create_dir(path: &Path) -> Result<(), CacheError> {
    fs::create_dir_all(path).map_err(io_error("create", path))
}

pub(crate) fn io_error<'a>(
    verb: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> CacheError + 'a {
    move |source| CacheError::Io { verb, path: path.to_owned(), source }
}

fn lock_file(path: &Path) -> Result<File, CacheError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(io_error("open", path))
}

/// A name for something made from several inputs: the same inputs give the same name on any
/// machine, and each input stands apart from its neighbours.
#[derive(Debug, Default)]
pub(crate) struct Key(Sha256);

impl Key {
    /// Adds an input.
    pub(crate) fn add(mut self, name: &str, content: &[u8]) -> Self {
        for part in [name.as_bytes(), content] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// Adds a file, or all files in a folder with their names, modes and link targets.
    pub(crate) fn add_path(self, name: &str, path: &Path) -> Result<Self, CacheError> {
        let meta = fs::symlink_metadata(path).map_err(io_error("read", path))?;
        if meta.is_symlink() {
            let target = fs::read_link(path).map_err(io_error("read", path))?;
            return Ok(self.add(name, target.as_os_str().as_encoded_bytes()));
        }
        if !meta.is_dir() {
            let content = fs::read(path).map_err(io_error("read", path))?;
            let executable = meta.permissions().mode() & 0o111 != 0;
            return Ok(self.add(name, &[u8::from(executable)]).add("", &content));
        }
        let mut names: Vec<_> = fs::read_dir(path)
            .map_err(io_error("list", path))?
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        names.sort();
        let mut key = self.add(name, b"folder");
        for inner in names {
            let full = format!("{name}/{}", inner.to_string_lossy());
            key = key.add_path(&full, &path.join(&inner))?;
        }
        Ok(key)
    }

    /// The name: long enough to be the only one, short enough to read.
    pub(crate) fn name(self) -> String {
        hex(&self.0.finalize())[..24].to_owned()
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The SHA-256 of a file's content.
pub(crate) fn sha256_of(path: &Path) -> Result<String, CacheError> {
    let content = fs::read(path).map_err(io_error("read", path))?;
    Ok(hex(&Sha256::digest(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_do_not_run_into_each_other() {
        let one = Key::default().add("ab", b"c").name();
        let two = Key::default().add("a", b"bc").name();
        assert_ne!(one, two);
    }

    #[test]
    fn a_key_sees_content_mode_and_names_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let key = || Key::default().add_path("x", dir.path()).unwrap().name();
        let file = dir.path().join("file");
        fs::write(&file, "one").unwrap();
        let first = key();
        fs::write(&file, "one").unwrap();
        assert_eq!(key(), first, "written again with the same content");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let second = key();
        assert_ne!(second, first, "made executable");
        fs::rename(&file, dir.path().join("other")).unwrap();
        assert_ne!(key(), second, "renamed");
    }

    #[test]
    fn pruning_keeps_what_was_used_last_and_what_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let parent = cache.folder("things").unwrap();
        let folders: Vec<_> = ["a", "b", "c"].map(|n| parent.join(n)).into();
        for (age, folder) in folders.iter().enumerate() {
            fs::create_dir(folder).unwrap();
            drop(hold(folder).unwrap());
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(age as u64);
            let file = File::options().write(true).open(folder.join(USED)).unwrap();
            file.set_modified(time).unwrap();
        }
        let reader = File::open(folders[0].join(USED)).unwrap();
        let used = Flock::lock(reader, FlockArg::LockShared).unwrap();
        cache.prune("things", 1).unwrap();
        let left: Vec<_> = folders.iter().map(|f| f.is_dir()).collect();
        assert_eq!(left, [true, false, true]);
        drop(used);
        cache.prune("things", 1).unwrap();
        assert!(!folders[0].is_dir());
    }
}
