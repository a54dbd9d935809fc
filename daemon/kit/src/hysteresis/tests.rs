//! Tables of what must come out, and properties over anything that may go in.

use proptest::prelude::*;

use super::*;
use crate::clock;
use crate::reading::Readings;
use crate::settings::Defaults;

fn rules(raise_after: u32, clear_after: u32) -> InForce {
    let defaults = Defaults::every(clock::seconds(10)).thresholds(85.0, 95.0, 5.0);
    InForce::from(&defaults.raise_after(raise_after).clear_after(clear_after))
}

/// The severity after each value of one key.
fn play(rules: &InForce, values: &[f64]) -> String {
    let mut memory = Hysteresis::default();
    values
        .iter()
        .map(|value| {
            let mut readings = Readings::new();
            readings.measure("disk", *value, "percent", format!("{value} %"));
            letter(&memory.apply(readings.readings, rules).0)
        })
        .collect()
}

fn letter(findings: &[Finding]) -> char {
    match findings.iter().map(|finding| finding.severity).max() {
        None => '.',
        Some(Severity::Info) => 'i',
        Some(Severity::Warning) => 'w',
        Some(Severity::Critical) => 'c',
    }
}

#[test]
fn thresholds_and_margin_decide() {
    for (raise_after, clear_after, values, expected) in [
        // At the threshold is past it; below by less than the margin is not good yet.
        (1, 1, &[84.9, 85.0, 84.0, 80.1, 80.0, 79.9][..], ".wwww."),
        (1, 1, &[95.0, 94.0, 90.0, 89.9, 79.9], "cccw."),
        // One spike raises nothing, one dip clears nothing.
        (3, 2, &[90.0, 90.0, 10.0, 90.0, 90.0, 90.0, 10.0, 90.0, 10.0, 10.0], ".....wwww."),
        // Critical needs its own row; the warning comes with the mixed one.
        (3, 1, &[96.0, 90.0, 96.0, 96.0, 96.0], "..wwc"),
        // From critical to warning by the same rules, then away.
        (1, 2, &[99.0, 86.0, 86.0, 10.0, 10.0], "ccww."),
        // The band between threshold and margin breaks a row of either kind.
        (2, 2, &[90.0, 82.0, 90.0, 90.0, 10.0, 82.0, 10.0, 10.0], "...wwww."),
        // Straight away from critical.
        (1, 1, &[99.0, 10.0], "c."),
    ] {
        assert_eq!(play(&rules(raise_after, clear_after), values), expected, "{values:?}");
    }
}

#[test]
fn a_condition_is_counted_like_a_value_and_its_absence_is_good() {
    let rules = rules(2, 2);
    let mut memory = Hysteresis::default();
    let mut run = |severity: Option<Severity>| {
        let mut readings = Readings::new();
        if let Some(severity) = severity {
            readings.raise("link", severity, "eth0 has no carrier").evidence("link", "eth0");
        }
        let (findings, changes) = memory.apply(readings.readings, &rules);
        if let Some(open) = findings.first() {
            assert_eq!(open.evidence["link"], "eth0", "kept while it waits to be cleared");
        }
        let moves: Vec<_> = changes.into_iter().map(|c| (c.from, c.to)).collect();
        (letter(&findings), moves)
    };
    let (warning, critical) = (Severity::Warning, Severity::Critical);
    assert_eq!(run(Some(warning)), ('.', vec![]));
    assert_eq!(run(Some(critical)), ('w', vec![(None, Some(warning))]));
    assert_eq!(run(Some(critical)), ('c', vec![(Some(warning), Some(critical))]));
    assert_eq!(run(None), ('c', vec![]));
    assert_eq!(run(None), ('.', vec![(Some(critical), None)]));
    assert_eq!(run(None), ('.', vec![]));
    assert!(memory.tracks.is_empty(), "a closed key is forgotten");
}

#[test]
fn keys_do_not_touch_each_other_and_the_worse_of_two_readings_counts() {
    let rules = rules(1, 1);
    let mut memory = Hysteresis::default();
    let mut readings = Readings::new();
    readings.measure("a", 90.0, "percent", "a");
    readings.measure("b", 10.0, "percent", "b");
    readings.raise("c", Severity::Critical, "worse");
    readings.raise("c", Severity::Info, "milder");
    let (findings, _) = memory.apply(readings.readings, &rules);
    let shown: Vec<_> = findings.iter().map(|f| (f.key.as_str(), f.summary.as_str())).collect();
    assert_eq!(shown, [("a", "a"), ("c", "worse")]);
    assert_eq!(findings[0].evidence["value"], "90");
    assert_eq!(findings[0].evidence["critical"], "95");
}

#[test]
fn new_rules_apply_to_what_is_already_open() {
    let mut memory = Hysteresis::default();
    let mut at = |value: f64, rules: &InForce| {
        let mut readings = Readings::new();
        readings.measure("a", value, "percent", "a");
        letter(&memory.apply(readings.readings, rules).0)
    };
    let (strict, mut lax) = (rules(1, 1), rules(1, 1));
    lax.thresholds = Some(Thresholds { warning: Some(97.0), critical: None, margin: 1.0 });
    assert_eq!(at(90.0, &strict), 'w');
    assert_eq!(at(90.0, &lax), '.');
}

/// Per key: the verdict of each reading, then whether it is open at which severity.
type History = Vec<(Verdict, Option<Severity>)>;

fn any_level() -> impl Strategy<Value = Option<Level>> {
    prop_oneof![
        2 => Just(None),
        1 => prop_oneof![Just(Severity::Info), Just(Severity::Warning), Just(Severity::Critical)]
            .prop_map(|s| Some(Level::Condition(s))),
        4 => (70.0..100.0_f64).prop_map(|value| Some(Level::Measured { value, unit: "percent" })),
    ]
}

fn history(levels: &[Option<Level>], rules: &InForce) -> History {
    let mut memory = Hysteresis::default();
    let reading = |level: &Level| Reading {
        key: "k".to_owned(),
        summary: String::new(),
        evidence: BTreeMap::new(),
        level: level.clone(),
    };
    levels
        .iter()
        .map(|level| {
            let verdict = level
                .as_ref()
                .map(|level| Verdict::of(level, rules.thresholds.as_ref()))
                .unwrap_or_default();
            let (findings, _) = memory.apply(level.iter().map(reading).collect(), rules);
            (verdict, findings.first().map(|finding| finding.severity))
        })
        .collect()
}

proptest! {
    #[test]
    fn every_rise_has_enough_bad_readings_before_it_and_every_fall_enough_good_ones(
        levels in prop::collection::vec(any_level(), 0..120),
        raise_after in 1_u32..6,
        clear_after in 1_u32..6,
    ) {
        let history = history(&levels, &rules(raise_after, clear_after));
        let mut before = None;
        for (at, (_, now)) in history.iter().enumerate() {
            if *now > before {
                let need = raise_after as usize;
                prop_assert!(at + 1 >= need);
                let row = &history[at + 1 - need..=at];
                prop_assert!(row.iter().all(|(verdict, _)| verdict.raises >= *now));
            } else if *now < before {
                let need = clear_after as usize;
                prop_assert!(at + 1 >= need);
                let row = &history[at + 1 - need..=at];
                prop_assert!(row.iter().all(|(verdict, _)| verdict.holds <= *now));
            }
            before = *now;
        }
    }

    #[test]
    fn a_key_never_flaps_faster_than_the_rules_allow(
        levels in prop::collection::vec(any_level(), 0..120),
        raise_after in 1_u32..6,
        clear_after in 1_u32..6,
    ) {
        let history = history(&levels, &rules(raise_after, clear_after));
        let open: Vec<bool> = history.iter().map(|(_, severity)| severity.is_some()).collect();
        let turns: Vec<usize> = (1..open.len()).filter(|at| open[*at] != open[*at - 1]).collect();
        for pair in turns.windows(2) {
            let least = if open[pair[1]] { raise_after } else { clear_after };
            prop_assert!(pair[1] - pair[0] >= least as usize);
        }
    }

    #[test]
    fn enough_bad_readings_always_raise_and_enough_good_ones_always_clear(
        levels in prop::collection::vec(any_level(), 0..60),
        raise_after in 1_u32..6,
        clear_after in 1_u32..6,
    ) {
        let bad = Some(Level::Condition(Severity::Critical));
        let mut worst = levels.clone();
        worst.extend(std::iter::repeat_n(bad, raise_after as usize));
        let end = history(&worst, &rules(raise_after, clear_after)).last().map(|(_, s)| *s);
        prop_assert_eq!(end, Some(Some(Severity::Critical)));
        let mut quiet = worst;
        quiet.extend(std::iter::repeat_n(None, clear_after as usize));
        let end = history(&quiet, &rules(raise_after, clear_after)).last().map(|(_, s)| *s);
        prop_assert_eq!(end, Some(None));
    }
}
