//! The tree of our own that mkosi lays over the packages: programs, units, configuration, files.
//!
//! What lies in `units/` goes by its kind, so that a new unit or policy needs no change here; a file
//! of an unknown kind is an error, because a forgotten file is found too late.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::cache::{CacheError, create_dir, io_error};
use crate::programs::{AGENTS, Programs};

/// The tree could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A file or folder.
    #[error(transparent)]
    Io(#[from] CacheError),
    /// Something in `units/` of which nobody has said where it goes.
    #[error("{} is of no kind that the image has a place for; see images/src/stage.rs", .0.display())]
    UnknownKind(PathBuf),
}

/// Puts the tree together in the empty folder `tree`.
pub(crate) fn assemble(
    repository: &Path,
    programs: &Programs,
    tree: &Path,
) -> Result<(), StageError> {
    copy_tree(&repository.join("rootfs/files"), tree)?;
    copy_tree(&repository.join("configs"), &tree.join("usr/lib/agentos"))?;
    install_units(&repository.join("units"), tree)?;
    // The site's own configuration: empty, and covered by the data partition at run time.
    create_dir(&tree.join("etc/agentos"))?;
    for (from, to) in &programs.installed {
        copy_file(from, &tree.join(to), 0o755)?;
    }
    let agents = tree.join("usr/lib/agentos/agents");
    create_dir(&agents)?;
    for agent in AGENTS {
        let link = agents.join(agent);
        symlink("../agentd-agents", &link).map_err(io_error("link", &link))?;
    }
    Ok(())
}

fn install_units(units: &Path, tree: &Path) -> Result<(), StageError> {
    for entry in sorted(units)? {
        let name = name_of(&entry);
        let place = place_of(&name, entry.is_dir())
            .ok_or_else(|| StageError::UnknownKind(entry.clone()))?;
        let place = tree.join(place);
        if entry.is_dir() {
            copy_tree(&entry, &place)?;
        } else {
            copy_file(&entry, &place.join(&name), 0o644)?;
        }
    }
    Ok(())
}

/// Where something in `units/` belongs in the image.
fn place_of(name: &str, is_dir: bool) -> Option<String> {
    let (_, extension) = name.rsplit_once('.').unwrap_or(("", ""));
    let is_unit = |name: &str| {
        ["service", "socket", "target", "timer", "mount", "path", "slice"]
            .iter()
            .any(|kind| name.rsplit_once('.').is_some_and(|(_, e)| e == *kind))
    };
    match (is_dir, name) {
        (true, "sysusers.d" | "tmpfiles.d" | "sysctl.d" | "modules-load.d") => {
            Some(format!("usr/lib/{name}"))
        }
        (true, "dbus-1" | "polkit-1") => Some(format!("usr/share/{name}")),
        // Drop-ins: `agentd.service.d`.
        (true, _) if extension == "d" && is_unit(&name[..name.len() - 2]) => {
            Some(format!("usr/lib/systemd/system/{name}"))
        }
        (false, _) if is_unit(name) => Some("usr/lib/systemd/system".to_owned()),
        _ => None,
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), CacheError> {
    create_dir(to)?;
    for entry in sorted(from)? {
        let target = to.join(name_of(&entry));
        let meta = fs::symlink_metadata(&entry).map_err(io_error("read", &entry))?;
        if meta.is_symlink() {
            let points_to = fs::read_link(&entry).map_err(io_error("read", &entry))?;
            symlink(points_to, &target).map_err(io_error("link", &target))?;
        } else if meta.is_dir() {
            copy_tree(&entry, &target)?;
        } else {
            // Whatever the umask of whoever checked this out.
            let executable = meta.permissions().mode() & 0o100 != 0;
            copy_file(&entry, &target, if executable { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path, mode: u32) -> Result<(), CacheError> {
    if let Some(parent) = to.parent() {
        create_dir(parent)?;
    }
    fs::copy(from, to).map_err(io_error("copy", from))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(io_error("set up", to))
}

fn sorted(dir: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let mut entries: Vec<_> = fs::read_dir(dir)
        .map_err(io_error("list", dir))?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    Ok(entries)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_policies_go_where_their_kind_belongs() {
        let unit = place_of("agentd.service", false).unwrap();
        assert_eq!(unit, "usr/lib/systemd/system");
        let drop_in = place_of("agentd.service.d", true).unwrap();
        assert_eq!(drop_in, "usr/lib/systemd/system/agentd.service.d");
        assert_eq!(place_of("dbus-1", true).unwrap(), "usr/share/dbus-1");
        assert_eq!(place_of("sysusers.d", true).unwrap(), "usr/lib/sysusers.d");
        assert_eq!(place_of("README.txt", false), None);
    }

    #[test]
    fn every_file_of_units_has_a_place() {
        let units = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../units"));
        let tree = tempfile::tempdir().unwrap();
        install_units(units, tree.path()).unwrap();
        let agentd = tree.path().join("usr/lib/systemd/system/agentd.service");
        assert!(agentd.is_file());
    }
}
