//! Each op as the system calls it stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, NulError};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use agentd_cell::{Op, sys};
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, chdir, execve, setgroups, setresgid, setresuid, setsid};

use crate::mounts::Mounts;

/// What is carried from one op to a later one.
#[derive(Debug)]
pub(crate) struct Cell {
    mounts: Mounts,
    channel: Vec<OwnedFd>,
}

impl Cell {
    pub(crate) fn new(channel: Vec<OwnedFd>) -> Self {
        Self { mounts: Mounts::default(), channel }
    }

    /// Applies one op. [`Op::Exec`] returns only if it failed.
    pub(crate) fn apply(&mut self, op: &Op) -> io::Result<()> {
        match op {
            Op::JoinCgroup { procs } => join_cgroup(procs),
            Op::NewSession => done(setsid()),
            Op::ResetSignals => sys::reset_signals(),
            Op::ResetOomScore => reset_oom_score(),
            Op::UnshareMounts => self.mounts.unshare(),
            Op::EmptyRoot => self.mounts.empty_root(),
            Op::HostRoot => self.mounts.host_root(),
            Op::Symlink { path, target } => symlink(target, path),
            Op::Bind { path, flags } => self.mounts.bind(path, *flags),
            Op::PrivateTmp { path, bytes } => self.mounts.private_tmp(path, *bytes),
            Op::PrivateDev => self.mounts.private_dev(),
            Op::Seal { path } => self.mounts.seal(path),
            Op::DetachHost => self.mounts.detach_host(),
            Op::EnterRoot => done(chdir("/")),
            Op::Umask { mask } => {
                umask(Mode::from_bits_truncate(*mask));
                Ok(())
            }
            Op::NoCoreDumps => done(setrlimit(Resource::RLIMIT_CORE, 0, 0)),
            Op::LimitFiles { most } => done(setrlimit(Resource::RLIMIT_NOFILE, *most, *most)),
            Op::SetGroups { groups } => set_groups(groups),
            Op::BoundCapabilities { keep } => bound_capabilities(keep),
            Op::SetIds { user: _, uid, gid, keep_capabilities } => {
                set_ids(Uid::from_raw(*uid), Gid::from_raw(*gid), *keep_capabilities)
            }
            Op::SetCapabilities { keep } => set_capabilities(keep),
            Op::NoNewPrivileges => done(prctl::set_no_new_privs()),
            Op::Descriptors { channel } => self.descriptors(*channel),
            Op::Exec { argv, env } => run(argv, env),
        }
    }

    fn descriptors(&mut self, wanted: bool) -> io::Result<()> {
        let mut first_unused = 3;
        if wanted {
            let [to_agentd, to_agent] = self.channel.as_slice() else {
                let why = format!("2 descriptors wanted, {} handed over", self.channel.len());
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            };
            sys::duplicate_to(to_agentd, 3)?;
            sys::duplicate_to(to_agent, 4)?;
            first_unused = 5;
        }
        sys::close_from(first_unused)
    }
}

fn done<T>(result: nix::Result<T>) -> io::Result<()> {
    result.map(drop).map_err(io::Error::from)
}

fn join_cgroup(procs: &Path) -> io::Result<()> {
    // "0" is the writer itself: right in whatever pid namespace this runs.
    OpenOptions::new().write(true).open(procs)?.write_all(b"0")
}

fn reset_oom_score() -> io::Result<()> {
    let file = "/proc/self/oom_score_adj";
    // Lowering takes CAP_SYS_RESOURCE; what stands above zero was meant for agentd's children, too.
    let now = std::fs::read_to_string(file)?;
    if now.trim().starts_with('-') { std::fs::write(file, "0") } else { Ok(()) }
}

fn set_groups(groups: &BTreeMap<String, u32>) -> io::Result<()> {
    let gids: Vec<Gid> = groups.values().map(|gid| Gid::from_raw(*gid)).collect();
    done(setgroups(&gids))
}

fn bound_capabilities(keep: &BTreeSet<String>) -> io::Result<()> {
    let keep: BTreeSet<u8> = parse(keep)?.iter().map(Capability::index).collect();
    // By number and not by name, until the kernel knows no more: a newer one may have some that
    // have no name here. A capability set has 64 bits (capabilities(7)).
    for number in 0..64 {
        if !keep.contains(&number) && !sys::drop_bounding(number)? {
            break;
        }
    }
    Ok(())
}

fn set_ids(uid: Uid, gid: Gid, keep_capabilities: bool) -> io::Result<()> {
    // Cleared again by execve(2).
    prctl::set_keepcaps(keep_capabilities)?;
    setresgid(gid, gid, gid)?;
    done(setresuid(uid, uid, uid))
}

fn set_capabilities(keep: &BTreeSet<String>) -> io::Result<()> {
    let keep = parse(keep)?;
    let failed = |error: caps::errors::CapsError| io::Error::other(error.to_string());
    // In this order because no effective capability may be left that is not permitted, and ambient
    // ones must be permitted and inheritable before (capabilities(7)).
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable, CapSet::Ambient] {
        caps::set(None, set, &keep).map_err(failed)?;
    }
    Ok(())
}

fn parse(names: &BTreeSet<String>) -> io::Result<CapsHashSet> {
    let known = |name: &String| {
        name.parse::<Capability>()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
    };
    names.iter().map(known).collect()
}

fn run(argv: &[String], env: &BTreeMap<String, String>) -> io::Result<()> {
    let argv = argv.iter().map(|arg| CString::new(arg.as_str()));
    let argv: Vec<CString> = argv.collect::<Result<_, NulError>>()?;
    let env = env.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
    let env: Vec<CString> = env.collect::<Result<_, NulError>>()?;
    let Some(program) = argv.first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no program"));
    };
    match execve(program, &argv, &env) {
        Ok(never) => match never {},
        Err(error) => Err(error.into()),
    }
}
