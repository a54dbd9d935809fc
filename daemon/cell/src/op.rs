//! The operations of a plan: data, a line of text each, and nothing that acts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a bound path appears in the cell. `nosuid` is always set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindFlags {
    /// Whether it may be written to.
    pub writable: bool,
    /// Whether device nodes below it work.
    pub devices: bool,
}

/// One step from a fresh process to an agent in its cell.
///
/// A plan holds its ops in the order in which they stand here, because each needs what a later one
/// takes away: paths of the host before the host is detached, capabilities before they are dropped.
/// (Only [`Op::Bind`], [`Op::PrivateTmp`] and [`Op::PrivateDev`] mix: by path, parents first.)
/// What is still to come has its place in that order: the other namespaces with
/// [`Op::UnshareMounts`], Landlock after [`Op::NoNewPrivileges`] (landlock_restrict_self(2) wants
/// it), seccomp after [`Op::Descriptors`], the last thing before [`Op::Exec`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Op {
    /// Joins the control group that agentd made, before anything that costs memory.
    JoinCgroup {
        /// Its `cgroup.procs`.
        procs: PathBuf,
    },
    /// Leads a session of its own: no terminal, no signals meant for agentd's process group.
    NewSession,
    /// Every signal unblocked and at its default: an ignored signal survives execve(2).
    ResetSignals,
    /// As likely to be killed for want of memory as any process: agentd is less likely, and its
    /// children would be, too (proc_pid_oom_score_adj(5)). Raising it takes no right.
    ResetOomScore,
    /// Enters a mount namespace of its own. Mounts and unmounts of the host still come in, none go
    /// out (mount_namespaces(7), `MS_SLAVE`).
    UnshareMounts,
    /// Begins with an empty root on a small tmpfs; the host stays in reach of [`Op::Bind`] only.
    EmptyRoot,
    /// Begins with the whole file system of the host, read-only, `nosuid` and `nodev`. A mount that
    /// the host makes later appears in it with the flags the host gave it.
    HostRoot,
    /// A symbolic link in the new root.
    Symlink {
        /// Where it lies.
        path: PathBuf,
        /// Where it points.
        target: PathBuf,
    },
    /// Shows a path of the host at the same place, with everything mounted below it.
    Bind {
        /// Which.
        path: PathBuf,
        /// How.
        flags: BindFlags,
    },
    /// An empty directory of its own for temporary files: world-writable, sticky, `nosuid`, `nodev`.
    PrivateTmp {
        /// Where.
        path: PathBuf,
        /// How much it holds. It also counts against the control group's memory.
        bytes: u64,
    },
    /// A `/dev` of its own with [`Op::DEVICES`] alone.
    PrivateDev,
    /// Makes what the ops before made at `path`, in which mount points were still to be made,
    /// read-only.
    Seal {
        /// Which.
        path: PathBuf,
    },
    /// Lets go of the host's file system; what was not bound is out of reach from here on.
    DetachHost,
    /// Goes to the root directory.
    EnterRoot,
    /// Sets the file mode creation mask.
    Umask {
        /// The bits that new files do not get.
        mask: u32,
    },
    /// No core dumps.
    NoCoreDumps,
    /// Limits open files, soft and hard.
    LimitFiles {
        /// How many.
        most: u64,
    },
    /// Sets the supplementary groups.
    SetGroups {
        /// All of them, with their gids.
        groups: BTreeMap<String, u32>,
    },
    /// Drops all other capabilities from the bounding set.
    BoundCapabilities {
        /// The ones that stay.
        keep: BTreeSet<String>,
    },
    /// Becomes the agent's user, for good.
    SetIds {
        /// Its name, for the reader.
        user: String,
        /// Real, effective and saved uid.
        uid: u32,
        /// Real, effective and saved gid.
        gid: u32,
        /// Whether permitted capabilities outlive the change (for [`Op::SetCapabilities`]).
        keep_capabilities: bool,
    },
    /// Sets the effective, permitted, inheritable and ambient capabilities to exactly these.
    SetCapabilities {
        /// These.
        keep: BTreeSet<String>,
    },
    /// No execve(2) ever gains a privilege again.
    NoNewPrivileges,
    /// Standard input is `/dev/null`, output stays, the channel is on 3 and 4 if there is one, and
    /// nothing else is left open for the agent.
    Descriptors {
        /// Whether the agent speaks the channel.
        channel: bool,
    },
    /// Becomes the agent.
    Exec {
        /// Program (an absolute path, also `argv[0]`) and arguments.
        argv: Vec<String>,
        /// The whole environment.
        env: BTreeMap<String, String>,
    },
}

impl Op {
    /// The device nodes of [`Op::PrivateDev`].
    pub const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JoinCgroup { procs } => write!(f, "join {}", procs.display()),
            Self::NewSession => f.write_str("lead a new session"),
            Self::ResetSignals => f.write_str("reset all signals"),
            Self::ResetOomScore => f.write_str("no protection from the out-of-memory killer"),
            Self::Umask { mask } => write!(f, "umask {mask:04o}"),
            Self::NoCoreDumps => f.write_str("no core dumps"),
            Self::LimitFiles { most } => write!(f, "at most {most} open files"),
            Self::UnshareMounts => f.write_str("enter a private mount namespace"),
            Self::EmptyRoot => f.write_str("begin with an empty root"),
            Self::HostRoot => f.write_str("show / read-only"),
            Self::Symlink { path, target } => {
                write!(f, "link {} to {}", path.display(), target.display())
            }
            Self::Bind { path, flags } => {
                let access = if flags.writable { "writable" } else { "read-only" };
                let devices = if flags.devices { ", with devices" } else { "" };
                write!(f, "show {} {access}{devices}", path.display())
            }
            Self::PrivateTmp { path, bytes } => {
                write!(f, "private {} of at most {bytes} bytes", path.display())
            }
            Self::PrivateDev => write!(f, "private /dev with {}", Self::DEVICES.join(", ")),
            Self::DetachHost => f.write_str("detach the host's file system"),
            Self::Seal { path } => write!(f, "make {} read-only", path.display()),
            Self::EnterRoot => f.write_str("change directory to /"),
            Self::SetGroups { groups } if groups.is_empty() => {
                f.write_str("no supplementary groups")
            }
            Self::SetGroups { groups } => {
                f.write_str("supplementary groups")?;
                groups.iter().try_for_each(|(name, gid)| write!(f, " {name} ({gid})"))
            }
            Self::BoundCapabilities { keep } => {
                f.write_str("capability bounding set:")?;
                write_capabilities(f, keep)
            }
            Self::SetIds { user, uid, gid, keep_capabilities } => {
                let kept = if *keep_capabilities { ", capabilities kept until set" } else { "" };
                write!(f, "become user {user} (uid {uid}, gid {gid}){kept}")
            }
            Self::SetCapabilities { keep } => {
                f.write_str("capabilities:")?;
                write_capabilities(f, keep)
            }
            Self::NoNewPrivileges => f.write_str("no new privileges"),
            Self::Descriptors { channel: true } => {
                f.write_str("close all descriptors but 0, 1, 2 and the channel on 3 and 4")
            }
            Self::Descriptors { channel: false } => {
                f.write_str("close all descriptors but 0, 1 and 2")
            }
            Self::Exec { argv, env } => {
                f.write_str("run")?;
                argv.iter().try_for_each(|arg| write!(f, " {}", Word(arg)))?;
                f.write_str(" with environment")?;
                env.iter().try_for_each(|(name, value)| write!(f, " {name}={}", Word(value)))
            }
        }
    }
}

fn write_capabilities(f: &mut fmt::Formatter<'_>, names: &BTreeSet<String>) -> fmt::Result {
    if names.is_empty() {
        return f.write_str(" none");
    }
    names.iter().try_for_each(|name| write!(f, " {name}"))
}

/// Quotes only what would be misread, so that an op stays one line whatever a spec holds.
struct Word<'a>(&'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
        if !self.0.is_empty() && self.0.chars().all(plain) {
            f.write_str(self.0)
        } else {
            write!(f, "{:?}", self.0)
        }
    }
}
