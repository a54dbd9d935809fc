//! Whether a message of an agent is sensible: lengths, counts, names, numbers.

use agentd_model::Finding;
use agentd_protocol::channel::{
    CheckInfo, MAX_CHECKS, MAX_FINDINGS, MAX_VALUES, Outcome, Ready, ReloadReply, Report, Sample,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Said;

/// Longest name of a check.
const MAX_NAME: usize = 64;
/// Longest version, reason, one-line summary of a check.
const MAX_TEXT: usize = 512;
/// Most problems with settings that are kept.
const MAX_PROBLEMS: usize = 32;
/// Longest name of a reading.
const MAX_VALUE_NAME: usize = 128;

/// Why a message is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("called {0:?}, which there is not")]
    Method(String),
    #[error("sent a malformed {what}: {why}")]
    Malformed { what: String, why: String },
    #[error("sent a {what} with {field} that is {why}")]
    Field { what: &'static str, field: &'static str, why: &'static str },
    #[error("sent a {what} with {found} {field}, more than {most}")]
    TooMany { what: &'static str, field: &'static str, found: usize, most: usize },
}

impl Refusal {
    pub(super) fn method(name: &str) -> Self {
        Self::Method(clean(name, 128))
    }
}

pub(super) fn decode<T: DeserializeOwned>(
    what: &str,
    parameters: Map<String, Value>,
) -> Result<T, Refusal> {
    serde_json::from_value(Value::Object(parameters)).map_err(|err| Refusal::Malformed {
        what: what.to_owned(),
        why: clean(&err.to_string(), 200),
    })
}

pub(super) fn ready(ready: Ready) -> Result<Said, Refusal> {
    const WHAT: &str = "Ready";
    at_most(WHAT, "checks", ready.checks.len(), MAX_CHECKS)?;
    text(WHAT, "a version", &ready.version, 64)?;
    for check in &ready.checks {
        check_name(WHAT, &check.name)?;
        text(WHAT, "a summary", &check.summary, MAX_TEXT)?;
    }
    let mut names: Vec<&str> = ready.checks.iter().map(|check| check.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refusal::Field { what: WHAT, field: "a check", why: "named twice" });
    }
    let Ready { version, checks } = ready;
    Ok(Said::Ready { version, checks: checks.into_iter().map(bounded).collect() })
}

fn bounded(check: CheckInfo) -> CheckInfo {
    /// JSON numbers are exact up to here in every reader.
    const MOST: u64 = 1 << 53;
    CheckInfo {
        every_ms: check.every_ms.min(MOST),
        timeout_ms: check.timeout_ms.min(MOST),
        ..check
    }
}

pub(super) fn report(report: Report) -> Result<Said, Refusal> {
    const WHAT: &str = "Report";
    check_name(WHAT, &report.check)?;
    at_most(WHAT, "findings", report.findings.len(), MAX_FINDINGS)?;
    if let Some(reason) = &report.reason {
        text(WHAT, "a reason", reason, MAX_TEXT)?;
    }
    for finding in &report.findings {
        check_finding(finding)?;
    }
    let mut keys: Vec<&str> = report.findings.iter().map(|finding| finding.key.as_str()).collect();
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refusal::Field { what: WHAT, field: "a key", why: "used twice" });
    }
    Ok(Said::Report(report))
}

fn check_finding(finding: &Finding) -> Result<(), Refusal> {
    const WHAT: &str = "Report";
    if finding.key.is_empty() {
        return Err(Refusal::Field { what: WHAT, field: "a key", why: "empty" });
    }
    text(WHAT, "a key", &finding.key, Finding::MAX_KEY)?;
    text(WHAT, "a summary", &finding.summary, Finding::MAX_SUMMARY)?;
    let evidence: usize =
        finding.evidence.iter().map(|(name, value)| name.len() + value.len()).sum();
    if evidence > Finding::MAX_EVIDENCE {
        return Err(Refusal::Field { what: WHAT, field: "evidence", why: "too long" });
    }
    Ok(())
}

pub(super) fn sample(sample: Sample) -> Result<Said, Refusal> {
    const WHAT: &str = "Sample";
    at_most(WHAT, "values", sample.values.len(), MAX_VALUES)?;
    for value in &sample.values {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
        if value.name.is_empty()
            || value.name.len() > MAX_VALUE_NAME
            || !value.name.bytes().all(is_name)
        {
            return Err(Refusal::Field { what: WHAT, field: "a name", why: "not a name" });
        }
        text(WHAT, "a unit", &value.unit, 16)?;
        if !value.value.is_finite() {
            return Err(Refusal::Field { what: WHAT, field: "a value", why: "not finite" });
        }
    }
    Ok(Said::Sample(sample.values))
}

/// Problems are shown to people: cut and cleaned, never refused.
pub(super) fn settled(reply: ReloadReply) -> ReloadReply {
    let problems = reply.problems.iter().take(MAX_PROBLEMS).map(|text| clean(text, MAX_TEXT));
    ReloadReply { problems: problems.collect() }
}

/// What a message weighs against the agent's pace.
pub(super) fn cost(said: &Said) -> u32 {
    let findings = match said {
        Said::Report(report) if report.outcome == Outcome::Measured => report.findings.len(),
        Said::Report(_)
        | Said::Ready { .. }
        | Said::Heartbeat
        | Said::Sample(_)
        | Said::Settled(_)
        | Said::Slowed
        | Said::Broke(_)
        | Said::Closed => 0,
    };
    1 + u32::try_from(findings).unwrap_or(u32::MAX - 1)
}

/// Cut to `most` bytes, control characters replaced: safe to log and to show.
pub(super) fn clean(text: &str, most: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(most));
    for c in text.chars() {
        let c = if c.is_control() { '\u{fffd}' } else { c };
        if clean.len() + c.len_utf8() > most {
            break;
        }
        clean.push(c);
    }
    clean
}

fn check_name(what: &'static str, name: &str) -> Result<(), Refusal> {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_name) {
        return Err(Refusal::Field { what, field: "a check's name", why: "not a name" });
    }
    Ok(())
}

fn text(what: &'static str, field: &'static str, text: &str, most: usize) -> Result<(), Refusal> {
    if text.len() > most {
        return Err(Refusal::Field { what, field, why: "too long" });
    }
    if text.chars().any(char::is_control) {
        return Err(Refusal::Field { what, field, why: "not plain text" });
    }
    Ok(())
}

fn at_most(
    what: &'static str,
    field: &'static str,
    found: usize,
    most: usize,
) -> Result<(), Refusal> {
    if found > most { Err(Refusal::TooMany { what, field, found, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use agentd_model::Severity;
    use agentd_protocol::channel::Value as Reading;

    use super::*;

    fn finding(key: &str) -> Finding {
        Finding {
            key: key.into(),
            severity: Severity::Warning,
            summary: "s".into(),
            evidence: std::collections::BTreeMap::new(),
        }
    }

    fn report_of(check: &str, findings: Vec<Finding>) -> Report {
        let outcome = Outcome::Measured;
        Report { check: check.into(), outcome, reason: None, findings, took_ms: 1 }
    }

    fn info(name: &str) -> CheckInfo {
        CheckInfo { name: name.into(), summary: String::new(), every_ms: u64::MAX, timeout_ms: 1 }
    }

    #[test]
    fn sensible_messages_are_taken() {
        let ready_one = Ready { version: "1".into(), checks: vec![info("a"), info("b-2")] };
        assert!(matches!(ready(ready_one), Ok(Said::Ready { .. })));
        let findings = (0..MAX_FINDINGS).map(|i| finding(&i.to_string())).collect();
        assert!(report(report_of("a", findings)).is_ok());
        let reading = Reading { name: "cpu.busy".into(), value: 0.5, unit: "percent".into() };
        assert!(sample(Sample { values: vec![reading] }).is_ok());
    }

    #[test]
    fn what_is_too_much_too_long_twice_or_no_name_is_refused_in_words() {
        let long = "x".repeat(MAX_TEXT + 1);
        let refused = [
            ready(Ready { version: long.clone(), checks: vec![] }),
            ready(Ready { version: "1".into(), checks: vec![info("a"); 2] }),
            ready(Ready { version: "1".into(), checks: vec![info("A b")] }),
            ready(Ready { version: "1\n".into(), checks: vec![] }),
            report(report_of("", vec![])),
            report(report_of("a", vec![finding("k"); 2])),
            report(report_of("a", vec![finding("")])),
            report(report_of("a", vec![finding("\u{1b}[31m")])),
            report(Report { reason: Some(long), ..report_of("a", vec![]) }),
            report(report_of("a", (0..=MAX_FINDINGS).map(|i| finding(&i.to_string())).collect())),
            sample(Sample {
                values: vec![Reading { name: "a b".into(), value: 0.0, unit: "1".into() }],
            }),
            sample(Sample {
                values: vec![Reading { name: "a".into(), value: f64::NAN, unit: "1".into() }],
            }),
        ];
        for refusal in refused {
            let words = refusal.expect_err("is refused").to_string();
            assert!(words.starts_with("sent a "), "{words}");
        }
        let heavy = Finding {
            evidence: [("k".to_owned(), "v".repeat(Finding::MAX_EVIDENCE))].into(),
            ..finding("k")
        };
        assert!(report(report_of("a", vec![heavy])).is_err());
    }

    #[test]
    fn text_is_cut_at_characters_and_cleaned_of_control() {
        assert_eq!(clean("a\u{1b}b\n", 100), "a\u{fffd}b\u{fffd}");
        assert_eq!(clean("éé", 3), "é");
    }

    #[test]
    fn problems_with_settings_are_cut_never_refused() {
        let many = ReloadReply { problems: vec!["\u{7}".repeat(1000); 100] };
        let kept = settled(many).problems;
        assert_eq!(kept.len(), MAX_PROBLEMS);
        assert!(kept.iter().all(|text| text.len() <= MAX_TEXT));
    }
}
