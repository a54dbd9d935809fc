//! Our own programs, built by cargo on the host. Debian 13's C library is newer than that of any
//! host that is supported, so they run in the image.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::exec::{ExecError, PATH, Program};

/// What goes into the image: cargo package, program, path in the image.
const PROGRAMS: [(&str, &str, &str); 4] = [
    ("agentd", "agentd", "usr/lib/agentos/agentd"),
    ("agentd-cell", "agentd-launch", "usr/lib/agentos/agentd-launch"),
    ("agentd-agents", "agentd-agents", "usr/lib/agentos/agentd-agents"),
    ("agentctl", "agentctl", "usr/bin/agentctl"),
];

/// The agents, one program under several names.
pub(crate) const AGENTS: [&str; 5] = ["system", "network", "security", "storage", "monitor"];

const INITRD_PACKAGE: &str = "agentos-initrd";
/// Named explicitly, so that the flags below do not reach build scripts.
const INITRD_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The programs, as files on the host.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// Each with its path in the image.
    pub(crate) installed: Vec<(PathBuf, &'static str)>,
    /// What runs as /init.
    pub(crate) initrd: PathBuf,
}

/// Builds all of them, or finds them built. What cargo says is in `log`.
pub(crate) fn build(repository: &Path, log: &Path) -> Result<Programs, ExecError> {
    let target = target_folder(repository);
    let mut workspace = cargo(repository)
        .args(["build", "--release", "--locked"])
        .args(["--target-dir".as_ref(), target.as_os_str()]);
    for (package, program, _) in PROGRAMS {
        workspace = workspace.args(["--package", package, "--bin", program]);
    }
    workspace.run_logged(log)?;

    let initrd_target = target.join("initrd");
    cargo(repository)
        .args(["build", "--release", "--locked", "--package", INITRD_PACKAGE])
        .args(["--target", INITRD_TARGET])
        .args(["--target-dir".as_ref(), initrd_target.as_os_str()])
        // Nothing but this program is in the initrd: no C library, no loader.
        .env("RUSTFLAGS", "-C target-feature=+crt-static -C panic=abort")
        .run_logged(log)?;

    let release = target.join("release");
    Ok(Programs {
        installed: PROGRAMS
            .iter()
            .map(|(_, program, place)| (release.join(program), *place))
            .collect(),
        initrd: initrd_target.join(INITRD_TARGET).join("release").join(INITRD_PACKAGE),
    })
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder(repository: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository.join("target"), |dir| repository.join(dir))
}

fn cargo(repository: &Path) -> Program {
    // Set by cargo for what it runs; it is the toolchain's own, beside its rustc.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut path =
        Path::new(&cargo).parent().map(|dir| format!("{}:", dir.display())).unwrap_or_default();
    if let Some(home) = std::env::var_os("HOME") {
        path += &format!("{}/.cargo/bin:", Path::new(&home).display());
    }
    Program::new(cargo)
        .env("PATH", path + PATH)
        .directory(repository)
        .limit(Duration::from_secs(3600))
}
