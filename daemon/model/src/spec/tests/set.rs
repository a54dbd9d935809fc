//! What must hold between specs, and what leads from one set to the next.

use super::*;

fn spec(name: &str, keys: &str) -> AgentSpec {
    parse_spec("f", &format!("[agent]\nname = \"{name}\"\nexec = [\"/bin/x\"]\n{keys}")).unwrap()
}

fn set_problems(specs: Vec<AgentSpec>) -> Vec<String> {
    check_set(specs).unwrap_err().iter().map(ToString::to_string).collect()
}

fn by_name(specs: Vec<AgentSpec>) -> BTreeMap<AgentName, AgentSpec> {
    check_set(specs).unwrap()
}

#[test]
fn specs_that_fit_together_are_taken() {
    let specs = by_name(vec![
        spec("a", "after = [\"b\"]\nneeds = [\"c\"]"),
        spec("b", "needs = [\"c\"]"),
        spec("c", ""),
    ]);
    assert_eq!(specs.keys().map(AgentName::as_str).collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn a_name_that_stands_twice_is_refused() {
    let found = set_problems(vec![spec("a", ""), spec("b", ""), spec("a", ""), spec("a", "")]);
    assert_eq!(found, ["a: 3 agents have this name"]);
}

#[test]
fn names_that_are_not_there_are_refused_with_the_nearest() {
    let found = set_problems(vec![
        spec("network", "after = [\"sistem\"]\nneeds = [\"zzz\"]"),
        spec("system", ""),
    ]);
    assert_eq!(
        found,
        [
            "network: agent.needs: no agent is called zzz",
            "network: agent.after: no agent is called sistem; the nearest is system"
        ]
    );
}

#[test]
fn cycles_are_refused_and_shown_whole() {
    let found = set_problems(vec![
        spec("c", "needs = [\"a\"]"),
        spec("a", "after = [\"b\"]"),
        spec("b", "after = [\"c\"]"),
        spec("on-it", "after = [\"a\"]"),
        spec("below", ""),
        spec("self", "after = [\"self\", \"below\"]"),
    ]);
    assert_eq!(
        found,
        [
            "agents wait for each other: a -> b -> c -> a",
            "agents wait for each other: self -> self"
        ]
    );
}

#[test]
fn a_diff_names_what_is_new_and_gone() {
    let old = by_name(vec![spec("a", ""), spec("b", "")]);
    let new = by_name(vec![spec("b", ""), spec("c", "")]);
    let found = diff(&old, &new);
    let name = |name: &str| name.parse::<AgentName>().unwrap();
    let expected = SpecDiff { added: vec![name("c")], changed: vec![], removed: vec![name("a")] };
    assert_eq!(found, expected);
    assert!(diff(&old, &old).is_empty());
    assert!(!found.is_empty());
}

#[test]
fn each_change_asks_for_what_it_needs() {
    let change = |keys: &str| {
        let text = if keys.starts_with("exec") {
            format!("[agent]\nname = \"a\"\n{keys}")
        } else {
            format!("[agent]\nname = \"a\"\nexec = [\"/bin/x\"]\n{keys}")
        };
        let new = by_name(vec![parse_spec("f", &text).unwrap(), spec("b", "")]);
        let old = by_name(vec![spec("a", ""), spec("b", "")]);
        diff(&old, &new).changed.first().map(|(_, change)| *change)
    };
    assert_eq!(change(""), None);
    for keys in [
        "summary = \"x\"",
        "after = [\"b\"]",
        "needs = [\"b\"]",
        "criticality = \"critical\"",
        "enabled = false",
        "[restart]\nwhen = \"never\"",
        "[restart]\nfirst_delay = \"7s\"",
        "[restart]\nmax_delay = \"7s\"",
        "[restart]\nbudget.starts = 7",
        "[restart]\nstable_after = \"7s\"",
        "[restart]\nready_within = \"7s\"",
        "[restart]\nstop_grace = \"7s\"",
    ] {
        assert_eq!(change(keys), Some(Change::Quiet), "{keys}");
    }
    assert_eq!(change("[checks.a]\nevery = \"7s\""), Some(Change::Settings));
    assert_eq!(change("summary = \"x\"\n[checks.a]\nevery = \"7s\""), Some(Change::Settings));
    for keys in [
        "exec = [\"/bin/y\"]",
        "kit = false",
        "[cell]\nmemory_max = \"7MiB\"",
        "[restart]\nheartbeat = \"7s\"",
        "[restart]\nheartbeat = \"7s\"\n[checks.a]\nevery = \"7s\"",
    ] {
        assert_eq!(change(keys), Some(Change::Restart), "{keys}");
    }
}
