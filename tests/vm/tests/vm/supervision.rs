//! Agents that die, hang and loop; agentd that dies.

use std::time::Duration;

use agentd_protocol::control::EventView;

use crate::machine::Machine;

const LIMIT: Duration = Duration::from_secs(60);

/// Waits until `agent` runs in another process than `before`.
fn await_new_process(machine: &mut Machine, agent: &str, before: i32) {
    machine.wait_for(&format!("new process of {agent}"), LIMIT, |machine| {
        let view = machine.agent(agent);
        let is_new = view.phase.as_str() == "running" && view.pid.is_some_and(|pid| pid != before);
        if is_new { Ok(()) } else { Err(format!("{view:?}")) }
    });
}

/// The phases an agent went through after event `seq`, as "from to".
fn steps(machine: &mut Machine, agent: &str, seq: u64) -> Vec<String> {
    let events = machine.events(agent);
    let phases = events.into_iter().filter(|event| event.seq > seq && event.kind == "agent.phase");
    let field = |event: &EventView, name: &str| event.fields.get(name).cloned().unwrap_or_default();
    phases.map(|event| format!("{} {}", field(&event, "from"), field(&event, "to"))).collect()
}

pub(crate) fn a_killed_agent_is_running_again(machine: &mut Machine) {
    for before in machine.agents() {
        let name = before.name.as_str();
        let pid = before.pid.expect("a running agent has a process");
        let seq = machine.last_seq();
        machine.run(&format!("kill -9 {pid}"));
        await_new_process(machine, name, pid);
        let after = machine.agent(name);
        assert_eq!(after.restarts, before.restarts + 1, "{after:?}");
        assert_eq!(after.last_exit.as_deref(), Some("killed by SIGKILL"));
        let history =
            ["running waiting", "waiting spawning", "spawning starting", "starting running"];
        assert_eq!(steps(machine, name, seq), history, "of {name}");
    }
    machine.wait_healthy();
}

pub(crate) fn a_stopped_process_is_replaced(machine: &mut Machine) {
    // A request opens a new account: a failure in the scenario before would make this the second in
    // a row, with a delay.
    machine.run("agentctl restart network --wait");
    let before = machine.agent("network").pid.expect("a process");
    let seq = machine.last_seq();
    machine.run(&format!("kill -STOP {before}"));
    await_new_process(machine, "network", before);
    let history = [
        "running stopping",
        "stopping waiting",
        "waiting spawning",
        "spawning starting",
        "starting running",
    ];
    assert_eq!(steps(machine, "network", seq), history);
    let after = machine.agent("network");
    let exit = after.last_exit.unwrap_or_default();
    assert!(exit.starts_with("hung: no heartbeat for"), "{exit}");
    machine.wait_healthy();
}

pub(crate) fn a_crash_loop_ends_in_failed(machine: &mut Machine) {
    machine.run(
        "mkdir -p /etc/agentos/agents.d && cat > /etc/agentos/agents.d/doomed.toml <<'E'\n\
         [agent]\nname = \"doomed\"\nexec = [\"/bin/false\"]\nkit = false\n\
         [restart]\nmax_delay = \"1s\"\nbudget = { starts = 3, within = \"5min\" }\n\
         [cell]\nuser = \"nobody\"\nE\n\
         agentctl reload",
    );
    let clean = "rm /etc/agentos/agents.d/doomed.toml && agentctl reload";
    machine.cleaned_by(clean, |machine| {
        machine.wait_for("a given-up agent", LIMIT, |machine| {
            let view = machine.agent("doomed");
            if view.phase.as_str() == "failed" { Ok(()) } else { Err(format!("{view:?}")) }
        });
        let view = machine.agent("doomed");
        assert_eq!((view.restarts, view.last_exit.as_deref()), (2, Some("exit status 1")));
        let doctor = machine.try_run("agentctl doctor");
        assert_eq!(doctor.status, 1, "{doctor}");
        assert!(doctor.stdout.contains("doomed"), "{doctor}");
    });
    assert!(machine.agents().iter().all(|agent| agent.name != "doomed"));
}

pub(crate) fn a_stop_leaves_an_empty_cgroup(machine: &mut Machine) {
    let view = machine.agent("monitor");
    let cgroup = view.cgroup.expect("a cgroup");
    machine.run("agentctl stop monitor --wait");
    assert_eq!(machine.agent("monitor").phase.as_str(), "idle");
    let left = machine.run(&format!("cat {cgroup}/cgroup.procs 2>/dev/null || true"));
    assert_eq!(left, "");
    machine.run("agentctl start monitor --wait");
    machine.wait_healthy();
}

pub(crate) fn broken_configuration(machine: &mut Machine) {
    let before: Vec<Option<i32>> = machine.agents().iter().map(|agent| agent.pid).collect();
    machine.run(
        "mkdir -p /etc/agentos/agents.d && \
         sed 's/^memory_max/memory_mox/' /usr/lib/agentos/agents.d/network.toml \
         > /etc/agentos/agents.d/network.toml",
    );
    let clean = "rm /etc/agentos/agents.d/network.toml && agentctl reload && agentctl doctor";
    machine.cleaned_by(clean, |machine| {
        let reload = machine.try_run("agentctl reload");
        assert_eq!(reload.status, 2, "{reload}");
        let place = "/etc/agentos/agents.d/network.toml:";
        assert!(reload.stderr.contains(place) && reload.stderr.contains("memory_max"), "{reload}");
        let doctor = machine.try_run("agentctl doctor");
        assert!(doctor.status == 1 && doctor.stdout.contains(place), "{doctor}");
        let after: Vec<Option<i32>> = machine.agents().iter().map(|agent| agent.pid).collect();
        assert_eq!(before, after, "the last good configuration stays in force");
    });
}

pub(crate) fn agentd_killed_comes_back(machine: &mut Machine) {
    let before = machine.run("systemctl show --property=MainPID --value agentd");
    let seq = machine.last_seq();
    machine.run("systemctl kill --kill-whom=main --signal=KILL agentd");
    machine.wait_for("another agentd", LIMIT, |machine| {
        let pid = machine.run("systemctl show --property=MainPID --value agentd");
        let active = machine.try_run("systemctl is-active --quiet agentd").status == 0;
        if active && pid != before { Ok(()) } else { Err(pid) }
    });
    machine.wait_healthy();
    assert!(machine.last_seq() > seq, "numbers of events go on");
    let groups = machine.run(
        "for dir in /sys/fs/cgroup/system.slice/agentd.service/agents/*/; do \
         wc -l < ${dir}cgroup.procs; done | sort -u",
    );
    assert_eq!(groups.trim(), "1", "one process per agent, nothing left over");
}
