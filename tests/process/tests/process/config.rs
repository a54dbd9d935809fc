//! Configuration with faults: each is told with its place, and the rest runs.

use agentd_protocol::control::{PhaseName, kind};
use harness::{Agentd, Scratch, Spec};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::UP;

/// A file, its text, and the place and beginning of what is wrong with it.
const FAULTS: [(&str, &str, &str); 9] = [
    (
        "program",
        "[agent]\nname = \"program\"\nexec = [\"/no/such\"]\n",
        "program.toml:3:1: exec: /no/such does not exist",
    ),
    (
        "folder",
        "[agent]\nname = \"folder\"\nexec = [\"/usr\"]\n",
        "folder.toml:3:1: exec: /usr is not a file",
    ),
    (
        "key",
        "[agent]\nname = \"key\"\nexec = [\"/bin/sleep\"]\n[restart]\nheartbeet = \"1s\"\n",
        "key.toml:5:1: restart.heartbeet: unknown key; the nearest known key is heartbeat",
    ),
    (
        "type",
        "[agent]\nname = \"type\"\nexec = \"/bin/sleep\"\n",
        "type.toml:3:8: agent.exec: found \"/bin/sleep\", expected an array",
    ),
    ("syntax", "[agent\n", "syntax.toml:1:7: not TOML"),
    ("missing", "[agent]\nname = \"missing\"\n", "missing.toml:1:1: agent.exec: missing"),
    (
        "twin",
        "[agent]\nname = \"good\"\nexec = [\"/bin/sleep\"]\n",
        "twin.toml:2:1: name is \"good\", but the file is called twin.toml",
    ),
    (
        "needy",
        "[agent]\nname = \"needy\"\nexec = [\"/bin/sleep\"]\nneeds = [\"god\"]\n",
        "needy.toml:4:1: needy: agent.needs: no agent is called god; the nearest is good",
    ),
    (
        "empty-name",
        "[agent]\nname = \"\"\nexec = [\"/bin/sleep\"]\n",
        "empty-name.toml:2:8: agent.name: found \"\"",
    ),
];

#[test]
fn every_fault_is_told_with_its_place_and_the_rest_runs() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("good"));
    for (name, text, _) in FAULTS {
        scratch.write(&scratch.vendor_file(name), text);
    }
    let waits = |name: &str, other: &str| {
        Spec::new(name, &["/bin/sleep", "9"]).agent(&format!("after = [\"{other}\"]"))
    };
    scratch.add(&waits("one", "two"));
    scratch.add(&waits("two", "one"));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("good");
    let shown: Vec<String> = agentd.list().agents.into_iter().map(|agent| agent.name).collect();
    assert_eq!(shown, ["good"]);
    let problems = agentd.status().problems;
    for (name, _, problem) in FAULTS {
        let file = scratch.vendor_file(name);
        let dir = file.parent().expect("a file lies in a folder").display();
        let whole = format!("{dir}/{problem}");
        let told = problems.iter().find(|told| told.message.starts_with(&whole));
        let told = told.unwrap_or_else(|| panic!("nobody says {whole}: {problems:#?}"));
        assert_eq!(told.area, "config");
        assert_eq!(told.subject, file.to_string_lossy());
    }
    let cycle = problems.iter().find(|told| told.message.contains("one -> two -> one"));
    let cycle = cycle.unwrap_or_else(|| panic!("nobody tells of the cycle: {problems:#?}"));
    let place = format!("{}:4:1: agents wait for each other", scratch.vendor_file("one").display());
    assert!(cycle.message.starts_with(&place), "{}", cycle.message);
    assert_eq!(problems.len(), FAULTS.len() + 1);
    let refused = agentd.events_of(kind::CONFIG_REFUSED, None);
    let [refused] = refused.as_slice() else { panic!("one event: {refused:?}") };
    assert_eq!(refused.fields["problems"].lines().count(), problems.len());
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_holds_up_nothing() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("good"));
    std::fs::write(scratch.vendor_file("bytes"), b"[agent]\nname = \"\xff\"\n").expect("written");
    scratch.write(&scratch.vendor_file("huge"), &"# much\n".repeat(50_000));
    // Whoever opens one for reading waits for a writer, for ever.
    mkfifo(&scratch.vendor_file("pipe"), Mode::S_IRWXU).expect("can be made");
    std::fs::create_dir(scratch.vendor_file("folder")).expect("can be made");
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("good");
    for (name, why) in [
        ("bytes", "cannot be read: stream did not contain valid UTF-8"),
        ("folder", "cannot be read: it is not a file"),
        ("huge", "cannot be read: it has 350000 bytes, more than 262144"),
        ("pipe", "cannot be read: it is not a file"),
    ] {
        let file = scratch.vendor_file(name).to_string_lossy().into_owned();
        let told = agentd.status().problems.into_iter().find(|problem| problem.subject == file);
        assert_eq!(told.expect("it is told").message, format!("{file}: {why}"));
    }
}

#[test]
fn an_order_after_an_agent_that_is_not_there_is_told_and_does_not_hold_back() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a").agent("after = [\"ghost\"]"));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    let place = format!("{}:4:1: a: agent.after: ", scratch.vendor_file("a").display());
    assert_eq!(agentd.problems("config"), format!("{place}no agent is called ghost"));
}

#[test]
fn the_sites_file_replaces_the_vendors_and_an_empty_one_removes_the_agent() {
    let scratch = Scratch::new();
    for name in ["kept", "replaced", "removed", "broken"] {
        scratch.add(&scratch.good(name).agent("summary = \"the vendor's\""));
    }
    let own = scratch.good("replaced").agent("summary = \"our own\"");
    scratch.write(&scratch.site_file("replaced"), &own.text());
    scratch.write(&scratch.site_file("removed"), "");
    scratch.write(&scratch.site_file("broken"), "[agent]\nnmae = \"broken\"\n");
    let agentd = Agentd::start(&scratch);
    let shown: Vec<(String, String)> =
        agentd.list().agents.into_iter().map(|agent| (agent.name, agent.summary)).collect();
    let pair = |name: &str, summary: &str| (name.to_owned(), summary.to_owned());
    let vendors = "the vendor's";
    assert_eq!(
        shown,
        [pair("broken", vendors), pair("kept", vendors), pair("replaced", "our own")]
    );
    let problems = agentd.problems("config");
    let file = scratch.site_file("broken");
    assert!(problems.contains(&format!("{}:2:1: agent.nmae", file.display())), "{problems}");
}

#[test]
fn agentds_own_file_is_checked_too_and_its_defaults_hold_then() {
    let scratch = Scratch::new();
    let file = scratch.paths().vendor().join("agentd.toml");
    scratch.write(&file, "[control]\nconnections_mx = 9\n");
    scratch.add(&scratch.good("a"));
    let agentd = Agentd::start(&scratch);
    agentd.wait_phase("a", PhaseName::Running);
    let place = format!("{}:2:1: control.connections_mx: unknown key", file.display());
    assert!(agentd.problems("config").starts_with(&place), "{}", agentd.problems("config"));
    assert_eq!(agentd.phases("a"), UP);
}
