//! The image: built from the checkout, or found in the cache if nothing that goes into it changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cache::{self, Cache, CacheError, InUse, Key, io_error};
use crate::cpio;
use crate::exec::ExecError;
use crate::host::{self, HostError};
use crate::mirror::{Mirror, NoMirror};
use crate::mkosi::{Mkosi, MkosiError, MkosiRunError, Pin, Run};
use crate::programs::{self, Programs};
use crate::progress::Progress;
use crate::stage::{self, StageError};
use crate::tools::{Tools, ToolsError};

/// Images in the cache that were not used for longest are removed beyond this number.
const KEPT_IMAGES: usize = 3;

/// How to build.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// Build even if nothing changed, with the packages that the mirror has now.
    pub fresh: bool,
    /// Where packages come from, instead of where the host's apt gets them.
    pub mirror: Option<String>,
}

/// The image could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The host lacks something.
    #[error(transparent)]
    Host(#[from] HostError),
    /// No package mirror is known.
    #[error(transparent)]
    Mirror(#[from] NoMirror),
    /// mkosi could not be had.
    #[error(transparent)]
    Mkosi(#[from] MkosiError),
    /// The tools tree could not be had.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// Our programs do not compile.
    #[error("cannot build the programs that go into the image")]
    Programs(#[source] ExecError),
    /// The tree of our own files.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// mkosi failed on the image.
    #[error("cannot put the image together")]
    Image(#[source] MkosiRunError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// A whole image, and what boots it. It stays in the cache for as long as this lives.
#[derive(Debug, Clone)]
pub struct Image {
    folder: PathBuf,
    tools: Tools,
    cache: Cache,
    _in_use: Arc<InUse>,
}

impl Image {
    /// Builds the image of the checkout that this program was compiled in.
    ///
    /// Another build of this user is waited for. Interrupted or failed, it leaves the cache as it
    /// was, apart from downloaded packages.
    pub fn build(options: &BuildOptions, progress: Progress) -> Result<Self, BuildError> {
        let repository = repository();
        host::prepare(&progress)?;
        let mirror = Mirror::find(options.mirror.as_deref(), Path::new("/etc/apt"))?;
        let cache = Cache::open()?;
        let building = cache.lock(|| progress.say("another build is running; waiting for it"))?;
        cache.clear_scratch(&building)?;

        let pin = Pin::read(&repository)?;
        let mkosi = || Mkosi::get(&cache, &pin, &mirror);
        let tools_key = Tools::key(&repository, &pin)?;
        let tools = Tools::get(&repository, &tools_key, &cache, mkosi, &mirror, progress)?;
        let programs = progress.stage("programs", None, || {
            let log = cache.folder("logs")?.join("cargo.log");
            programs::build(&repository, &log).map_err(BuildError::Programs)
        })?;

        let key = key(&repository, &programs, &tools_key)?;
        let folder = cache.folder("images")?.join(&key);
        if options.fresh || !folder.join(DISK).is_file() {
            progress.stage("image", None, || {
                let mkosi = mkosi()?;
                assemble(&repository, &programs, &tools, &mkosi, &mirror, options, &folder)
            })?;
        } else {
            progress.say("image: nothing changed");
        }
        let in_use = cache::hold(&folder)?;
        cache.prune("images", KEPT_IMAGES)?;
        Ok(Self { folder, tools, cache, _in_use: Arc::new(in_use) })
    }

    /// The disk, as a raw file. Never to be written to.
    pub fn disk(&self) -> PathBuf {
        self.folder.join(DISK)
    }

    /// The kernel by itself.
    pub fn kernel(&self) -> PathBuf {
        self.folder.join("agentos.vmlinuz")
    }

    /// The initrd by itself.
    pub fn initrd(&self) -> PathBuf {
        self.folder.join("agentos.initrd")
    }

    /// Which packages in which versions are in it, as JSON.
    pub fn manifest(&self) -> PathBuf {
        self.folder.join("agentos.manifest")
    }

    /// The kernel command line that the firmware's way of booting has built in.
    pub fn command_line(&self) -> Result<String, CacheError> {
        let path = self.folder.join(COMMAND_LINE);
        fs::read_to_string(&path).map_err(io_error("read", &path))
    }

    /// A disk that `--keep` leaves between boots of this very image.
    pub(crate) fn kept_disk(&self) -> PathBuf {
        self.folder.join("kept.qcow2")
    }

    /// The tools tree, which has the QEMU to boot it with.
    pub(crate) fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Where verdicts about this machine are kept.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }
}

const DISK: &str = "agentos.raw";
const COMMAND_LINE: &str = "command-line";

/// Everything that the image is made from but the state of the mirror.
fn key(repository: &Path, programs: &Programs, tools_key: &str) -> Result<String, CacheError> {
    let mut key = Key::default().add("tools", tools_key.as_bytes());
    for folder in ["images/image", "rootfs", "units", "configs"] {
        key = key.add_path(folder, &repository.join(folder))?;
    }
    for (file, place) in &programs.installed {
        key = key.add_path(place, file)?;
    }
    Ok(key.add_path("initrd", &programs.initrd)?.name())
}

fn assemble(
    repository: &Path,
    programs: &Programs,
    tools: &Tools,
    mkosi: &Mkosi,
    mirror: &Mirror,
    options: &BuildOptions,
    folder: &Path,
) -> Result<(), BuildError> {
    let definition = repository.join("images/image");
    let scratch = mkosi.scratch()?;
    let tree = scratch.path().join("tree");
    cache::create_dir(&tree)?;
    stage::assemble(repository, programs, &tree)?;

    let init = fs::read(&programs.initrd).map_err(io_error("read", &programs.initrd))?;
    let initrd = scratch.path().join("initrd.cpio");
    fs::write(&initrd, cpio::initrd(&init)).map_err(io_error("write", &initrd))?;

    let command_line = command_line(&definition)?;
    let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let mut args = vec![
        option("tools-tree", tools.root()),
        option("include", &repository.join("rootfs/packages.conf")),
        option("include", &repository.join("rootfs/remove.conf")),
        option("initrd", &initrd),
        option("extra-tree", &tree),
        "--incremental=yes".to_owned(),
    ];
    args.extend(command_line.split(' ').map(|word| format!("--kernel-command-line={word}")));
    if options.fresh {
        // Twice: the cached packages too.
        args.push("--force".to_owned());
    }
    let log = mkosi.log("image.log")?;
    let out = mkosi
        .build(Run { definition: &definition, scratch: scratch.path(), mirror, args, log: &log })
        .map_err(BuildError::Image)?;
    let path = out.join(COMMAND_LINE);
    fs::write(&path, command_line).map_err(io_error("write", &path))?;
    Ok(cache::put_in_place(&out, folder)?)
}

/// The words of `cmdline`, without its comments.
fn command_line(definition: &Path) -> Result<String, CacheError> {
    let path = definition.join("cmdline");
    let text = fs::read_to_string(&path).map_err(io_error("read", &path))?;
    let words: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    Ok(words.join(" "))
}

/// The checkout.
pub(crate) fn repository() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder).to_owned()
}

/// How large the image is as a download: compressed as a whole.
pub fn compressed_size(image: &Image) -> Result<u64, ExecError> {
    let out = image
        .tools
        .program("zstd")
        .args(["-19", "--long", "--threads=0", "--stdout"])
        .arg(image.disk())
        .capture()?;
    Ok(out.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_one_line_without_comments() {
        let line = command_line(&repository().join("images/image")).unwrap();
        assert!(line.starts_with("console=ttyS0 quiet "), "{line}");
        assert!(!line.contains(['#', '\n']), "{line}");
    }
}
