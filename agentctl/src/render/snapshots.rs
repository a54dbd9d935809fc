//! Every table and page, as it is drawn on a narrow screen, on a wide one, and into a pipe.

use std::io::{self, Write};

use agentd_protocol::control::{AgentView, ReloadReport};

use super::agents::is_well;
use super::events::Page;
use super::tests::screen;
use super::{Screen, agent, agents, events, findings, metrics, status};

#[path = "../../tests/fake/samples.rs"]
mod samples;

/// Holds what is drawn against its snapshots, after a check that no line is wider than the screen
/// or ends in blanks.
fn holds(name: &str, draw: impl Fn(&Screen, &mut dyn Write) -> io::Result<()>) {
    for width in [Some(80), Some(120), None] {
        let mut out = Vec::new();
        draw(&screen(width), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in text.lines() {
            let limit = width.map_or(usize::MAX, usize::from);
            assert!(line.chars().count() <= limit, "{name}: wider than {limit}: {line}");
            assert_eq!(line, line.trim_end(), "{name}: blanks at the end");
        }
        let place = width.map_or("pipe".to_owned(), |width| width.to_string());
        insta::assert_snapshot!(format!("{name}_{place}"), text);
    }
}

#[test]
fn list() {
    holds("list", |screen, out| agents::list(screen, &samples::agents(), out));
    holds("list_well", |screen, out| agents::list(screen, &samples::well(), out));
}

#[test]
fn show() {
    let found: Vec<_> =
        samples::findings().into_iter().filter(|finding| finding.agent == "network").collect();
    let happened: Vec<_> = samples::events()
        .into_iter()
        .filter(|event| event.agent.as_deref() == Some("network"))
        .collect();
    holds("show", |screen, out| agent::show(screen, &samples::network(), &found, &happened, out));
    let failed = samples::agents().agents.into_iter().nth(2).unwrap();
    holds("show_failed", |screen, out| agent::show(screen, &failed, &[], &[], out));
}

#[test]
fn events_are_aligned_once_they_are_measured() {
    holds("events", |screen, out| {
        let mut page = Page::of_all();
        page.measure(screen, &samples::events());
        samples::events().iter().try_for_each(|event| page.draw(screen, event, out))
    });
}

#[test]
fn findings_with_their_evidence() {
    holds("findings", |screen, out| findings::list(screen, &samples::findings(), out));
}

#[test]
fn metrics_and_a_series_with_its_chart() {
    holds("metrics", |screen, out| metrics::list(screen, &samples::metrics().metrics, out));
    holds("series", |screen, out| metrics::series(screen, &samples::series(40), out));
    holds("series_days", |screen, out| metrics::series(screen, &samples::series(5 * 1_440), out));
    holds("series_short", |screen, out| metrics::series(screen, &samples::series(2), out));
}

#[test]
fn doctor() {
    let all = samples::agents().agents;
    let unwell: Vec<&AgentView> = all.iter().filter(|agent| !is_well(agent)).collect();
    holds("doctor", |screen, out| status::doctor(screen, &samples::status(), &unwell, out));
    holds("doctor_well", |screen, out| status::doctor(screen, &samples::good_status(), &[], out));
}

#[test]
fn explain() {
    holds("explain", |screen, out| status::explain(screen, &samples::explanation(), out));
}

#[test]
fn reload() {
    holds("reload_dry", |screen, out| status::reload(screen, &samples::reload(), out));
    let applied = ReloadReport { applied: true, ..samples::reload() };
    holds("reload", |screen, out| status::reload(screen, &applied, out));
}

#[test]
fn colour_changes_no_character() {
    let draw = |is_coloured| {
        let screen = Screen { is_coloured, ..screen(Some(80)) };
        let mut out = Vec::new();
        agents::list(&screen, &samples::agents(), &mut out).unwrap();
        agent::show(
            &screen,
            &samples::network(),
            &samples::findings(),
            &samples::events(),
            &mut out,
        )
        .unwrap();
        events::Page::of_all().draw(&screen, &samples::events()[0], &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let coloured = draw(true);
    assert!(coloured.contains("\u{1b}["));
    let stripped = anstream::adapter::strip_str(&coloured).to_string();
    let trimmed = stripped.lines().map(|line| format!("{}\n", line.trim_end()));
    assert_eq!(trimmed.collect::<String>(), draw(false));
}
