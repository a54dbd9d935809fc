//! The machine as files. Every path a check reads goes through a [`Host`], so that tests show it a
//! recorded machine in a scratch directory.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest file that [`Host::read_text`] takes. Files in `/proc` and `/sys` that checks read are
/// far below it; a file that grows without bound must not take the agent's memory with it.
const MAX_TEXT: u64 = 4 * 1024 * 1024;

/// The root that all paths are below.
#[derive(Clone, Debug)]
pub struct Host {
    root: Arc<Path>,
}

/// A file or folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The call failed.
    #[error("cannot read {}", path.display())]
    Io {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is longer than is taken here.
    #[error("{} is longer than {limit} bytes", path.display())]
    TooLong {
        /// What was to be read.
        path: PathBuf,
        /// Most that is taken.
        limit: u64,
    },
}

/// A file could not be replaced. It is what it was.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct WriteError {
    /// What was to be written.
    pub path: PathBuf,
    /// Why not.
    source: io::Error,
}

impl ReadError {
    /// Whether the file simply does not exist.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::TooLong { .. } => false,
        }
    }
}

impl Host {
    /// The machine this runs on.
    pub fn system() -> Self {
        Self::under("/")
    }

    /// A recorded machine below `root`.
    pub fn under(root: impl AsRef<Path>) -> Self {
        Self { root: root.as_ref().into() }
    }

    /// Where `path`, absolute on the machine, really lies.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The whole file as text; bytes that are not UTF-8 become U+FFFD.
    pub fn read_text(&self, path: impl AsRef<Path>) -> Result<String, ReadError> {
        let path = self.path(path);
        let fail = |source| ReadError::Io { path: path.clone(), source };
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(fail)?;
        file.take(MAX_TEXT + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 > MAX_TEXT {
            return Err(ReadError::TooLong { path, limit: MAX_TEXT });
        }
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(err) => String::from_utf8_lossy(err.as_bytes()).into_owned(),
        })
    }

    /// As [`Host::read_text`], but a file that does not exist is `None`.
    pub fn read_if_there(&self, path: impl AsRef<Path>) -> Result<Option<String>, ReadError> {
        match self.read_text(path) {
            Ok(text) => Ok(Some(text)),
            Err(err) if err.is_absent() => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Replaces a file as a whole: whoever reads it, now or after a power cut, finds the old text or
    /// the new one. Its folder must exist.
    pub fn replace(&self, path: impl AsRef<Path>, text: &str) -> Result<(), WriteError> {
        let path = self.path(path);
        let fresh = path.with_extension("new");
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            // The name is safe only once its folder is (rename(2) promises nothing after a crash).
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        write().map_err(|source| WriteError { path: path.clone(), source })
    }

    /// Names in a folder, sorted. Names that are not UTF-8 are shown with U+FFFD.
    pub fn list(&self, path: impl AsRef<Path>) -> Result<Vec<String>, ReadError> {
        let path = self.path(path);
        let fail = |source| ReadError::Io { path: path.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(fail)? {
            names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_below_its_root_and_says_which_file_it_could_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc")).unwrap();
        fs::write(dir.path().join("proc/x"), b"a\xffb").unwrap();
        let host = Host::under(dir.path());
        assert_eq!(host.read_text("/proc/x").unwrap(), "a\u{fffd}b");
        assert_eq!(host.list("/proc").unwrap(), ["x"]);
        assert_eq!(host.read_if_there("/proc/y").unwrap(), None);
        let err = host.read_text("/proc/y").unwrap_err();
        assert!(err.is_absent());
        assert!(err.to_string().ends_with("proc/y"), "{err}");
        assert!(!host.read_text("/proc").unwrap_err().is_absent());
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::under(dir.path());
        host.replace("/state.json", "one").unwrap();
        host.replace("/state.json", "two").unwrap();
        assert_eq!(host.read_text("/state.json").unwrap(), "two");
        assert_eq!(host.list("/").unwrap(), ["state.json"], "nothing is left beside it");
        let err = host.replace("/no/such/folder", "x").unwrap_err();
        assert!(err.to_string().ends_with("no/such/folder"), "{err}");
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let err = Host::system().read_text("/dev/zero").unwrap_err();
        assert!(matches!(err, ReadError::TooLong { limit: MAX_TEXT, .. }), "{err}");
    }
}
