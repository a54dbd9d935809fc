//! The whole cell. Each test says on standard error if it had no root to run with.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use agentd_cell::{BindFlags, Channel, Mode, Op, Started};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::bed::{Bed, allow_all, replace};
use crate::support::{EXTRA_GID, IDS, paths, set, spec};

const NONE: Option<&str> = None;

/// The value of a line of `/proc/PID/status`, its parts apart by single spaces.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A mount namespace of this thread's own, in which mounts reach the cells started from it.
fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).unwrap();
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SHARED, NONE).unwrap();
}

fn mount_tmpfs(path: &Path) {
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), NONE).unwrap();
}

#[test]
fn ids_groups_and_capabilities_are_the_planned_ones_and_no_more() {
    let Some(bed) = Bed::as_root("ids_groups_and_capabilities") else { return };
    let mut spec = spec(&[]);
    spec.cell.read = paths(["/proc"]);
    let (uid, gid) = (IDS.uid, IDS.gid);
    let status = bed.shell(&spec, Mode::Appliance, "cat /proc/self/status");
    assert_eq!(field(&status, "Uid"), format!("{uid} {uid} {uid} {uid}"));
    assert_eq!(field(&status, "Gid"), format!("{gid} {gid} {gid} {gid}"));
    assert_eq!(field(&status, "Groups"), "");
    assert_eq!(field(&status, "NoNewPrivs"), "1");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(&status, set), "0000000000000000", "{set}");
    }
    assert_eq!(bed.joined(), "0", "the control group was joined");

    spec.cell.groups = set(["systemd-journal"]);
    spec.cell.capabilities = set(["CAP_NET_RAW", "CAP_SYS_TIME"]);
    let status = bed.shell(&spec, Mode::Appliance, "cat /proc/self/status");
    assert_eq!(field(&status, "Groups"), EXTRA_GID.to_string());
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(&status, set), format!("{:016x}", 1 << 13 | 1 << 25), "{set}");
    }
}

#[test]
fn an_empty_spec_sees_usr_and_nothing_else() {
    let Some(mut bed) = Bed::as_root("an_empty_spec_sees_usr_and_nothing_else") else { return };
    bed.facts.journal = false;
    let seen = bed.shell(&spec(&[]), Mode::Appliance, "ls -A /; echo; ls -A /dev /tmp");
    let root = "bin\ndev\nlib\nlib64\nsbin\ntmp\nusr\n";
    assert_eq!(seen, format!("{root}\n/dev:\nfull\nnull\nrandom\nurandom\nzero\n\n/tmp:\n"));
    let script = "echo x > /dev/null && head -c 4 /dev/zero | od -An -tx1 && pwd";
    assert_eq!(bed.shell(&spec(&[]), Mode::Appliance, script), " 00 00 00 00\n/\n");
}

/// Runs `act` in the cell; it must fail, and this is what it says.
fn denied(bed: &Bed, spec: &agentd_model::AgentSpec, act: &str) -> String {
    bed.shell(spec, Mode::Appliance, &format!("if {act}; then echo done; exit 1; fi 2>&1"))
}

#[test]
fn usr_and_the_root_are_read_only() {
    let Some(bed) = Bed::as_root("usr_and_the_root_are_read_only") else { return };
    let mut spec = spec(&[]);
    // So that it is the mount that refuses, and not the owner's rights.
    spec.cell.capabilities = set(["CAP_DAC_OVERRIDE"]);
    for path in ["/usr/agentos-test", "/agentos-test", "/dev/agentos-test"] {
        let said = denied(&bed, &spec, &format!("touch {path}"));
        assert!(said.contains("Read-only file system"), "{path}: {said}");
        assert!(!Path::new(path).exists());
    }
}

#[test]
fn what_is_not_named_is_absent_and_what_is_named_is_read_only() {
    let Some(mut bed) = Bed::as_root("what_is_not_named_is_absent") else { return };
    let (shown, hidden) = (bed.dir.path().join("shown"), bed.dir.path().join("hidden"));
    for dir in [&shown, &hidden] {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("file"), "content").unwrap();
        allow_all(dir);
        allow_all(&dir.join("file"));
    }
    let mut spec = spec(&[]);
    spec.cell.read = [shown.clone()].into();
    bed.facts.look_at(&spec).unwrap();
    bed.facts.users.insert(spec.cell.user.clone(), IDS);
    let script = format!("cat {}/file", shown.display());
    assert_eq!(bed.shell(&spec, Mode::Appliance, &script), "content");
    let said = denied(&bed, &spec, &format!("cat {}/file", hidden.display()));
    assert!(said.contains("No such file or directory"), "{said}");
    let said = denied(&bed, &spec, &format!("cat {}/shadow", "/etc"));
    assert!(said.contains("No such file or directory"), "{said}");
    let write = |dir: &Path| format!("echo inside > {}/file", dir.display());
    let said = denied(&bed, &spec, &write(&shown));
    assert!(said.contains("Read-only file system"), "{said}");

    spec.cell.write = [hidden.clone()].into();
    bed.facts.paths.insert(hidden.clone());
    bed.shell(&spec, Mode::Appliance, &write(&hidden));
    assert_eq!(fs::read_to_string(hidden.join("file")).unwrap(), "inside\n");
    assert_eq!(fs::read_to_string(shown.join("file")).unwrap(), "content");
}

#[test]
fn tmp_is_private_and_bounded() {
    let Some(bed) = Bed::as_root("tmp_is_private_and_bounded") else { return };
    let name = format!("agentos-test-{}", std::process::id());
    let script = format!("echo x > /tmp/{name} && ls -A /tmp && stat -c %a /tmp");
    let seen = bed.shell(&spec(&[]), Mode::Appliance, &script);
    assert_eq!(seen, format!("{name}\n1777\n"));
    assert!(!Path::new("/tmp").join(&name).exists());
    let said = denied(&bed, &spec(&[]), "head -c 20000000 /dev/zero > /tmp/big");
    assert!(said.contains("No space left on device"), "{said}");
}

#[test]
fn a_read_only_path_is_so_in_what_is_mounted_below_it() {
    let Some(mut bed) = Bed::as_root("a_read_only_path_is_so_below") else { return };
    own_mounts();
    let sub = bed.dir.path().join("sub");
    fs::create_dir(&sub).unwrap();
    mount_tmpfs(&sub);
    allow_all(&sub);
    let mut spec = spec(&[]);
    spec.cell.read = [bed.dir.path().to_owned()].into();
    bed.facts.paths.insert(bed.dir.path().to_owned());
    let write = format!("touch {}/new", sub.display());
    let said = denied(&bed, &spec, &write);
    assert!(said.contains("Read-only file system"), "{said}");
    // The same below the whole tree, and the same act where it is allowed.
    spec.cell.read = paths(["/"]);
    let said = denied(&bed, &spec, &format!("touch {}/new /tmp/{}", sub.display(), "x"));
    assert!(said.contains("touch"), "{said}");
    spec.cell.read = [bed.dir.path().to_owned()].into();
    spec.cell.write = [sub.clone()].into();
    bed.facts.paths.insert(sub.clone());
    bed.shell(&spec, Mode::Appliance, &write);
    assert!(sub.join("new").exists());
    umount2(&sub, MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn the_whole_tree_is_read_only_and_shows_what_is_mounted_later() {
    let Some(mut bed) = Bed::as_root("the_whole_tree_is_read_only") else { return };
    own_mounts();
    // Not below /tmp, which is the agent's own in every cell.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    allow_all(dir.path());
    let (early, late) = (dir.path().join("early"), dir.path().join("late"));
    for point in [&early, &late] {
        fs::create_dir(point).unwrap();
    }
    mount_tmpfs(&early);
    allow_all(&early);
    let mut spec = spec(&[]);
    spec.cell.read = paths(["/"]);
    bed.facts.journal = true;
    for place in [dir.path(), &early] {
        let said = denied(&bed, &spec, &format!("touch {}/new", place.display()));
        assert!(said.contains("Read-only file system"), "{said}");
        File::create(place.join("outside")).unwrap();
    }
    let script = "while ! test -e LATE/marker; do sleep 0.02; done; echo seen >&3; \
                  while test -e LATE/marker; do sleep 0.02; done; ls -A /tmp";
    let script = script.replace("LATE", &late.display().to_string());
    spec.exec = ["/usr/bin/sh", "-c", &script].map(str::to_owned).into();
    spec.kit = true;
    let (ours, theirs) = UnixStream::pair().unwrap();
    let channel = Channel { to_agentd: theirs.as_fd(), to_agent: theirs.as_fd() };
    let running = bed.start(&bed.plan(&spec, Mode::Appliance), Some(channel));
    assert_eq!(running.started(), Started::Done);
    mount_tmpfs(&late);
    File::create(late.join("marker")).unwrap();
    let mut said = String::new();
    ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    BufReader::new(&ours).read_line(&mut said).unwrap();
    assert_eq!(said, "seen\n");
    // Not lazily: a mount that a cell held on to would be busy.
    umount2(&late, MntFlags::empty()).unwrap();
    let ended = running.end();
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(0), ""));
    umount2(&early, MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn a_link_of_the_host_is_followed_as_the_host_means_it() {
    let Some(mut bed) = Bed::as_root("a_link_of_the_host_is_followed") else { return };
    let (target, link) = (bed.dir.path().join("target"), bed.dir.path().join("link"));
    fs::write(&target, "content").unwrap();
    allow_all(&target);
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let mut spec = spec(&[]);
    spec.cell.read = [link.clone()].into();
    bed.facts.paths.insert(link.clone());
    let script =
        format!("cat {0}; test ! -L {0}; ls {1}", link.display(), bed.dir.path().display());
    assert_eq!(bed.shell(&spec, Mode::Appliance, &script), "contentlink\n");
}

#[test]
fn devices_work_only_where_they_are_named() {
    let Some(mut bed) = Bed::as_root("devices_work_only_where_they_are_named") else { return };
    own_mounts();
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let node = dir.path().join("zero");
    let zero = nix::sys::stat::makedev(1, 5);
    let kind = nix::sys::stat::SFlag::S_IFCHR;
    nix::sys::stat::mknod(&node, kind, nix::sys::stat::Mode::all(), zero).unwrap();
    allow_all(dir.path());
    allow_all(&node);
    let read = |path: &Path| format!("(head -c 1 {} | wc -c) 2>&1", path.display());
    let mut spec = spec(&[]);
    spec.cell.read = [dir.path().to_owned(), "/dev/tty".into()].into();
    bed.facts.paths.extend(spec.cell.read.clone());
    let said = bed.shell(&spec, Mode::Appliance, &read(&node));
    assert!(said.contains("Permission denied") && said.ends_with("0\n"), "{said}");
    let said = bed.shell(&spec, Mode::Appliance, "ls /dev | tr '\\n' ' '");
    assert_eq!(said, "full null random tty urandom zero ");
    assert_eq!(bed.shell(&spec, Mode::Appliance, &read(Path::new("/dev/zero"))), "1\n");
}

#[test]
fn a_path_that_vanished_after_planning_is_named() {
    let Some(bed) = Bed::as_root("a_path_that_vanished") else { return };
    let mut plan = bed.plan(&spec(&["/usr/bin/true"]), Mode::Appliance);
    let flags = BindFlags { writable: false, devices: false };
    let bind = Op::Bind { path: "/nonexistent/x".into(), flags };
    replace(&mut plan, |op| matches!(op, Op::PrivateTmp { .. }), bind);
    let ended = bed.start(&plan, None).end();
    assert_eq!(ended.failure().op, "show /nonexistent/x read-only");
    assert!(ended.failure().error.starts_with("No such file or directory"), "{ended:?}");
    assert_eq!(ended.status, Some(126));
}

#[test]
fn the_host_is_out_of_reach_once_detached() {
    let Some(bed) = Bed::as_root("the_host_is_out_of_reach") else { return };
    let mut spec = spec(&[]);
    spec.cell.read = paths(["/proc"]);
    // chroot(2) out of the root and the mount table are the two ways that would show it.
    let seen =
        bed.shell(&spec, Mode::Appliance, "cut -d' ' -f5 /proc/self/mountinfo | grep -v ^/proc");
    let seen: Vec<&str> = seen.lines().filter(|point| !point.starts_with("/usr/")).collect();
    let mut own = vec!["/", "/dev", "/dev/null", "/dev/zero", "/dev/full", "/dev/random"];
    own.extend(["/dev/urandom", "/tmp", "/usr"]);
    if bed.facts.journal {
        own.insert(7, "/run/systemd/journal/socket");
    }
    assert_eq!(seen, own);
    let seen = bed.shell(&spec, Mode::Appliance, "ls -A /..; readlink /proc/self/root");
    assert!(seen.ends_with("usr\n/\n") && !seen.contains("etc"), "{seen}");
}
