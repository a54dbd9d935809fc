//! What a machine that is not quite well answers: one of each, with times around [`NOW`].

#![allow(dead_code, reason = "shared: not every test uses every sample")]

use std::collections::BTreeMap;

use agentd_model::Severity;
use agentd_protocol::control::*;

/// 2026-11-20T08:30:00Z.
pub(crate) const NOW: i64 = 1_795_163_400_000;

const MINUTE: i64 = 60_000;
const DAY: i64 = 86_400_000;

/// Text that a terminal would obey.
pub(crate) const HOSTILE: &str = "red \u{1b}[31m csi \u{9b}2J bell \u{7} turned \u{202e} end";

fn strings(of: &[&str]) -> Vec<String> {
    of.iter().map(|text| (*text).to_owned()).collect()
}

fn map(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn check(name: &str, summary: &str, state: &str) -> CheckView {
    let is_measured = state == "measured";
    CheckView {
        name: name.to_owned(),
        summary: summary.to_owned(),
        state: state.to_owned(),
        reason: None,
        every_ms: 10_000,
        last_ms: is_measured.then_some(NOW - 4_000),
        took_ms: is_measured.then_some(12),
    }
}

/// An agent that runs and is well.
pub(crate) fn agent(name: &str, summary: &str, pid: i32) -> AgentView {
    AgentView {
        name: name.to_owned(),
        summary: summary.to_owned(),
        want: "up".to_owned(),
        enabled: true,
        phase: PhaseName::Running,
        detail: None,
        since_ms: NOW - 200_000,
        pid: Some(pid),
        started_ms: Some(NOW - 201_000),
        user: format!("agentos-{name}"),
        cgroup: Some(format!("/system.slice/agentd.service/agents/{name}")),
        health: Health::Ok,
        health_reasons: Vec::new(),
        restarts: 0,
        failures: 0,
        last_exit: None,
        criticality: "important".to_owned(),
        exec: vec![format!("/usr/lib/agentos/agents/{name}")],
        version: Some("0.1.0".to_owned()),
        checks: Vec::new(),
        findings: 0,
        seq: 20,
    }
}

/// The agent without a process, in that phase.
pub(crate) fn down(agent: AgentView, phase: PhaseName, detail: Option<&str>) -> AgentView {
    AgentView {
        phase,
        detail: detail.map(str::to_owned),
        pid: None,
        started_ms: None,
        health: Health::Unknown,
        ..agent
    }
}

/// The agent that has the most to tell.
pub(crate) fn network() -> AgentView {
    let reason = "no answer to 3 echo requests within 5s";
    AgentView {
        health: Health::Degraded,
        health_reasons: vec![format!("check gateway is unknown: {reason}")],
        restarts: 1,
        failures: 1,
        last_exit: Some("signal SIGKILL".to_owned()),
        findings: 2,
        checks: vec![
            check("links", "links and their carrier", "measured"),
            check("dns", "whether names are resolved", "measured"),
            CheckView {
                reason: Some(reason.to_owned()),
                every_ms: 30_000,
                last_ms: Some(NOW - 20_000),
                took_ms: Some(5_000),
                ..check("gateway", "whether the default gateway answers", "unknown")
            },
            CheckView {
                every_ms: 60_000,
                ..check("errors", "error rates of every interface", "pending")
            },
        ],
        ..agent("network", "links, addresses, default route, gateway and DNS", 409)
    }
}

/// Five agents of the house and one of the site, in every kind of trouble.
pub(crate) fn agents() -> AgentList {
    let security = agent("security", "listening sockets, logins, accounts", 0);
    let system = agent("system", "failed units, pressure, memory kills, clock", 0);
    let annex = agent("web-cam-uploader-of-the-annex", "pictures", 0);
    AgentList {
        seq: 26,
        agents: vec![
            agent("monitor", "samples of the machine and of every agent", 412),
            network(),
            AgentView {
                restarts: 4,
                failures: 5,
                last_exit: Some("exit status 101".to_owned()),
                ..down(security, PhaseName::Failed, Some("5 starts within 5min are used up"))
            },
            AgentView {
                findings: 1,
                started_ms: Some(NOW - 3 * DAY - 7_200_000),
                ..agent("storage", "space, inodes, errors and SMART", 10_411)
            },
            AgentView {
                failures: 2,
                last_exit: Some("exit status 1".to_owned()),
                ..down(system, PhaseName::Backoff, Some("next start in 8s"))
            },
            AgentView {
                want: "down".to_owned(),
                enabled: false,
                ..down(annex, PhaseName::Idle, None)
            },
        ],
    }
}

/// All agents, all well.
pub(crate) fn well() -> AgentList {
    let names = ["monitor", "network", "security", "storage", "system"];
    let agents = names.into_iter().zip(401..).map(|(name, pid)| agent(name, "x", pid));
    AgentList { seq: 20, agents: agents.collect() }
}

fn event(seq: u64, kind: &str, agent: Option<&str>, message: &str, ago: i64) -> EventView {
    EventView {
        seq,
        time_ms: NOW - ago,
        kind: kind.to_owned(),
        agent: agent.map(str::to_owned),
        message: message.to_owned(),
        fields: BTreeMap::new(),
    }
}

/// What happened there.
pub(crate) fn events() -> Vec<EventView> {
    let network = Some("network");
    let dns = "warning: DNS does not answer: 3 of 3 queries to 127.0.0.53 timed out, and none of \
               the other servers that are configured did better";
    let with =
        |event: EventView, fields: &[(&str, &str)]| EventView { fields: map(fields), ..event };
    vec![
        with(event(20, kind::AGENTD, None, "agentd 0.1.0 started", 3 * DAY), &[("pid", "212")]),
        event(21, kind::PHASE, network, "starting, process 409", 201_000),
        with(
            event(22, kind::PHASE, network, "running, process 409", 200_000),
            &[("to", "running")],
        ),
        with(event(23, kind::FINDING_OPENED, network, dns, 100_000), &[("severity", "warning")]),
        with(
            event(25, kind::PHASE, Some("security"), "failed: 5 starts are used up", 45_000),
            &[("to", "failed")],
        ),
    ]
}

/// What the agents found.
pub(crate) fn findings() -> Vec<FindingView> {
    let open = |agent: &str, check: &str, severity, summary: &str, evidence: &[(&str, &str)]| {
        FindingView {
            agent: agent.to_owned(),
            check: check.to_owned(),
            key: format!("{check}:x"),
            severity,
            summary: summary.to_owned(),
            evidence: map(evidence),
            opened_ms: NOW - 10 * MINUTE,
            seen_ms: NOW - 3_000,
            resolved_ms: None,
            stale: false,
        }
    };
    let disk = [("free_bytes", "41943040"), ("path", "/var"), ("used_percent", "96.2")];
    let dns = "DNS does not answer: 3 of 3 queries to 127.0.0.53 timed out";
    let dns_evidence = [("error", "timed out"), ("server", "127.0.0.53")];
    vec![
        open("storage", "space", Severity::Critical, "/var is 96.2 % full", &disk),
        open("network", "dns", Severity::Warning, dns, &dns_evidence),
        FindingView {
            stale: true,
            ..open("network", "gateway", Severity::Warning, "the gateway does not answer", &[])
        },
        FindingView {
            opened_ms: NOW - 2 * DAY,
            resolved_ms: Some(NOW - 60 * MINUTE),
            ..open("system", "units", Severity::Info, "unit foo.service failed", &[])
        },
    ]
}

/// The series there are.
pub(crate) fn metrics() -> MetricList {
    let info = |name: &str, unit: &str, last| MetricInfo {
        name: name.to_owned(),
        unit: unit.to_owned(),
        last,
        last_ms: NOW - 4_000,
    };
    MetricList {
        metrics: vec![
            info("agent.network.memory", "bytes", 5_242_880.0),
            info("cpu.busy", "percent", 12.345),
            info("disk.vda.read", "bytes/s", 82_000.0),
            info("load.1", "1", 0.42),
        ],
    }
}

/// One of them, of so many minutes; every seventh is missing.
pub(crate) fn series(minutes: u32) -> MetricSeries {
    let first = NOW - i64::from(minutes) * MINUTE;
    let point = |minute: u32| {
        let mean = f64::from(minute % 20) * 4.5;
        MetricPoint {
            minute_ms: first + i64::from(minute) * MINUTE,
            count: 6,
            min: mean / 2.0,
            mean,
            max: mean * 1.1,
        }
    };
    let points = (0..minutes).filter(|minute| minute % 7 != 3).map(point).collect();
    MetricSeries { name: "cpu.busy".to_owned(), unit: "percent".to_owned(), points }
}

/// agentd in a scratch directory, with configuration that it refused.
pub(crate) fn status() -> Status {
    let message = "line 3, column 1: unknown key \"exce\"; did you mean \"exec\"? The last good \
                   configuration stays in force";
    Status {
        version: "0.1.0".to_owned(),
        pid: 212,
        started_ms: NOW - 5 * MINUTE,
        all_ready_boot_ms: Some(14_230),
        root: "/tmp/scratch".to_owned(),
        logs: "/tmp/scratch/var/log/agentos".to_owned(),
        seq: 26,
        problems: vec![Problem {
            area: "config".to_owned(),
            subject: "/etc/agentos/agents.d/network.toml".to_owned(),
            message: message.to_owned(),
        }],
        limits: strings(&[
            "no cgroup v2: agents are not limited, and what they leave behind is not found",
            "not root: every agent runs as the user of agentd",
        ]),
    }
}

/// agentd on a machine that is well.
pub(crate) fn good_status() -> Status {
    let root = "/".to_owned();
    let logs = "journal".to_owned();
    Status { root, logs, problems: Vec::new(), limits: Vec::new(), ..status() }
}

/// The cell of an agent.
pub(crate) fn explanation() -> Explanation {
    Explanation {
        name: "network".to_owned(),
        operations: strings(&[
            "join the control group agents/network",
            "new mount namespace",
            "mount /etc/agentos and /run/systemd/netif read-only, with all that is below them",
            "set gid 991, uid 991",
            "keep CAP_NET_ADMIN, CAP_NET_RAW",
            "no new privileges",
            "exec /usr/lib/agentos/agents/network",
        ]),
        missing: strings(&["no cgroup v2: memory and tasks are not limited"]),
    }
}

/// What a reload would change.
pub(crate) fn reload() -> ReloadReport {
    ReloadReport {
        added: strings(&["web"]),
        changed: strings(&["network", "storage"]),
        removed: Vec::new(),
        applied: false,
    }
}
