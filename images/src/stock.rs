//! The stock Debian image that the appliance's boot is compared with.

use std::path::{Path, PathBuf};

use crate::cache::{self, Cache, Key};
use crate::image::{BuildError, BuildOptions, Image, repository};
use crate::mirror::Mirror;
use crate::mkosi::{Mkosi, Pin, Run};
use crate::progress::Progress;

/// What QEMU needs to boot it.
#[derive(Debug)]
pub(crate) struct Stock {
    folder: PathBuf,
}

impl Stock {
    /// Finds it in the cache or builds it, from the mirror that the appliance came from.
    pub(crate) fn get(
        image: &Image,
        options: &BuildOptions,
        progress: Progress,
    ) -> Result<Self, BuildError> {
        let repository = repository();
        let definition = repository.join("images/stock");
        let cache: &Cache = image.cache();
        let building = cache.lock(|| progress.say("another build is running; waiting for it"))?;
        cache.clear_scratch(&building)?;
        let pin = Pin::read(&repository)?;
        let key = Key::default()
            .add_path("definition", &definition)?
            .add("mkosi", pin.identity().as_bytes())
            .name();
        let folder = cache.folder("stock")?.join(key);
        if options.fresh || !folder.is_dir() {
            progress.stage("stock image", None, || {
                let mirror = Mirror::find(options.mirror.as_deref(), Path::new("/etc/apt"))?;
                let mkosi = Mkosi::get(cache, &pin, &mirror)?;
                let scratch = mkosi.scratch()?;
                let log = mkosi.log("stock.log")?;
                let out = mkosi
                    .build(Run {
                        definition: &definition,
                        scratch: scratch.path(),
                        mirror: &mirror,
                        args: vec![format!("--tools-tree={}", image.tools().root().display())],
                        log: &log,
                    })
                    .map_err(BuildError::Image)?;
                cache::put_in_place(&out, &folder)?;
                Ok::<(), BuildError>(())
            })?;
        }
        Ok(Self { folder })
    }

    /// The disk, as a raw file.
    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.join("stock.raw")
    }

    /// Debian's kernel.
    pub(crate) fn kernel(&self) -> PathBuf {
        self.folder.join("stock.vmlinuz")
    }

    /// The initrd that Debian's initramfs-tools made for it.
    pub(crate) fn initrd(&self) -> PathBuf {
        self.folder.join("stock.initrd")
    }
}
