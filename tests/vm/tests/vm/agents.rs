//! The five agents and their cells.

use std::collections::BTreeSet;

use agentd_protocol::control::{Explanation, MetricList, MetricSeries};

use crate::machine::Machine;

const NAMES: [&str; 5] = ["monitor", "network", "security", "storage", "system"];

pub(crate) fn five_agents_run_healthy_in_five_cells(machine: &mut Machine) {
    let agents = machine.agents();
    let names: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
    assert_eq!(names, NAMES);
    for agent in &agents {
        assert_eq!((agent.phase.as_str(), agent.health.as_str()), ("running", "ok"), "{agent:#?}");
        assert_eq!(agent.restarts, 0, "{agent:#?}");
        assert!(agent.checks.iter().all(|check| check.state == "measured"), "{agent:#?}");
    }
    let mut pids = BTreeSet::new();
    let mut uids = BTreeSet::new();
    let mut cgroups = BTreeSet::new();
    for agent in &agents {
        let pid = agent.pid.expect("a running agent has a process");
        let status = machine.run(&format!("cat /proc/{pid}/status"));
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
        };
        assert_eq!(field("NoNewPrivs:"), "1", "{}", agent.name);
        let score = machine.run(&format!("cat /proc/{pid}/oom_score_adj"));
        assert_eq!(score.trim(), "0", "{} is protected as agentd is", agent.name);
        let named = named_capabilities(machine, &agent.name);
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            let held = u64::from_str_radix(&field(set), 16).unwrap();
            assert_eq!(held, named, "{set} of {} is not what its spec names", agent.name);
        }
        let uid = field("Uid:");
        assert!(!uid.split_whitespace().any(|id| id == "0"), "{} has uid {uid}", agent.name);
        pids.insert(pid);
        uids.insert(uid);
        cgroups.insert(machine.run(&format!("cat /proc/{pid}/cgroup")));
        let cgroup = agent.cgroup.as_deref().expect("a cgroup");
        let procs = machine.run(&format!("cat {cgroup}/cgroup.procs"));
        assert_eq!(procs.trim(), pid.to_string(), "{} shares its cgroup", agent.name);
    }
    assert_eq!((pids.len(), uids.len(), cgroups.len()), (5, 5, 5));
}

/// The capabilities in the spec's file, as a mask (capabilities(7) numbers them).
fn named_capabilities(machine: &mut Machine, agent: &str) -> u64 {
    let file = format!("/usr/lib/agentos/agents.d/{agent}.toml");
    let script = format!("grep -E '^capabilities' {file} | grep -oE 'CAP_[A-Z_]+' || true");
    let names = machine.run(&script);
    names.lines().fold(0, |mask, name| {
        let bit = match name {
            "CAP_DAC_READ_SEARCH" => 2,
            "CAP_NET_ADMIN" => 12,
            "CAP_NET_RAW" => 13,
            "CAP_SYS_RAWIO" => 17,
            "CAP_SYS_PTRACE" => 19,
            other => panic!("{agent} names {other}, which this test does not know"),
        };
        mask | (1 << bit)
    })
}

pub(crate) fn every_agent_sees_only_what_its_spec_names(machine: &mut Machine) {
    for agent in machine.agents() {
        let pid = agent.pid.expect("a running agent has a process");
        // Outside, root reads and writes all of these; inside the cell nobody does.
        for path in ["/var/lib/agentos", "/etc/agentos"] {
            machine.run(&format!("test -r {path} && test -w {path}"));
        }
        let inside =
            |script: &str| format!("nsenter --mount --wd --target {pid} -- /bin/sh -c '{script}'");
        let user = &agent.user;
        let as_agent = |script: &str| {
            let script = format!("setpriv --reuid={user} --clear-groups -- sh -c \"{script}\"");
            inside(&script)
        };
        let database = machine.try_run(&inside("cat /var/lib/agentos/agentd.db"));
        let reads_all = agent.name == "storage" || agent.name == "security";
        assert!(
            database.status != 0 || reads_all,
            "{} sees agentd's database: {database}",
            agent.name
        );
        let database = machine.try_run(&as_agent("cat /var/lib/agentos/agentd.db"));
        assert_ne!(database.status, 0, "{} reads agentd's database", agent.name);
        // Even root inside the cell finds it read-only.
        let write = machine.try_run(&inside("touch /usr/x"));
        assert_ne!(write.status, 0, "{write}");
        assert!(write.stderr.contains("Read-only file system"), "{write}");
        machine.run("touch /tmp/of-the-host && test -e /tmp/of-the-host");
        let tmp = machine.try_run(&inside("test -e /tmp/of-the-host"));
        assert_ne!(tmp.status, 0, "{} shares /tmp", agent.name);
        let open = machine.run(&format!("ls /proc/{pid}/fd | sort -n | head -5 | tr '\\n' ' '"));
        assert!(open.starts_with("0 1 2 3 4 "), "{} has descriptors {open}", agent.name);
        let environment = machine.run(&format!("tr '\\0' '\\n' < /proc/{pid}/environ | sort"));
        let expected = format!(
            "AGENTOS_AGENT={}\nHOME=/\nLANG=C.UTF-8\nPATH=/usr/sbin:/usr/bin\n",
            agent.name
        );
        assert_eq!(environment, expected);
    }
    machine.run("rm /tmp/of-the-host");
}

pub(crate) fn explain_prints_the_plan_of_the_cell(machine: &mut Machine) {
    let plan: Explanation = machine.json("agentctl explain network --json");
    assert_eq!(plan.missing, Vec::<String>::new(), "the appliance gives all that is asked");
    let at = |what: &str| {
        let found = plan.operations.iter().position(|line| line.contains(what));
        found.unwrap_or_else(|| panic!("no {what} in {:#?}", plan.operations))
    };
    assert!(at("control group") < at("agentos-network"));
    assert!(at("agentos-network") < at("/usr/lib/agentos/agents/network"));
}

pub(crate) fn the_monitor_keeps_readings(machine: &mut Machine) {
    let limit = std::time::Duration::from_secs(60);
    let names = machine.wait_for("readings", limit, |machine| {
        let list: MetricList = machine.json("agentctl metrics --json");
        let names: Vec<String> = list.metrics.into_iter().map(|metric| metric.name).collect();
        let is_there = |wanted: &str| names.iter().any(|name| name.starts_with(wanted));
        let wanted = ["cpu.", "memory.", "pressure.", "disk.", "net", "agent.network."];
        if wanted.into_iter().all(is_there) { Ok(names) } else { Err(format!("{names:?}")) }
    });
    let memory = names.iter().find(|name| name.starts_with("memory.")).expect("seen above");
    let series: MetricSeries =
        machine.json(&format!("agentctl metrics {memory} --since 10min --json"));
    let point = series.points.last().expect("a minute with readings");
    assert!(point.count > 0 && point.min <= point.mean && point.mean <= point.max, "{point:?}");
    assert!(point.max > 0.0, "a machine without memory in use: {series:?}");
    let used = machine.json::<MetricSeries>(&format!("agentctl metrics {memory} --json"));
    assert!(!used.points.is_empty());
}
