//! The tools tree: a folder with Debian 13's QEMU, mkfs programs and firmware, built once by mkosi
//! from `images/tools/mkosi.conf` and kept in the cache.

use std::path::{Path, PathBuf};

use crate::cache::{self, Cache, CacheError, Key};
use crate::exec::Program;
use crate::mirror::{Mirror, SUITE};
use crate::mkosi::{Mkosi, MkosiRunError, Pin, Run};
use crate::progress::Progress;

/// The tools tree on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    root: PathBuf,
}

impl Tools {
    /// What the tree is made from, as a name.
    pub(crate) fn key(repository: &Path, pin: &Pin) -> Result<String, CacheError> {
        Ok(Key::default()
            .add_path("definition", &definition(repository))?
            .add("mkosi", pin.identity().as_bytes())
            .add("suite", SUITE.as_bytes())
            .name())
    }

    /// Finds it in the cache or builds it.
    pub(crate) fn get(
        repository: &Path,
        key: &str,
        cache: &Cache,
        mkosi: impl FnOnce() -> Result<Mkosi, crate::mkosi::MkosiError>,
        mirror: &Mirror,
        progress: Progress,
    ) -> Result<Self, ToolsError> {
        let root = cache.folder("tools")?.join(key);
        if root.is_dir() {
            return Ok(Self { root });
        }
        let expect = Some("once per machine, half a minute to three minutes");
        progress.stage("tools tree", expect, || {
            let mkosi = mkosi()?;
            let scratch = cache.scratch()?;
            let log = cache.folder("logs")?.join("tools.log");
            let out = mkosi.build(Run {
                definition: &definition(repository),
                scratch: scratch.path(),
                mirror,
                args: Vec::new(),
                log: &log,
            })?;
            cache::put_in_place(&out.join("tools"), &root)?;
            Ok(Self { root })
        })
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A program of the tree, run with the tree's own loader and libraries, so that nothing of it
    /// need be installed and no privilege is needed to change root.
    pub(crate) fn program(&self, name: &str) -> Program {
        let libraries = self.root.join("usr/lib/x86_64-linux-gnu");
        Program::new(self.root.join("usr/lib64/ld-linux-x86-64.so.2"))
            .args(["--library-path".as_ref(), libraries.as_os_str()])
            .arg(self.root.join("usr/bin").join(name))
            // QEMU looks for its loadable parts where Debian's package has them.
            .env("QEMU_MODULE_DIR", libraries.join("qemu"))
    }

    /// A file of the tree.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

/// The tools tree could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ToolsError {
    /// mkosi is missing.
    #[error(transparent)]
    Mkosi(#[from] crate::mkosi::MkosiError),
    /// mkosi failed.
    #[error("cannot build the tools tree")]
    Build(#[from] MkosiRunError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

fn definition(repository: &Path) -> PathBuf {
    repository.join("images/tools")
}
