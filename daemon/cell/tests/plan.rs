//! Golden plans, and what must hold for every plan. Pure: no root, no files.
#![allow(clippy::unwrap_used, reason = "test code, but not all #[test] to clippy")]

mod support;

use std::mem::discriminant;

use agentd_cell::{BindFlags, Mode, Op, Plan, PlanError, plan};
use support::{facts, paths, set, spec};

const PROGRAM: &str = "/usr/lib/agentos/agents/network";

fn lines(plan: &Plan) -> String {
    let missing = plan.missing.iter().map(|m| format!("missing: {m}"));
    plan.lines().into_iter().chain(missing).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_plan_of_a_spec_that_names_something_of_everything() {
    let mut spec = spec(&[PROGRAM, "--name", "two words"]);
    spec.kit = true;
    spec.cell.groups = set(["systemd-journal"]);
    spec.cell.capabilities = set(["CAP_NET_ADMIN", "CAP_NET_RAW"]);
    spec.cell.read = paths(["/etc/agentos", "/proc", "/run/systemd/netif", "/run/not-there"]);
    spec.cell.write = paths(["/srv"]);
    spec.cell.memory_max = Some(64 << 20);
    spec.cell.tasks_max = Some(32);
    spec.cell.cpu_weight = Some(50);
    let plan = plan(&spec, &facts(), Mode::Appliance).unwrap();
    insta::assert_snapshot!(lines(&plan), @r#"
    make control group /sys/fs/cgroup/system.slice/agentd.service/agents/network
    set memory.max to 67108864
    set memory.oom.group to 1
    set pids.max to 32
    set cpu.weight to 50
    join /sys/fs/cgroup/system.slice/agentd.service/agents/network/cgroup.procs
    lead a new session
    reset all signals
    no protection from the out-of-memory killer
    enter a private mount namespace
    begin with an empty root
    link /bin to usr/bin
    link /lib to usr/lib
    link /lib64 to usr/lib64
    link /sbin to usr/sbin
    private /dev with null, zero, full, random, urandom
    show /etc/agentos read-only
    show /proc read-only
    show /run/systemd/journal/socket read-only
    show /run/systemd/netif read-only
    show /srv writable
    private /tmp of at most 16777216 bytes
    show /usr read-only
    make /dev read-only
    make / read-only
    detach the host's file system
    change directory to /
    umask 0077
    no core dumps
    at most 256 open files
    supplementary groups systemd-journal (64903)
    capability bounding set: CAP_NET_ADMIN CAP_NET_RAW
    become user agentos-network (uid 64901, gid 64902), capabilities kept until set
    capabilities: CAP_NET_ADMIN CAP_NET_RAW
    no new privileges
    close all descriptors but 0, 1, 2 and the channel on 3 and 4
    run /usr/lib/agentos/agents/network --name "two words" with environment AGENTOS_AGENT=network HOME=/ LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin
    missing: read /run/not-there: does not exist
    "#);
}

#[test]
fn the_plan_of_a_spec_that_names_nothing() {
    let mut facts = facts();
    facts.journal = false;
    let plan = plan(&spec(&[PROGRAM]), &facts, Mode::Appliance).unwrap();
    insta::assert_snapshot!(lines(&plan), @r#"
    make control group /sys/fs/cgroup/system.slice/agentd.service/agents/network
    join /sys/fs/cgroup/system.slice/agentd.service/agents/network/cgroup.procs
    lead a new session
    reset all signals
    no protection from the out-of-memory killer
    enter a private mount namespace
    begin with an empty root
    link /bin to usr/bin
    link /lib to usr/lib
    link /lib64 to usr/lib64
    link /sbin to usr/sbin
    private /dev with null, zero, full, random, urandom
    private /tmp of at most 16777216 bytes
    show /usr read-only
    make /dev read-only
    make / read-only
    detach the host's file system
    change directory to /
    umask 0077
    no core dumps
    at most 256 open files
    no supplementary groups
    capability bounding set: none
    become user agentos-network (uid 64901, gid 64902)
    capabilities: none
    no new privileges
    close all descriptors but 0, 1 and 2
    run /usr/lib/agentos/agents/network with environment AGENTOS_AGENT=network HOME=/ LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin
    "#);
}

#[test]
fn the_plan_of_a_spec_that_sees_everything() {
    let mut spec = spec(&["/opt/agents/storage"]);
    spec.cell.read = paths(["/", "/etc"]);
    let plan = plan(&spec, &facts(), Mode::Appliance).unwrap();
    insta::assert_snapshot!(lines(&plan), @r#"
    make control group /sys/fs/cgroup/system.slice/agentd.service/agents/network
    join /sys/fs/cgroup/system.slice/agentd.service/agents/network/cgroup.procs
    lead a new session
    reset all signals
    no protection from the out-of-memory killer
    enter a private mount namespace
    show / read-only
    private /dev with null, zero, full, random, urandom
    private /tmp of at most 16777216 bytes
    make /dev read-only
    detach the host's file system
    change directory to /
    umask 0077
    no core dumps
    at most 256 open files
    no supplementary groups
    capability bounding set: none
    become user agentos-network (uid 64901, gid 64902)
    capabilities: none
    no new privileges
    close all descriptors but 0, 1 and 2
    run /opt/agents/storage with environment AGENTOS_AGENT=network HOME=/ LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin
    "#);
}

#[test]
fn a_scratch_directory_says_what_it_cannot_do() {
    let mut spec = spec(&["/home/me/target/debug/network"]);
    spec.kit = true;
    spec.cell.groups = set(["systemd-journal"]);
    spec.cell.capabilities = set(["CAP_NET_RAW"]);
    spec.cell.memory_max = Some(64 << 20);
    spec.cell.files_max = 4096;
    let mut facts = facts();
    facts.euid = 1000;
    facts.capabilities.clear();
    facts.files_hard = 1024;
    facts.cgroup = None;
    let plan = plan(&spec, &facts, Mode::Scratch).unwrap();
    insta::assert_snapshot!(lines(&plan), @r#"
    lead a new session
    reset all signals
    no protection from the out-of-memory killer
    change directory to /
    umask 0077
    no core dumps
    at most 1024 open files
    capabilities: none
    no new privileges
    close all descriptors but 0, 1, 2 and the channel on 3 and 4
    run /home/me/target/debug/network with environment AGENTOS_AGENT=network HOME=/ LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin
    missing: control group of its own: no delegated cgroup v2
    missing: memory_max: no delegated cgroup v2
    missing: mount namespace of its own: only on an appliance
    missing: files_max = 4096: agentd's own limit is 1024
    missing: user agentos-network of its own: only on an appliance
    missing: group systemd-journal: only on an appliance
    missing: CAP_NET_RAW: agentd lacks it
    "#);
}

/// A few dozen specs and machines: every combination of what changes the shape of a plan.
fn many() -> Vec<Plan> {
    let mut plans = Vec::new();
    for bits in 0..64_u32 {
        let on = |bit: u32| bits & (1 << bit) != 0;
        let mut spec = spec(&[PROGRAM]);
        let mut facts = facts();
        spec.kit = on(0);
        if on(1) {
            spec.cell.capabilities = set(["CAP_NET_RAW"]);
        }
        if on(2) {
            spec.cell.read = paths(["/"]);
        }
        if on(3) {
            spec.cell.write = paths(["/srv"]);
            spec.cell.groups = set(["systemd-journal"]);
        }
        if on(4) {
            spec.cell.memory_max = Some(1 << 20);
        }
        facts.journal = on(5);
        for mode in [Mode::Appliance, Mode::Scratch] {
            plans.push(plan(&spec, &facts, mode).unwrap());
        }
        facts.capabilities.clear();
        facts.cgroup = None;
        plans.push(plan(&spec, &facts, Mode::Scratch).unwrap());
    }
    plans
}

fn position(plan: &Plan, op: &Op) -> Option<usize> {
    plan.ops.iter().position(|o| discriminant(o) == discriminant(op))
}

#[test]
fn the_program_comes_last_and_once() {
    for plan in many() {
        let runs = plan.ops.iter().filter(|op| matches!(op, Op::Exec { .. })).count();
        assert_eq!(runs, 1, "{}", lines(&plan));
        assert!(matches!(plan.ops.last(), Some(Op::Exec { .. })), "{}", lines(&plan));
    }
}

#[test]
fn each_right_is_given_up_after_it_was_last_needed() {
    let any_bind =
        Op::Bind { path: "/".into(), flags: BindFlags { writable: false, devices: false } };
    let ids = Op::SetIds { user: String::new(), uid: 1, gid: 1, keep_capabilities: false };
    let order = [
        Op::UnshareMounts,
        any_bind,
        Op::DetachHost,
        Op::EnterRoot,
        Op::SetGroups { groups: [].into() },
        Op::BoundCapabilities { keep: [].into() },
        ids,
        Op::SetCapabilities { keep: [].into() },
        Op::NoNewPrivileges,
        Op::Descriptors { channel: true },
    ];
    for plan in many() {
        let found: Vec<usize> = order.iter().filter_map(|op| position(&plan, op)).collect();
        assert!(found.is_sorted(), "{found:?}\n{}", lines(&plan));
    }
}

#[test]
fn the_control_group_is_joined_first() {
    for plan in many() {
        let joins = position(&plan, &Op::JoinCgroup { procs: "/".into() });
        assert_eq!(joins, plan.cgroup.as_ref().map(|_| 0), "{}", lines(&plan));
    }
}

#[test]
fn every_plan_ends_without_new_privileges_and_open_descriptors() {
    for plan in many() {
        for op in [Op::NoNewPrivileges, Op::ResetSignals, Op::NoCoreDumps, Op::NewSession] {
            assert!(plan.ops.contains(&op), "{op}\n{}", lines(&plan));
        }
        assert!(position(&plan, &Op::Descriptors { channel: true }).is_some());
        assert!(position(&plan, &Op::SetCapabilities { keep: [].into() }).is_some());
    }
}

#[test]
fn what_an_appliance_confines_is_never_missing_there() {
    let appliance = many().into_iter().filter(|plan| plan.ops.contains(&Op::UnshareMounts));
    let mut seen = 0;
    for plan in appliance {
        assert_eq!(plan.missing, Vec::<String>::new());
        assert!(position(&plan, &Op::SetGroups { groups: [].into() }).is_some());
        seen += 1;
    }
    assert_eq!(seen, 64);
}

#[test]
fn a_plan_survives_the_trip_to_the_launcher() {
    for plan in many() {
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}

#[test]
fn every_op_is_one_line() {
    let mut spec = spec(&[PROGRAM, "a\nb", ""]);
    spec.cell.read = paths(["/srv"]);
    let plan = plan(&spec, &facts(), Mode::Appliance).unwrap();
    for line in plan.lines() {
        assert!(!line.is_empty() && !line.contains('\n'), "{line:?}");
    }
}

/// The error of the plan for a spec, changed by `change`, on an appliance, changed likewise.
fn refused(
    change: impl FnOnce(&mut agentd_model::AgentSpec, &mut agentd_cell::HostFacts),
) -> (PlanError, String) {
    let (mut spec, mut facts) = (spec(&[PROGRAM]), facts());
    change(&mut spec, &mut facts);
    let error = plan(&spec, &facts, Mode::Appliance).unwrap_err();
    let text = error.to_string();
    (error, text)
}

#[test]
fn an_unknown_user_or_group_is_named() {
    let (_, text) = refused(|spec, _| spec.cell.user = "nobody-here".into());
    assert_eq!(text, "user nobody-here of agent network does not exist");
    let (_, text) = refused(|spec, _| spec.cell.groups = set(["no-group"]));
    assert_eq!(text, "group no-group of agent network does not exist");
}

#[test]
fn root_under_another_name_is_refused() {
    let (error, _) = refused(|_, facts| {
        facts.users.insert("agentos-network".into(), agentd_cell::Ids { uid: 0, gid: 5 });
    });
    assert!(matches!(error, PlanError::RootUser { .. }), "{error}");
}

#[test]
fn capabilities_are_known_harmless_and_agentds_to_give() {
    let (_, text) = refused(|spec, _| spec.cell.capabilities = set(["CAP_NET_ROW"]));
    assert_eq!(text, "CAP_NET_ROW of agent network is not a capability");
    let (_, text) = refused(|spec, _| spec.cell.capabilities = set(["CAP_SYS_ADMIN"]));
    assert_eq!(text, "no agent may have CAP_SYS_ADMIN; network asks for it");
    let (_, text) = refused(|spec, _| spec.cell.capabilities = set(["CAP_SYS_TIME"]));
    assert_eq!(text, "agentd lacks CAP_SYS_TIME, which the cell of network needs");
}

#[test]
fn an_appliance_without_the_means_starts_nothing() {
    let (_, text) = refused(|_, facts| {
        facts.capabilities.remove("CAP_SETPCAP");
    });
    assert_eq!(text, "agentd lacks CAP_SETPCAP, which the cell of network needs");
    let (error, _) = refused(|_, facts| facts.cgroup = None);
    assert!(matches!(error, PlanError::NoCgroup { .. }), "{error}");
    let (_, text) = refused(|spec, facts| {
        spec.cell.memory_max = Some(1);
        facts.cgroup.as_mut().unwrap().controllers = set(["pids"]);
    });
    let controller = "no cgroup v2 controller memory";
    assert_eq!(text, format!("memory_max of agent network cannot be enforced: {controller}"));
    let (error, _) = refused(|spec, _| spec.cell.files_max = u32::MAX);
    assert!(matches!(error, PlanError::FilesMax { .. }), "{error}");
}

#[test]
fn the_system_stays_read_only_whatever_a_spec_says() {
    for path in ["/", "/usr", "/usr/local/x", "/lib/modules", "/bin"] {
        let (error, _) = refused(|spec, facts| {
            spec.cell.write = paths([path]);
            facts.paths.insert(path.into());
        });
        assert!(matches!(error, PlanError::WritesSystem { .. }), "{path}: {error}");
    }
}

#[test]
fn a_program_in_a_merged_folder_is_shown_where_its_link_leads() {
    let (mut spec, mut facts) = (spec(&[PROGRAM]), facts());
    facts.root_links.insert("bin".to_owned(), "usr/bin".into());
    spec.exec = vec!["/bin/false".to_owned()];
    plan(&spec, &facts, Mode::Appliance).unwrap();
}

#[test]
fn a_program_that_the_cell_hides_is_refused() {
    for program in ["/opt/x", "/tmp/x", "/dev/x"] {
        let (error, _) = refused(|spec, _| spec.exec = vec![program.to_owned()]);
        assert!(matches!(error, PlanError::HiddenProgram { .. }), "{program}: {error}");
    }
}
