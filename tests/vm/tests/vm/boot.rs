//! The image itself: what it does not let be written, what it keeps, the other way to boot it.

use std::process::{Command, Stdio};

use agentd_protocol::control::AgentList;

use crate::machine::Machine;

pub(crate) fn the_root_is_read_only(machine: &mut Machine) {
    for path in ["/x", "/usr/x", "/usr/lib/agentos/agents.d/x.toml", "/etc/x", "/boot/x"] {
        let touch = machine.try_run(&format!("touch {path}"));
        assert!(touch.status != 0 && touch.stderr.contains("Read-only file system"), "{touch}");
    }
    let remount = machine.run("findmnt --noheadings --output OPTIONS / | tr ',' '\\n' | head -1");
    assert_eq!(remount.trim(), "ro");
    for path in ["/var/x", "/etc/agentos/x"] {
        machine.run(&format!("touch {path} && rm {path}"));
    }
    let ways_in = machine.run(
        "awk -F: '$2 !~ /^[!*]/ {print $1}' /etc/shadow; \
         systemctl list-units --no-legend --plain 'getty*' 'serial-getty*' 'ssh*' 'systemd-logind*'",
    );
    assert_eq!(ways_in, "", "no password and no login service");
}

pub(crate) fn state_survives_a_reboot(machine: &mut Machine) {
    machine.run("agentctl disable monitor");
    machine.run("mkdir -p /etc/agentos/agents.d && echo kept > /etc/agentos/kept");
    let identity = machine.run("cat /etc/machine-id");
    let boot = machine.run("cat /proc/sys/kernel/random/boot_id");
    let seq = machine.last_seq();
    machine.reboot();
    assert_ne!(machine.run("cat /proc/sys/kernel/random/boot_id"), boot, "it did not reboot");
    assert_eq!(machine.run("cat /etc/machine-id"), identity);
    assert_eq!(machine.run("cat /etc/agentos/kept"), "kept\n");
    let monitor = machine.agent("monitor");
    assert_eq!((monitor.enabled, monitor.phase.as_str()), (false, "idle"), "{monitor:?}");
    assert!(machine.last_seq() > seq, "numbers of events go on");
    let old = machine
        .run(&format!("agentctl events --json -n 1000 | grep -c '\"seq\":\\s*{seq}\\b' || true"));
    assert_ne!(old.trim(), "0", "events of the boot before are kept");
    let boots = machine.run("journalctl --list-boots --no-pager --quiet | wc -l");
    assert!(boots.trim().parse::<u32>().unwrap() >= 2, "the journal is persistent: {boots}");
    machine.run("rm /etc/agentos/kept; agentctl enable monitor --now");
    machine.wait_healthy();
    let findings = machine.findings();
    assert!(findings.is_empty(), "a clean reboot has no findings: {findings:#?}");
}

pub(crate) fn cargo_boot_through_firmware() {
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    #[expect(clippy::disallowed_methods, reason = "as its user runs it")]
    let output = Command::new(cargo)
        .args(["boot", "--firmware", "--", "agentctl", "list", "--json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .expect("cargo can be run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.status);
    // Nothing but the command's output is on stdout.
    let list: AgentList = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|err| panic!("{err}: {}", String::from_utf8_lossy(&output.stdout)));
    assert_eq!(list.agents.len(), 5);
    for agent in &list.agents {
        assert_eq!((agent.phase.as_str(), agent.health.as_str()), ("running", "ok"), "{agent:?}");
    }
}
