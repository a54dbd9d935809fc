//! A spec and facts to start from; each test changes what it is about.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test program uses a part; test code, but not a #[test] to clippy"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentd_cell::{CgroupBase, HostFacts, Ids};
use agentd_model::{AgentSpec, Budget, CellSpec, Criticality, RestartPolicy, RestartWhen};

/// Uid and gid that no package of Debian hands out.
pub(crate) const IDS: Ids = Ids { uid: 64_901, gid: 64_902 };
/// A supplementary group, likewise.
pub(crate) const EXTRA_GID: u32 = 64_903;

pub(crate) fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

pub(crate) fn paths<const N: usize>(names: [&str; N]) -> BTreeSet<PathBuf> {
    names.map(PathBuf::from).into()
}

pub(crate) fn spec(exec: &[&str]) -> AgentSpec {
    AgentSpec {
        name: "network".parse().unwrap(),
        summary: "looks after the network".into(),
        exec: exec.iter().map(|arg| (*arg).to_owned()).collect(),
        after: BTreeSet::new(),
        needs: BTreeSet::new(),
        criticality: Criticality::Important,
        kit: false,
        enabled: true,
        restart: RestartPolicy {
            when: RestartWhen::OnFailure,
            first_delay: Duration::ZERO,
            max_delay: Duration::from_secs(30),
            budget: Budget { starts: 5, within: Duration::from_secs(300) },
            stable_after: Duration::from_secs(60),
            ready_within: Duration::from_secs(10),
            heartbeat: Duration::from_secs(5),
            stop_grace: Duration::from_secs(5),
        },
        cell: CellSpec {
            user: "agentos-network".into(),
            groups: BTreeSet::new(),
            capabilities: BTreeSet::new(),
            read: BTreeSet::new(),
            write: BTreeSet::new(),
            memory_max: None,
            tasks_max: None,
            cpu_weight: None,
            files_max: 256,
        },
        checks: BTreeMap::new(),
    }
}

/// An appliance, with agentd as root.
pub(crate) fn facts() -> HostFacts {
    let held = ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"];
    HostFacts {
        euid: 0,
        capabilities: held.into_iter().chain(["CAP_SYS_ADMIN"]).map(str::to_owned).collect(),
        files_hard: 524_288,
        users: [("agentos-network".to_owned(), IDS)].into(),
        groups: [("systemd-journal".to_owned(), EXTRA_GID)].into(),
        paths: paths(["/", "/etc", "/etc/agentos", "/proc", "/run/systemd/netif", "/srv"]),
        root_links: ["bin", "lib", "lib64", "sbin"]
            .map(|name| (name.to_owned(), Path::new("usr").join(name)))
            .into(),
        cgroup: Some(CgroupBase {
            dir: "/sys/fs/cgroup/system.slice/agentd.service".into(),
            controllers: set(["cpu", "io", "memory", "pids"]),
        }),
        journal: true,
    }
}
