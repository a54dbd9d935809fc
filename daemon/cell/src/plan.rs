//! From a spec and facts to a plan: pure, and the only place that decides what a cell is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use agentd_model::{AgentName, AgentSpec};
use serde::{Deserialize, Serialize};

use crate::view::{self, View};
use crate::{CgroupBase, HostFacts, Ids, Op, PlanError};

/// Where agentd runs, and so what a confinement that cannot be had means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An appliance: everything the spec asks for, or no agent at all.
    Appliance,
    /// A scratch directory: agents run as agentd's own user on the whole file system, root or not;
    /// what cannot be had is listed in [`Plan::missing`].
    Scratch,
}

/// One file of a control group and what is written to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// `memory.max`, ...
    pub file: String,
    /// What is written.
    pub value: String,
}

/// The control group that agentd makes before the launcher joins it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CgroupPlan {
    /// The delegated group.
    pub base: PathBuf,
    /// The agent's own: `BASE/agents/NAME`.
    pub leaf: PathBuf,
    /// Controllers to enable on the way down.
    pub controllers: Vec<String>,
    /// Its limits.
    pub settings: Vec<Setting>,
}

/// How one agent is started: what agentd prepares and what the launcher does, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Whose.
    pub agent: AgentName,
    /// Its control group, where there is one.
    pub cgroup: Option<CgroupPlan>,
    /// What the launcher does.
    pub ops: Vec<Op>,
    /// What the spec asks and this host cannot give, a sentence each.
    pub missing: Vec<String>,
}

impl Plan {
    /// The plan for a person, a line for each step, agentd's own first.
    pub fn lines(&self) -> Vec<String> {
        let group = self.cgroup.iter().flat_map(|group| {
            let make = format!("make control group {}", group.leaf.display());
            let settings = group.settings.iter().map(|s| format!("set {} to {}", s.file, s.value));
            std::iter::once(make).chain(settings)
        });
        group.chain(self.ops.iter().map(ToString::to_string)).collect()
    }

    /// Whether the agent is handed a channel.
    pub fn wants_channel(&self) -> bool {
        self.ops.contains(&Op::Descriptors { channel: true })
    }
}

/// What applying a full cell takes.
const NEEDED: [&str; 4] = ["CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_ADMIN"];
/// Room in a private `/tmp`.
const TMP_BYTES: u64 = 16 << 20;
const UMASK: u32 = 0o077;

/// Plans the start of `spec` on the machine that `facts` describe, after
/// [`HostFacts::look_at`] `spec`. Fails if the spec is wrong anywhere, and on an appliance if
/// anything it asks cannot be had; a path that does not exist is left out and listed as missing.
pub fn plan(spec: &AgentSpec, facts: &HostFacts, mode: Mode) -> Result<Plan, PlanError> {
    let mut planner = Planner { spec, facts, mode, missing: Vec::new(), ops: Vec::new() };
    planner.check()?;
    let cgroup = planner.cgroup()?;
    planner.ops.extend([Op::NewSession, Op::ResetSignals, Op::ResetOomScore]);
    match mode {
        Mode::Appliance => planner.mounts()?,
        Mode::Scratch => planner.no_mounts(),
    }
    planner.limits_of_process()?;
    planner.rights()?;
    planner.program();
    Ok(Plan { agent: spec.name.clone(), cgroup, ops: planner.ops, missing: planner.missing })
}

struct Planner<'a> {
    spec: &'a AgentSpec,
    facts: &'a HostFacts,
    mode: Mode,
    missing: Vec<String>,
    ops: Vec<Op>,
}

impl Planner<'_> {
    fn agent(&self) -> AgentName {
        self.spec.name.clone()
    }

    fn has(&self, capability: &str) -> bool {
        self.facts.capabilities.contains(capability)
    }

    /// What is wrong with the spec wherever it runs.
    fn check(&self) -> Result<(), PlanError> {
        let cell = &self.spec.cell;
        if self.spec.exec.is_empty() {
            return Err(PlanError::NoProgram { agent: self.agent() });
        }
        for name in &cell.capabilities {
            let (agent, capability) = (self.agent(), name.clone());
            match name.parse::<caps::Capability>() {
                Ok(caps::Capability::CAP_SYS_ADMIN) => {
                    return Err(PlanError::ForbiddenCapability { agent, capability });
                }
                Ok(_) => {}
                Err(_) => return Err(PlanError::UnknownCapability { agent, capability }),
            }
        }
        match cell.write.iter().find(|path| view::is_system(path, self.facts)) {
            Some(path) => Err(PlanError::WritesSystem { agent: self.agent(), path: path.clone() }),
            None => Ok(()),
        }
    }

    fn cgroup(&mut self) -> Result<Option<CgroupPlan>, PlanError> {
        let Some(base) = &self.facts.cgroup else {
            return match self.mode {
                Mode::Appliance => Err(PlanError::NoCgroup { agent: self.agent() }),
                Mode::Scratch => {
                    self.missing.push("control group of its own: no delegated cgroup v2".into());
                    for (limit, _, _) in self.limits() {
                        self.missing.push(format!("{limit}: no delegated cgroup v2"));
                    }
                    Ok(None)
                }
            };
        };
        let mut settings = Vec::new();
        for (limit, controller, wanted) in self.limits() {
            if base.controllers.contains(controller) {
                settings.extend(wanted);
            } else if self.mode == Mode::Appliance {
                return Err(PlanError::NoController { agent: self.agent(), limit, controller });
            } else {
                self.missing.push(format!("{limit}: no cgroup v2 controller {controller}"));
            }
        }
        let group = cgroup_plan(base, &self.spec.name, settings);
        self.ops.push(Op::JoinCgroup { procs: group.leaf.join("cgroup.procs") });
        Ok(Some(group))
    }

    /// The limits that the spec asks for: their name there, the controller and the settings.
    fn limits(&self) -> Vec<(&'static str, &'static str, Vec<Setting>)> {
        let set = |file: &str, value: &dyn ToString| Setting {
            file: file.to_owned(),
            value: value.to_string(),
        };
        let cell = &self.spec.cell;
        let memory = cell.memory_max.map(|bytes| {
            // The whole agent or none of it: a half-killed one is neither running nor ended.
            let settings = vec![set("memory.max", &bytes), set("memory.oom.group", &1)];
            ("memory_max", "memory", settings)
        });
        let tasks = cell.tasks_max.map(|n| ("tasks_max", "pids", vec![set("pids.max", &n)]));
        let cpu = cell.cpu_weight.map(|n| ("cpu_weight", "cpu", vec![set("cpu.weight", &n)]));
        memory.into_iter().chain(tasks).chain(cpu).collect()
    }

    fn limits_of_process(&mut self) -> Result<(), PlanError> {
        self.ops.extend([Op::Umask { mask: UMASK }, Op::NoCoreDumps]);
        let (asked, hard) = (self.spec.cell.files_max, self.facts.files_hard);
        let mut most = u64::from(asked);
        if most > hard && !self.has("CAP_SYS_RESOURCE") {
            if self.mode == Mode::Appliance {
                return Err(PlanError::FilesMax { agent: self.agent(), asked, hard });
            }
            self.missing.push(format!("files_max = {asked}: agentd's own limit is {hard}"));
            most = hard;
        }
        self.ops.push(Op::LimitFiles { most });
        Ok(())
    }

    /// The file system as the agent sees it.
    fn mounts(&mut self) -> Result<(), PlanError> {
        for needed in NEEDED {
            if !self.has(needed) {
                let capability = needed.to_owned();
                return Err(PlanError::Unprivileged { agent: self.agent(), capability });
            }
        }
        let views = view::views(&self.spec.cell, self.facts, &mut self.missing);
        if let Some(program) =
            self.spec.exec.first().filter(|p| !view::shows(&views, p, self.facts))
        {
            let program = program.clone();
            return Err(PlanError::HiddenProgram { agent: self.agent(), program });
        }
        self.ops.push(Op::UnshareMounts);
        let root = PathBuf::from("/");
        let is_host_root = views.contains_key(&root);
        if is_host_root {
            self.ops.push(Op::HostRoot);
        } else {
            self.ops.push(Op::EmptyRoot);
            let links = self.facts.root_links.iter();
            self.ops.extend(links.map(|(name, target)| Op::Symlink {
                path: root.join(name),
                target: target.clone(),
            }));
        }
        let below = views.iter().filter(|(path, _)| **path != root);
        self.ops.extend(below.map(|(path, view)| match view {
            View::Host(flags) => Op::Bind { path: path.clone(), flags: *flags },
            View::PrivateTmp => Op::PrivateTmp { path: path.clone(), bytes: TMP_BYTES },
            View::PrivateDev => Op::PrivateDev,
        }));
        if views.get(Path::new("/dev")) == Some(&View::PrivateDev) {
            self.ops.push(Op::Seal { path: PathBuf::from("/dev") });
        }
        if !is_host_root {
            self.ops.push(Op::Seal { path: root });
        }
        self.ops.extend([Op::DetachHost, Op::EnterRoot]);
        Ok(())
    }

    fn no_mounts(&mut self) {
        let why = "only on an appliance";
        self.missing.push(format!("mount namespace of its own: {why}"));
        self.ops.push(Op::EnterRoot);
    }

    /// Groups, capabilities and user, from the most privileged step to the least.
    fn rights(&mut self) -> Result<(), PlanError> {
        let cell = &self.spec.cell;
        let (held, lacking): (BTreeSet<_>, BTreeSet<_>) =
            cell.capabilities.iter().cloned().partition(|name| self.has(name));
        let ids = match self.mode {
            Mode::Appliance => {
                if let Some(capability) = lacking.into_iter().next() {
                    return Err(PlanError::Unprivileged { agent: self.agent(), capability });
                }
                let ids = self.ids()?;
                self.ops.push(Op::SetGroups { groups: self.groups()? });
                Some(ids)
            }
            Mode::Scratch => {
                let only = "only on an appliance";
                self.missing.push(format!("user {} of its own: {only}", cell.user));
                self.missing.extend(cell.groups.iter().map(|g| format!("group {g}: {only}")));
                self.missing.extend(lacking.iter().map(|c| format!("{c}: agentd lacks it")));
                None
            }
        };
        if self.has("CAP_SETPCAP") {
            self.ops.push(Op::BoundCapabilities { keep: held.clone() });
        }
        if let Some(Ids { uid, gid }) = ids {
            let keep_capabilities = !held.is_empty();
            self.ops.push(Op::SetIds { user: cell.user.clone(), uid, gid, keep_capabilities });
        }
        self.ops.extend([Op::SetCapabilities { keep: held }, Op::NoNewPrivileges]);
        Ok(())
    }

    fn ids(&self) -> Result<Ids, PlanError> {
        let user = self.spec.cell.user.clone();
        match self.facts.users.get(&user) {
            None => Err(PlanError::UnknownUser { agent: self.agent(), user }),
            Some(ids) if ids.uid == 0 || ids.gid == 0 => {
                Err(PlanError::RootUser { agent: self.agent(), user })
            }
            Some(ids) => Ok(*ids),
        }
    }

    fn groups(&self) -> Result<BTreeMap<String, u32>, PlanError> {
        let gid_of = |group: &String| match self.facts.groups.get(group) {
            Some(gid) => Ok((group.clone(), *gid)),
            None => Err(PlanError::UnknownGroup { agent: self.agent(), group: group.clone() }),
        };
        self.spec.cell.groups.iter().map(gid_of).collect()
    }

    fn program(&mut self) {
        let env = [
            ("AGENTOS_AGENT", self.spec.name.as_str()),
            ("HOME", "/"),
            ("LANG", "C.UTF-8"),
            ("PATH", "/usr/sbin:/usr/bin"),
        ];
        self.ops.push(Op::Descriptors { channel: self.spec.kit });
        self.ops.push(Op::Exec {
            argv: self.spec.exec.clone(),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        });
    }
}

fn cgroup_plan(base: &CgroupBase, agent: &AgentName, settings: Vec<Setting>) -> CgroupPlan {
    // Those of which the monitor reads each agent's use, limited or not. Only what is listed: one
    // absent name makes the kernel refuse the whole write.
    let wanted = ["cpu", "memory", "pids"];
    CgroupPlan {
        base: base.dir.clone(),
        leaf: base.dir.join("agents").join(agent.as_str()),
        controllers: wanted
            .iter()
            .filter(|name| base.controllers.contains(**name))
            .map(|name| (*name).to_owned())
            .collect(),
        settings,
    }
}
