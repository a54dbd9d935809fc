//! The channel's limits, kept on this side: agentd refuses what is over them, and a check that
//! finds too much must still be heard. What is worst is kept; what was left out is said.

use std::collections::BTreeMap;

use agentd_model::{Finding, Severity};
use agentd_protocol::Frames;
use agentd_protocol::channel::{MAX_FINDINGS, Value};

/// Longest reason of an unknown check, in bytes.
pub(crate) const MAX_REASON: usize = 2048;
/// Longest name of one piece of evidence, in bytes.
const MAX_EVIDENCE_NAME: usize = 64;
/// Longest name of a kept value.
const MAX_VALUE_NAME: usize = 128;
/// Longest unit of a kept value, in bytes.
const MAX_UNIT: usize = 32;
/// Bytes that all findings of one report may have when encoded; the rest of the frame is for the
/// report around them.
const MAX_ENCODED: usize = Frames::CHANNEL_LIMIT - 8 * 1024;
/// What a summary is cut to when a report does not fit otherwise. With this, even 256 findings with
/// the longest keys fit when every byte is escaped: 256 * 2 * (256 + 128) bytes and the keys of JSON.
const SHORT_SUMMARY: usize = 128;

/// At most `max` bytes of `text`, cut at a character, with `…` where something was cut. Control
/// characters become U+FFFD: names from the machine end up on people's terminals.
pub(crate) fn text(text: &str, max: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        let c = if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        if clean.len() + c.len_utf8() > max {
            let mark = '…';
            while clean.len() + mark.len_utf8() > max && clean.pop().is_some() {}
            if mark.len_utf8() <= max {
                clean.push(mark);
            }
            break;
        }
        clean.push(c);
    }
    clean
}

/// A key that fits. One that is too long keeps its beginning and gets a hash of the whole, so that
/// two long keys stay two keys, the same on every run.
pub(crate) fn key(whole: &str) -> String {
    let clean = text(whole, usize::MAX);
    if clean.len() <= Finding::MAX_KEY {
        return clean;
    }
    let hash = format!("~{:016x}", fnv1a(whole.as_bytes()));
    format!("{}{hash}", text(&clean, Finding::MAX_KEY - hash.len()))
}

/// FNV-1a, 64 bits (draft-eastlake-fnv, section 2): stable between versions and machines, which
/// the standard library's hasher does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The findings as they may be sent: worst first, at most [`MAX_FINDINGS`] of them, each within its
/// limits, all of them within one frame.
pub(crate) fn findings(check: &str, mut found: Vec<Finding>) -> Vec<Finding> {
    found.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.key.cmp(&b.key)));
    if found.len() > MAX_FINDINGS {
        let all = found.len();
        let dropped = found.split_off(MAX_FINDINGS - 1);
        let worst = dropped.iter().map(|finding| finding.severity).max();
        found.push(Finding {
            key: format!("too-many:{check}"),
            severity: worst.unwrap_or(Severity::Warning),
            summary: format!("{} more findings of {check} are not shown", dropped.len()),
            evidence: BTreeMap::from([
                ("found".to_owned(), all.to_string()),
                ("not_shown".to_owned(), dropped.len().to_string()),
            ]),
        });
    }
    for finding in &mut found {
        finding.key = key(&finding.key);
        finding.summary = text(&finding.summary, Finding::MAX_SUMMARY);
        finding.evidence = evidence(&finding.evidence);
    }
    fit(found)
}

fn evidence(whole: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut left = Finding::MAX_EVIDENCE;
    let mut kept = BTreeMap::new();
    for (name, value) in whole {
        let name = text(name, MAX_EVIDENCE_NAME);
        if name.len() >= left {
            break;
        }
        left -= name.len();
        let value = text(value, left);
        left -= value.len();
        kept.insert(name, value);
    }
    kept
}

/// Takes evidence, then length, from the mildest findings until all fit into one frame.
fn fit(mut found: Vec<Finding>) -> Vec<Finding> {
    let mut total: usize = found.iter().map(encoded).sum();
    let steps: [fn(&mut Finding); 2] = [
        |finding| {
            finding.evidence = BTreeMap::from([("left_out".to_owned(), "true".to_owned())]);
        },
        |finding| finding.summary = text(&finding.summary, SHORT_SUMMARY),
    ];
    for step in steps {
        for finding in found.iter_mut().rev() {
            if total <= MAX_ENCODED {
                return found;
            }
            total -= encoded(finding);
            step(finding);
            total += encoded(finding);
        }
    }
    found
}

/// Bytes of a finding in a message, its comma included.
fn encoded(finding: &Finding) -> usize {
    serde_json::to_vec(finding).map_or(0, |bytes| bytes.len() + 1)
}

/// The values as they may be sent: names of the allowed characters, numbers only.
pub(crate) fn values(samples: Vec<Value>) -> Vec<Value> {
    samples
        .into_iter()
        .filter(|sample| sample.value.is_finite())
        .map(|sample| Value {
            name: value_name(&sample.name),
            value: sample.value,
            unit: text(&sample.unit, MAX_UNIT),
        })
        .collect()
}

fn value_name(name: &str) -> String {
    name.chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_alphanumeric() || "._:/-".contains(c) { c } else { '-' })
        .take(MAX_VALUE_NAME)
        .collect()
}

#[cfg(test)]
mod tests {
    use agentd_protocol::channel::{Outcome, Report};
    use agentd_protocol::message;
    use proptest::prelude::*;

    use super::*;

    fn finding(key: &str, severity: Severity) -> Finding {
        Finding {
            key: key.to_owned(),
            severity,
            summary: "s".to_owned(),
            evidence: BTreeMap::new(),
        }
    }

    #[test]
    fn the_worst_are_kept_and_the_rest_is_counted() {
        let mut many: Vec<_> =
            (0..400).map(|n| finding(&format!("w{n:03}"), Severity::Warning)).collect();
        many.push(finding("zzz", Severity::Critical));
        let kept = findings("ports", many);
        assert_eq!(kept.len(), MAX_FINDINGS);
        assert_eq!(kept[0].key, "zzz");
        let last = &kept[MAX_FINDINGS - 1];
        assert_eq!(last.key, "too-many:ports");
        assert_eq!(last.severity, Severity::Warning);
        assert_eq!(last.evidence["not_shown"], "146");
    }

    #[test]
    fn as_many_as_allowed_are_all_kept_and_one_more_is_counted() {
        let kept = |count: usize| {
            let many = (0..count).map(|n| finding(&n.to_string(), Severity::Info)).collect();
            findings("ports", many)
        };
        assert_eq!(kept(MAX_FINDINGS).len(), MAX_FINDINGS);
        assert!(kept(MAX_FINDINGS).iter().all(|f| !f.key.starts_with("too-many")));
        assert_eq!(kept(MAX_FINDINGS + 1).len(), MAX_FINDINGS);
        assert_eq!(kept(MAX_FINDINGS + 1)[MAX_FINDINGS - 1].evidence["not_shown"], "2");
    }

    #[test]
    fn long_keys_stay_distinct_and_stable() {
        let (a, b) = (format!("{}a", "k".repeat(500)), format!("{}b", "k".repeat(500)));
        assert_ne!(key(&a), key(&b));
        assert_eq!(key(&a), key(&a));
        assert!(key(&a).len() <= Finding::MAX_KEY);
    }

    #[test]
    fn values_that_are_no_numbers_and_names_that_are_no_names_do_not_pass() {
        let value = |name: &str, value| Value { name: name.to_owned(), value, unit: "1".into() };
        let kept = values(vec![value("a", f64::NAN), value("net.Br_lan é", 1.0)]);
        assert_eq!(kept, [value("net.br_lan--", 1.0)]);
    }

    /// Long texts of what is short, long or escaped when encoded.
    fn any_text(longest: usize) -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec!["a", "\"", "\\", "\u{1}", "\n", "\u{e9}", "…", "𝄞"]);
        (part, 0..longest).prop_map(|(part, count)| part.repeat(count))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_is_found_fits_the_channel(
            found in prop::collection::vec((any_text(600), any_text(2000), any_text(9000)), 0..40),
            copies in 1_usize..12,
        ) {
            let all: Vec<Finding> = found
                .iter()
                .flat_map(|one| std::iter::repeat_n(one, copies))
                .enumerate()
                .map(|(n, (key, summary, value))| Finding {
                    key: format!("{n}{key}"),
                    severity: if n % 2 == 0 { Severity::Warning } else { Severity::Critical },
                    summary: summary.clone(),
                    evidence: BTreeMap::from([("v".to_owned(), value.clone())]),
                })
                .collect();
            let report = Report {
                check: "c".repeat(64),
                outcome: Outcome::Measured,
                reason: None,
                findings: findings("c", all),
                took_ms: u64::MAX,
            };
            prop_assert!(report.findings.len() <= MAX_FINDINGS);
            for f in &report.findings {
                prop_assert!(f.key.len() <= Finding::MAX_KEY);
                prop_assert!(f.summary.len() <= Finding::MAX_SUMMARY);
                let evidence: usize = f.evidence.iter().map(|(k, v)| k.len() + v.len()).sum();
                prop_assert!(evidence <= Finding::MAX_EVIDENCE);
            }
            prop_assert!(message::encode(&report).unwrap().len() < Frames::CHANNEL_LIMIT - 1024);
        }

    }

    proptest! {
        #[test]
        fn text_is_cut_within_its_limit_and_holds_no_control_character(
            whole in any::<String>(), max in 0_usize..64,
        ) {
            let cut = text(&whole, max);
            prop_assert!(cut.len() <= max);
            prop_assert!(!cut.chars().any(char::is_control));
            if whole.len() <= max && !whole.chars().any(char::is_control) {
                prop_assert_eq!(cut, whole);
            }
        }
    }
}
