//! mkosi itself: Debian 13's package, pinned by content, unpacked into the cache and run from there.
//!
//! It is fetched with the host's apt-get, which checks Debian's signature, under a configuration of
//! our own that knows only the image's suite; then its SHA-256 is compared with the pin.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::{self, Cache, CacheError, io_error};
use crate::exec::{ExecError, Program};
use crate::mirror::Mirror;

/// Debian's keys, from the package `debian-archive-keyring`. mkosi looks for them at this path too.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// All times in the image are this one (2025-08-09, the day Debian 13 came out), so that they do
/// not tell one build from another.
const SOURCE_DATE_EPOCH: &str = "1754697600";

/// The file that holds the pin, under the repository.
const PIN_FILE: &str = "images/mkosi.pin";

/// mkosi could not be had.
#[derive(Debug, thiserror::Error)]
pub enum MkosiError {
    /// The file with the pin makes no sense.
    #[error("{} does not hold a version and a sha256", .0.display())]
    BadPin(PathBuf),
    /// The archive has no such version any more.
    #[error(
        "mkosi {version} is pinned, and {archive} does not have it (any more); \
         if it has a newer one, `cargo run -p images -- pin` pins that"
    )]
    PinGone {
        /// What was wanted.
        version: String,
        /// Where.
        archive: String,
        /// What apt-get said.
        source: Box<ExecError>,
    },
    /// The archive's package is not the one that was pinned.
    #[error(
        "the package of mkosi {version} has the SHA-256 {found} and not {pinned}, which is pinned; \
         if you know why, `cargo run -p images -- pin` pins this one"
    )]
    OtherContent {
        /// Its version.
        version: String,
        /// What was wanted.
        pinned: String,
        /// What is there.
        found: String,
    },
    /// The archive's lists could not be fetched or read.
    #[error("cannot ask {archive} for mkosi")]
    Ask {
        /// Where.
        archive: String,
        /// What apt-get said.
        source: Box<ExecError>,
    },
    /// Unpacking it failed.
    #[error("cannot unpack mkosi")]
    Unpack(#[source] ExecError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// A version of mkosi and the content of its package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    version: String,
    sha256: String,
}

impl Pin {
    /// The pin that the repository holds.
    pub fn read(repository: &Path) -> Result<Self, MkosiError> {
        let path = repository.join(PIN_FILE);
        let text = fs::read_to_string(&path).map_err(io_error("read", &path))?;
        parse_pin(&text).ok_or(MkosiError::BadPin(path))
    }

    /// What of it decides how an image comes out.
    pub(crate) fn identity(&self) -> &str {
        &self.sha256
    }

    /// Pins what the archive has now. Gives the new pin.
    pub fn renew(repository: &Path, cache: &Cache, mirror: &Mirror) -> Result<Self, MkosiError> {
        let path = repository.join(PIN_FILE);
        let scratch = cache.scratch()?;
        let deb = fetch(scratch.path(), mirror, None)?;
        let name = deb.file_name().unwrap_or_default().to_string_lossy();
        let version = name.split('_').nth(1).unwrap_or_default().to_owned();
        let sha256 = cache::sha256_of(&deb)?;
        let old = fs::read_to_string(&path).map_err(io_error("read", &path))?;
        let comments = old.lines().filter(|l| l.starts_with('#'));
        let text: String = comments.map(|l| format!("{l}\n")).collect();
        let text = format!("{text}version {version}\nsha256 {sha256}\n");
        fs::write(&path, text).map_err(io_error("write", &path))?;
        Ok(Self { version, sha256 })
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mkosi {} ({})", self.version, self.sha256)
    }
}

fn parse_pin(text: &str) -> Option<Pin> {
    let field = |name| {
        text.lines()
            .filter_map(|l| l.split_once(' '))
            .find_map(|(n, value)| (n == name).then(|| value.trim().to_owned()))
    };
    let (version, sha256) = (field("version")?, field("sha256")?);
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
    is_hash.then_some(Pin { version, sha256 })
}

/// mkosi, ready to run.
#[derive(Debug)]
pub(crate) struct Mkosi {
    package: PathBuf,
    cache: Cache,
}

/// What a run of mkosi builds, and from where.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// The folder with its mkosi.conf.
    pub(crate) definition: &'a Path,
    /// An empty folder of this run's own: workspace and output.
    pub(crate) scratch: &'a Path,
    /// Where packages come from.
    pub(crate) mirror: &'a Mirror,
    /// Anything else.
    pub(crate) args: Vec<String>,
    /// Where what it says is kept.
    pub(crate) log: &'a Path,
}

impl Mkosi {
    /// The pinned version, fetched if the cache lacks it.
    pub(crate) fn get(cache: &Cache, pin: &Pin, mirror: &Mirror) -> Result<Self, MkosiError> {
        let package = cache.folder("mkosi")?.join(&pin.sha256);
        if !package.is_dir() {
            let scratch = cache.scratch()?;
            let deb = fetch(scratch.path(), mirror, Some(pin))?;
            let found = cache::sha256_of(&deb)?;
            if found != pin.sha256 {
                return Err(MkosiError::OtherContent {
                    version: pin.version.clone(),
                    pinned: pin.sha256.clone(),
                    found,
                });
            }
            let unpacked = scratch.path().join("unpacked");
            Program::new("dpkg-deb")
                .arg("--extract")
                .args([&deb, &unpacked])
                .capture()
                .map_err(MkosiError::Unpack)?;
            cache::put_in_place(&unpacked, &package)?;
        }
        Ok(Self { package, cache: cache.clone() })
    }

    /// An empty folder for a run.
    pub(crate) fn scratch(&self) -> Result<tempfile::TempDir, CacheError> {
        self.cache.scratch()
    }

    /// Where a run's log stays.
    pub(crate) fn log(&self, name: &str) -> Result<PathBuf, CacheError> {
        Ok(self.cache.folder("logs")?.join(name))
    }

    /// Builds what `run` says; the result is in its scratch folder's `out`.
    pub(crate) fn build(&self, run: Run<'_>) -> Result<PathBuf, MkosiRunError> {
        let scratch = run.scratch;
        let sandbox = scratch.join("sandbox");
        let sources = sandbox.join("etc/apt/sources.list.d");
        let (out, workspace) = (scratch.join("out"), scratch.join("workspace"));
        for dir in [&sources, &out, &workspace] {
            cache::create_dir(dir)?;
        }
        let list = sources.join("mkosi.sources");
        fs::write(&list, run.mirror.deb822(Path::new(KEYRING)))
            .map_err(io_error("write", &list))?;
        let packages = self.cache.folder("packages")?;
        let incremental = self.cache.folder("mkosi-incremental")?;
        let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
        Program::new("/usr/bin/python3")
            .args(["-m", "mkosi"])
            .arg(option("directory", run.definition))
            .arg(option("sandbox-tree", &sandbox))
            .arg(option("output-directory", &out))
            .arg(option("workspace-directory", &workspace))
            .arg(option("package-cache-directory", &packages))
            .arg(option("cache-directory", &incremental))
            .arg(format!("--source-date-epoch={SOURCE_DATE_EPOCH}"))
            .args(&run.args)
            .args(["--force", "build"])
            .env("PYTHONPATH", self.package.join("usr/lib/python3/dist-packages"))
            // The package is shared and compared by content: nothing is written into it.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .directory(scratch)
            .limit(Duration::from_secs(1800))
            .run_logged(run.log)?;
        Ok(out)
    }
}

/// A run of mkosi failed.
#[derive(Debug, thiserror::Error)]
pub enum MkosiRunError {
    /// mkosi itself.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The folders that it needs.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Downloads the package into `scratch`: the pinned version, or the newest.
fn fetch(scratch: &Path, mirror: &Mirror, pin: Option<&Pin>) -> Result<PathBuf, MkosiError> {
    let apt = scratch.join("apt");
    for dir in ["etc/sources.list.d", "lists/partial", "archives/partial"] {
        cache::create_dir(&apt.join(dir))?;
    }
    let write = |name: &str, text: &str| {
        let path = apt.join(name);
        fs::write(&path, text).map_err(io_error("write", &path))
    };
    write("status", "")?;
    write("etc/sources.list.d/image.sources", &mirror.deb822(Path::new(KEYRING)))?;
    let root = apt.display();
    write(
        "apt.conf",
        &format!(
            "Dir::Etc \"{root}/etc\";\nDir::State::Lists \"{root}/lists\";\n\
             Dir::State::Status \"{root}/status\";\nDir::Cache \"{root}\";\n\
             APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\n\
             Acquire::Languages \"none\";\nAPT::Sandbox::User \"\";\n"
        ),
    )?;
    let apt_get = |args: &[&str]| {
        Program::new("apt-get")
            .args(args)
            .env("APT_CONFIG", apt.join("apt.conf"))
            .directory(scratch)
            .capture()
    };
    let asked =
        |source| MkosiError::Ask { archive: mirror.archive.clone(), source: Box::new(source) };
    apt_get(&["update", "--error-on=any"]).map_err(asked)?;
    match pin {
        None => apt_get(&["download", "mkosi"]).map_err(asked)?,
        Some(pin) => {
            apt_get(&["download", &format!("mkosi={}", pin.version)]).map_err(|source| {
                MkosiError::PinGone {
                    version: pin.version.clone(),
                    archive: mirror.archive.clone(),
                    source: Box::new(source),
                }
            })?
        }
    };
    let deb = fs::read_dir(scratch)
        .map_err(io_error("list", scratch))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "deb"));
    deb.ok_or_else(|| {
        let nothing = std::io::Error::from(std::io::ErrorKind::NotFound);
        MkosiError::Cache(io_error("find a package in", scratch)(nothing))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_in_the_repository_is_one() {
        Pin::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))).unwrap();
    }

    #[test]
    fn half_a_hash_is_no_pin() {
        assert_eq!(parse_pin("version 1\nsha256 abc\n"), None);
        assert_eq!(parse_pin("sha256 abc\n"), None);
    }
}
