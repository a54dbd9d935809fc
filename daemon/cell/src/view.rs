//! Which paths a cell shows, and how: the part of planning that is about the file system.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use agentd_model::CellSpec;

use crate::{BindFlags, HostFacts};

/// What lies at a path in the cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// What the host has there.
    Host(BindFlags),
    /// An empty directory of the agent's own.
    PrivateTmp,
    /// The few devices that everyone may have.
    PrivateDev,
}

const READ_ONLY: BindFlags = BindFlags { writable: false, devices: false };

/// Every path where the view changes, parents before children. What a spec names and does not
/// exist goes to `missing`.
pub(crate) fn views(
    cell: &CellSpec,
    facts: &HostFacts,
    missing: &mut Vec<String>,
) -> BTreeMap<PathBuf, View> {
    let mut views = BTreeMap::from([
        (PathBuf::from("/dev"), View::PrivateDev),
        (PathBuf::from("/tmp"), View::PrivateTmp),
        (PathBuf::from("/usr"), View::Host(READ_ONLY)),
    ]);
    if facts.journal {
        views.insert(PathBuf::from(HostFacts::JOURNAL_SOCKET), View::Host(READ_ONLY));
    }
    // `write` last: a path named in both may be written to.
    let read = cell.read.iter().map(|path| ("read", path, false));
    let write = cell.write.iter().map(|path| ("write", path, true));
    for (key, path, writable) in read.chain(write) {
        if facts.paths.contains(path) {
            let devices = path.starts_with("/dev");
            views.insert(merged(path, facts), View::Host(BindFlags { writable, devices }));
        } else {
            missing.push(format!("{key} {}: does not exist", path.display()));
        }
    }
    let all = views.clone();
    views.retain(|path, view| nearest(&all, path.parent()) != Some(*view));
    views
}

/// Whether the program at `path` can be reached.
pub(crate) fn shows(views: &BTreeMap<PathBuf, View>, path: &str, facts: &HostFacts) -> bool {
    let path = merged(Path::new(path), facts);
    matches!(nearest(views, Some(&path)), Some(View::Host(_)))
}

/// Whether `path` is part of what stays read-only in every cell.
pub(crate) fn is_system(path: &Path, facts: &HostFacts) -> bool {
    path == Path::new("/") || merged(path, facts).starts_with("/usr")
}

/// The view that governs `path`.
fn nearest(views: &BTreeMap<PathBuf, View>, path: Option<&Path>) -> Option<View> {
    path?.ancestors().find_map(|ancestor| views.get(ancestor)).copied()
}

/// `/lib/x` as `/usr/lib/x` where `/usr` is merged: the place that the link in the cell leads to.
fn merged(path: &Path, facts: &HostFacts) -> PathBuf {
    let mut parts = path.components();
    let (Some(Component::RootDir), Some(Component::Normal(first))) = (parts.next(), parts.next())
    else {
        return path.to_owned();
    };
    match first.to_str().and_then(|name| facts.root_links.get(name)) {
        Some(target) => Path::new("/").join(target).components().chain(parts).collect(),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(paths: &[&str]) -> HostFacts {
        HostFacts {
            paths: paths.iter().map(PathBuf::from).collect(),
            root_links: [("lib".to_owned(), PathBuf::from("usr/lib"))].into(),
            ..HostFacts::default()
        }
    }

    fn cell(read: &[&str], write: &[&str]) -> CellSpec {
        CellSpec {
            user: "u".into(),
            groups: [].into(),
            capabilities: [].into(),
            read: read.iter().map(PathBuf::from).collect(),
            write: write.iter().map(PathBuf::from).collect(),
            memory_max: None,
            tasks_max: None,
            cpu_weight: None,
            files_max: 64,
        }
    }

    /// The views as text: `ro`, `rw` (and `+dev`), `tmp`, `dev`.
    fn shown(read: &[&str], write: &[&str]) -> String {
        let all: Vec<&str> = read.iter().chain(write).copied().collect();
        let views = views(&cell(read, write), &facts(&all), &mut Vec::new());
        let words = views.iter().map(|(path, view)| {
            let view = match view {
                View::Host(BindFlags { writable: false, devices: false }) => "ro",
                View::Host(BindFlags { writable: true, devices: false }) => "rw",
                View::Host(BindFlags { writable: false, devices: true }) => "ro+dev",
                View::Host(BindFlags { writable: true, devices: true }) => "rw+dev",
                View::PrivateTmp => "tmp",
                View::PrivateDev => "dev",
            };
            format!("{} {view}", path.display())
        });
        words.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn nothing_named_is_usr_and_private_folders() {
        assert_eq!(shown(&[], &[]), "/dev dev, /tmp tmp, /usr ro");
    }

    #[test]
    fn what_a_parent_shows_already_is_not_shown_again() {
        let seen = shown(&["/etc", "/etc/agentos", "/usr/share"], &[]);
        assert_eq!(seen, "/dev dev, /etc ro, /tmp tmp, /usr ro");
    }

    #[test]
    fn a_folder_in_a_folder_keeps_its_own_rights() {
        let seen = shown(&["/var", "/var/lib/a/keys"], &["/var/lib/a", "/var/lib/a/keys/new"]);
        assert_eq!(
            seen,
            "/dev dev, /tmp tmp, /usr ro, /var ro, /var/lib/a rw, /var/lib/a/keys ro, \
             /var/lib/a/keys/new rw"
        );
    }

    #[test]
    fn write_wins_over_read_of_the_same_path() {
        assert_eq!(shown(&["/srv"], &["/srv"]), "/dev dev, /srv rw, /tmp tmp, /usr ro");
    }

    #[test]
    fn the_whole_tree_still_has_private_folders_and_no_devices() {
        assert_eq!(shown(&["/", "/etc"], &["/srv"]), "/ ro, /dev dev, /srv rw, /tmp tmp");
    }

    #[test]
    fn devices_and_the_hosts_tmp_are_had_by_naming_them() {
        let seen = shown(&["/", "/dev/sda", "/tmp/x"], &[]);
        assert_eq!(seen, "/ ro, /dev dev, /dev/sda ro+dev, /tmp tmp, /tmp/x ro");
        assert_eq!(shown(&["/dev"], &["/tmp"]), "/dev ro+dev, /tmp rw, /usr ro");
    }

    #[test]
    fn the_links_of_a_merged_usr_are_followed() {
        assert_eq!(shown(&["/lib/modules"], &[]), "/dev dev, /tmp tmp, /usr ro");
        assert_eq!(merged(Path::new("/lib"), &facts(&[])), Path::new("/usr/lib"));
        assert_eq!(merged(Path::new("/library/x"), &facts(&[])), Path::new("/library/x"));
        assert_eq!(merged(Path::new("/"), &facts(&[])), Path::new("/"));
    }

    #[test]
    fn a_path_that_does_not_exist_is_left_out_and_named() {
        let mut missing = Vec::new();
        let views = views(&cell(&["/gone"], &["/also/gone"]), &facts(&[]), &mut missing);
        assert_eq!(views.len(), 3);
        assert_eq!(missing, ["read /gone: does not exist", "write /also/gone: does not exist"]);
    }

    #[test]
    fn a_program_in_a_private_folder_is_not_shown() {
        let seen = |read: &[&str], program| {
            let facts = facts(read);
            shows(&views(&cell(read, &[]), &facts, &mut Vec::new()), program, &facts)
        };
        assert!(seen(&[], "/usr/lib/agentos/agents/a"));
        assert!(!seen(&[], "/opt/a"));
        assert!(seen(&["/"], "/opt/a"));
        assert!(!seen(&["/"], "/tmp/a"));
        assert!(seen(&["/tmp/x"], "/tmp/x/a"));
    }
}
