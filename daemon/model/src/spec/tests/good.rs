//! What is taken, and what it means.

use super::*;

fn names(names: &[&str]) -> BTreeSet<AgentName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn words<T: From<&'static str> + Ord>(words: &[&'static str]) -> BTreeSet<T> {
    words.iter().map(|word| T::from(*word)).collect()
}

#[test]
fn the_spec_of_the_design_is_read_as_it_says() {
    let spec = parse_spec("network.toml", NETWORK).unwrap();
    let gateway = CheckSpec {
        every: Some(Duration::from_secs(30)),
        timeout: Some(Duration::from_secs(5)),
        raise_after: Some(2),
        clear_after: Some(3),
        ..CheckSpec::default()
    };
    let errors = CheckSpec {
        enabled: Some(false),
        warning: Some(10.0),
        critical: Some(50.5),
        margin: Some(1.0),
        allow: Some(vec!["eth0".to_owned(), "lo".to_owned()]),
        ..CheckSpec::default()
    };
    let expected = AgentSpec {
        name: "network".parse().unwrap(),
        summary: "links, addresses, routes, name resolution".to_owned(),
        exec: vec!["/usr/lib/agentos/agents/network".to_owned(), "--quiet".to_owned()],
        after: names(&["storage", "system"]),
        needs: names(&["storage"]),
        criticality: Criticality::Important,
        kit: true,
        enabled: true,
        restart: RestartPolicy::default(),
        cell: CellSpec {
            user: "agentos-network".to_owned(),
            groups: words(&["systemd-journal"]),
            capabilities: words(&["CAP_NET_ADMIN", "CAP_NET_RAW"]),
            read: words(&["/etc/agentos", "/run/systemd/netif"]),
            write: BTreeSet::new(),
            memory_max: Some(64 * 1024 * 1024),
            tasks_max: Some(32),
            cpu_weight: Some(50),
            files_max: 256,
        },
        checks: BTreeMap::from([("gateway".to_owned(), gateway), ("errors".to_owned(), errors)]),
    };
    assert_eq!(spec, expected);
}

#[test]
fn name_and_program_are_enough() {
    let spec = parse_spec("x.toml", "[agent]\nname = \"x\"\nexec = [\"/bin/x\"]\n").unwrap();
    let expected = AgentSpec {
        name: "x".parse().unwrap(),
        summary: String::new(),
        exec: vec!["/bin/x".to_owned()],
        after: BTreeSet::new(),
        needs: BTreeSet::new(),
        criticality: Criticality::Optional,
        kit: true,
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
            user: "agentos-x".to_owned(),
            groups: BTreeSet::new(),
            capabilities: BTreeSet::new(),
            read: BTreeSet::new(),
            write: BTreeSet::new(),
            memory_max: None,
            tasks_max: None,
            cpu_weight: None,
            files_max: 1024,
        },
        checks: BTreeMap::new(),
    };
    assert_eq!(spec, expected);
}

#[test]
fn every_restart_key_changes_what_it_names() {
    let spec = |line: &str| parse_spec("f", &with("restart", line).0).unwrap().restart;
    let default = RestartPolicy::default();
    let s = Duration::from_secs;
    for (line, expected) in [
        ("when = \"always\"", RestartPolicy { when: RestartWhen::Always, ..default }),
        ("when = \"never\"", RestartPolicy { when: RestartWhen::Never, ..default }),
        ("first_delay = \"7s\"", RestartPolicy { first_delay: s(7), ..default }),
        ("max_delay = \"7s\"", RestartPolicy { max_delay: s(7), ..default }),
        (
            "budget.starts = 7",
            RestartPolicy { budget: Budget { starts: 7, ..default.budget }, ..default },
        ),
        (
            "budget.within = \"7s\"",
            RestartPolicy { budget: Budget { within: s(7), ..default.budget }, ..default },
        ),
        ("stable_after = \"7s\"", RestartPolicy { stable_after: s(7), ..default }),
        ("ready_within = \"7s\"", RestartPolicy { ready_within: s(7), ..default }),
        ("heartbeat = \"7s\"", RestartPolicy { heartbeat: s(7), ..default }),
        ("stop_grace = \"7s\"", RestartPolicy { stop_grace: s(7), ..default }),
    ] {
        assert_eq!(spec(line), expected, "{line}");
    }
}

#[test]
fn switches_and_words_are_read() {
    let agent = |line: &str| parse_spec("f", &with("agent", line).0).unwrap();
    assert!(!agent("kit = false").kit);
    assert!(!agent("enabled = false").enabled);
    assert_eq!(agent("criticality = \"critical\"").criticality, Criticality::Critical);
    let all = parse_spec("f", &with("cell", "read = [\"/\"]").0).unwrap();
    assert_eq!(all.cell.read, words(&["/"]));
    let limits = "warning = 85\ncritical = 85\nevery = \"5s\"\ntimeout = \"5s\"";
    parse_spec("f", &with("checks.a", limits).0).unwrap();
}
