//! What agents find: opened, changed, resolved, and what becomes of it when a process ends.

use agentd_model::Severity;
use agentd_protocol::control::{FindingView, PhaseName, kind};
use harness::{Agentd, LIMIT, Scratch, wait_for};

const KINDS: [&str; 3] = [kind::FINDING_OPENED, kind::FINDING_CHANGED, kind::FINDING_RESOLVED];

/// Every change of a finding: its kind, key and severity.
fn changes(agentd: &Agentd, agent: &str) -> Vec<String> {
    let mut events: Vec<_> =
        KINDS.iter().flat_map(|what| agentd.events_of(what, Some(agent))).collect();
    events.sort_by_key(|event| event.seq);
    let words = events.iter().map(|event| {
        let verb = event.kind.trim_start_matches("finding.");
        format!("{verb} {} {}", event.fields["key"], event.fields["severity"])
    });
    words.collect()
}

fn wait_findings(
    agentd: &Agentd,
    what: &str,
    is_so: impl Fn(&[FindingView]) -> bool,
) -> Vec<FindingView> {
    wait_for(what, LIMIT, || {
        let findings = agentd.findings();
        if is_so(&findings) { Ok(findings) } else { Err(format!("{findings:?}")) }
    })
}

fn keys(findings: &[FindingView]) -> Vec<&str> {
    findings.iter().map(|finding| finding.key.as_str()).collect()
}

#[test]
fn findings_open_change_and_resolve_and_each_is_told_once() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    scratch.order("a", "report:probe:space:/var=warning");
    // The same again changes nothing but when it was last seen.
    scratch.order("a", "report:probe:space:/var=warning");
    scratch.order("a", "report:probe:space:/var=critical,inodes:/=info");
    let open = wait_findings(&agentd, "two findings", |found| found.len() == 2);
    assert_eq!(keys(&open), ["space:/var", "inodes:/"], "worst first");
    let worst = &open[0];
    assert_eq!((worst.agent.as_str(), worst.check.as_str()), ("a", "probe"));
    assert_eq!(worst.severity, Severity::Critical);
    assert_eq!(worst.summary, "space:/var is not as it should be");
    assert_eq!(worst.evidence["key"], "space:/var");
    assert!(worst.opened_ms <= worst.seen_ms && worst.resolved_ms.is_none() && !worst.stale);
    assert_eq!(agentd.get("a").findings, 2);
    scratch.order("a", "report:probe:inodes:/=info");
    wait_findings(&agentd, "one finding", |found| keys(found) == ["inodes:/"]);
    // A run that came to nothing says nothing: neither that it is so nor that it is not.
    scratch.order("a", "unknown:probe:no idea");
    let stale = wait_findings(&agentd, "a stale finding", |found| found[0].stale);
    assert_eq!(keys(&stale), ["inodes:/"]);
    scratch.order("a", "report:probe");
    wait_findings(&agentd, "no finding", <[_]>::is_empty);
    assert_eq!(
        changes(&agentd, "a"),
        [
            "opened space:/var warning",
            "changed space:/var critical",
            "opened inodes:/ info",
            "resolved space:/var critical",
            "resolved inodes:/ info",
        ]
    );
    let resolved = wait_for("both in the store", LIMIT, || {
        let all = agentd.all_findings();
        if all.len() == 2 { Ok(all) } else { Err(format!("{all:?}")) }
    });
    assert!(resolved.iter().all(|finding| finding.resolved_ms.is_some()));
}

#[test]
fn findings_outlive_the_process_and_agentd_and_are_stale_until_measured_again() {
    let scratch = Scratch::new();
    let orders = format!("orders:{}", scratch.beside("a.orders").display());
    // Says nothing of its check by itself.
    scratch.add(&scratch.fake("a", &[&orders, "settings", "ready:probe", "live"]));
    let agentd = Agentd::start(&scratch);
    let first = agentd.wait_running("a");
    scratch.order("a", "report:probe:k=warning");
    let opened = wait_findings(&agentd, "the finding", |found| keys(found) == ["k"])[0].opened_ms;
    scratch.order("a", "signal:9");
    agentd.wait_replaced("a", first);
    let after = agentd.findings();
    assert_eq!((keys(&after), after[0].stale), (vec!["k"], true), "nobody measures it now");
    scratch.order("a", "report:probe:k=warning");
    wait_findings(&agentd, "not stale any more", |found| !found[0].stale);
    assert_eq!(changes(&agentd, "a"), ["opened k warning"], "the same finding all the time");
    agentd.stop();

    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    let restored = agentd.findings();
    assert_eq!(keys(&restored), ["k"]);
    assert!(restored[0].stale && restored[0].opened_ms == opened);
    scratch.order("a", "report:probe:k=warning");
    wait_findings(&agentd, "not stale any more", |found| !found[0].stale);
    scratch.order("a", "report:probe");
    wait_findings(&agentd, "resolved", <[_]>::is_empty);
    assert_eq!(changes(&agentd, "a"), ["resolved k warning"]);
}

#[test]
fn a_stopped_agents_findings_are_stale_and_a_removed_ones_are_resolved() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("stopped"));
    scratch.add(&scratch.good("removed"));
    let agentd = Agentd::start(&scratch);
    for name in ["stopped", "removed"] {
        agentd.wait_running(name);
        scratch.order(name, &format!("report:probe:{name}=info"));
    }
    wait_findings(&agentd, "both", |found| found.len() == 2);
    agentd.ask("Stop", "stopped").expect("may be asked");
    agentd.wait_phase("stopped", PhaseName::Idle);
    scratch.remove("removed");
    agentd.reload(false).expect("nothing is wrong");
    let left = wait_findings(&agentd, "one", |found| found.len() == 1);
    assert_eq!((keys(&left), left[0].stale), (vec!["stopped"], true));
    assert_eq!(changes(&agentd, "removed"), ["opened removed info", "resolved removed info"]);
}

#[test]
fn findings_of_a_check_that_is_no_more_are_resolved() {
    let scratch = Scratch::new();
    let orders = format!("orders:{}", scratch.beside("a.orders").display());
    scratch.add(&scratch.fake("a", &[&orders, "settings", "ready:one,two", "live"]));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    scratch.order("a", "report:one:k1=info");
    scratch.order("a", "report:two:k2=info");
    wait_findings(&agentd, "both", |found| keys(found) == ["k1", "k2"]);
    scratch.order("a", "ready:two");
    wait_findings(&agentd, "that of the check that is left", |found| keys(found) == ["k2"]);
    assert_eq!(agentd.get("a").checks.len(), 1);
}
