//! What the host must have, and getting it where that is possible.
//!
//! Everything else (mkosi, QEMU, mkfs programs) comes from the tools tree, so the list is short and
//! the same on Debian 12, Debian 13 and Ubuntu 24.04.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::exec::{ExecError, Program};
use crate::progress::Progress;

/// A Debian package, and the file that shows that it is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Need {
    package: &'static str,
    file: &'static str,
    /// Only for building as an ordinary user.
    user_only: bool,
}

const fn need(package: &'static str, file: &'static str) -> Need {
    Need { package, file, user_only: false }
}

const NEEDS: [Need; 8] = [
    need("apt", "/usr/bin/apt-get"),
    need("dpkg", "/usr/bin/dpkg-deb"),
    need("python3", "/usr/bin/python3"),
    // Signs Debian 13: its Release file carries Debian 12's key beside its own, so older versions
    // of this package and Ubuntu's serve as well.
    need("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
    // The initrd is linked statically.
    need("libc6-dev", "/usr/lib/x86_64-linux-gnu/libc.a"),
    need("gcc", "/usr/bin/cc"),
    // Starts QEMU so that it ends with us.
    need("util-linux", "/usr/bin/setpriv"),
    Need { package: "uidmap", file: "/usr/bin/newuidmap", user_only: true },
];

/// The host cannot build.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Something is missing, and we may not install it.
    #[error("this machine lacks something that is needed here; install it with\n    {0}")]
    Missing(String),
    /// Something is missing and this is not a Debian of any kind.
    #[error(
        "this machine lacks {0}, and has no apt-get to install it with: \
         building the image needs Debian 12 or 13, or Ubuntu 24.04"
    )]
    NotDebian(String),
    /// Not our processor.
    #[error("the image is for x86-64 and is built on x86-64; this machine is {0}")]
    Processor(&'static str),
    /// Installing failed.
    #[error("cannot install what is missing")]
    Install(#[source] ExecError),
}

/// Checks the host and installs what is missing, having said so.
pub(crate) fn prepare(progress: &Progress) -> Result<(), HostError> {
    if std::env::consts::ARCH != "x86_64" {
        return Err(HostError::Processor(std::env::consts::ARCH));
    }
    let is_root = nix::unistd::geteuid().is_root();
    let missing = missing(is_root, |file| Path::new(file).exists());
    get(is_root, &missing, *progress)
}

/// Sees to it that the file of a package is there, for a test that needs a program which cargo
/// cannot bring. The same rules as for a build: installed, having said so, or told what to type.
pub fn provide(package: &'static str, file: &Path) -> Result<(), HostError> {
    /// Tests ask all at once; apt serves one.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let missing: &[&str] = if file.exists() { &[] } else { &[package] };
    get(nix::unistd::geteuid().is_root(), missing, Progress::on_stderr())
}

fn get(is_root: bool, missing: &[&'static str], progress: Progress) -> Result<(), HostError> {
    if missing.is_empty() {
        return Ok(());
    }
    if missing.contains(&"apt") || missing.contains(&"dpkg") {
        return Err(HostError::NotDebian(missing.join(", ")));
    }
    let sudo = if is_root {
        None
    } else if sudo_asks_nothing() {
        Some("sudo")
    } else {
        return Err(HostError::Missing(apt_line(Some("sudo"), missing)));
    };
    progress.say(&format!("installing: {}", apt_line(sudo, missing)));
    install(sudo, missing).map_err(HostError::Install)
}

/// The packages that are missing, in the order of the list.
fn missing(is_root: bool, exists: impl Fn(&str) -> bool) -> Vec<&'static str> {
    NEEDS
        .iter()
        .filter(|need| !(exists(need.file) || need.user_only && is_root))
        .map(|need| need.package)
        .collect()
}

/// What a person would type.
fn apt_line(sudo: Option<&str>, packages: &[&str]) -> String {
    let sudo = sudo.map(|s| format!("{s} ")).unwrap_or_default();
    format!("{sudo}apt-get install --no-install-recommends {}", packages.join(" "))
}

fn sudo_asks_nothing() -> bool {
    Program::new("sudo")
        .args(["--non-interactive", "true"])
        .limit(Duration::from_secs(10))
        .capture()
        .is_ok()
}

fn install(sudo: Option<&str>, packages: &[&str]) -> Result<(), ExecError> {
    let apt = |args: &[&str]| {
        let program = match sudo {
            Some(sudo) => Program::new(sudo).args(["--non-interactive", "apt-get"]),
            None => Program::new("apt-get"),
        };
        program.args(args).env("DEBIAN_FRONTEND", "noninteractive").capture().map(drop)
    };
    // The lists may be missing altogether, or name versions that are gone.
    apt(&["update"])?;
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(packages);
    apt(&args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_only_what_is_missing() {
        let missing = missing(true, |file| !file.contains("python3") && !file.contains("libc.a"));
        assert_eq!(
            apt_line(Some("sudo"), &missing),
            "sudo apt-get install --no-install-recommends python3 libc6-dev"
        );
    }

    #[test]
    fn root_needs_no_help_with_user_namespaces() {
        assert_eq!(missing(true, |file| file != "/usr/bin/newuidmap"), [""; 0]);
        assert_eq!(missing(false, |file| file != "/usr/bin/newuidmap"), ["uidmap"]);
    }
}
