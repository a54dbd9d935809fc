//! The steps a fake agent can take, and how they are written.
//!
//! | written | what it does |
//! |---|---|
//! | `orders:PATH` | takes further steps from a datagram socket, while it is in `live` or `silent` |
//! | `settings` | waits for its settings and says that it took them; later ones too |
//! | `settings-problem:TEXT` | says that there was a problem with them |
//! | `settings-error:NAME` | answers with an error |
//! | `ready:CHECK,…` | says that it is ready, with these checks |
//! | `report:CHECK:KEY=SEVERITY,…` | reports that a check measured, and what it found |
//! | `fill:CHECK:PREFIX:N` | the same, with N findings `PREFIX0`, `PREFIX1`, … |
//! | `unknown:CHECK:REASON` | reports that a check could not measure |
//! | `sample:NAME:VALUE` | sends a reading |
//! | `call:METHOD:JSON` | calls a method of agentd, with these parameters, oneway |
//! | `raw:TEXT` | sends text on the channel and a NUL after it |
//! | `garbage` | sends bytes that are not text, and a NUL |
//! | `oversize` | sends a message that is too long and does not end |
//! | `half` | sends the first half of a message |
//! | `answer:TEXT` | sends text where answers to agentd go, and a NUL after it |
//! | `close` | closes its channel |
//! | `deaf` | from now on reads nothing that agentd sends |
//! | `ignore-sigterm` | from now on does not end on SIGTERM |
//! | `live` | beats, answers, takes orders; ends with status 0 on SIGTERM or when agentd is gone |
//! | `silent` | the same without beating |
//! | `hang` | does nothing for ever |
//! | `flood-log:N` | puts out N MiB |
//! | `flood:heartbeat`, `flood:report` | sends without end, as fast as it is read |
//! | `session` | leaves its session for one of its own (setsid(2)) |
//! | `child:STEP+STEP+…` | starts a child that takes these steps |
//! | `signal:N` | sends itself a signal |
//! | `exit:N` | exits |

use std::path::PathBuf;
use std::str::FromStr;

use agentd_model::{Finding, Severity};
use nix::sys::signal::Signal;
use serde_json::{Map, Value};

use crate::channel::Answer;
use crate::flood::Flood;

/// One step. See the table above.
#[derive(Debug)]
pub(crate) enum Step {
    Orders(PathBuf),
    Settings(Answer),
    Ready(Vec<String>),
    Report { check: String, findings: Vec<Finding> },
    Unknown { check: String, reason: String },
    Sample { name: String, value: f64 },
    Call { method: String, parameters: Map<String, Value> },
    Raw(Vec<u8>),
    Answer(Vec<u8>),
    Close,
    Deaf,
    IgnoreSigterm,
    Live,
    Silent,
    Hang,
    FloodLog(usize),
    Flood(Flood),
    Session,
    Child(Vec<String>),
    Signal(Signal),
    Exit(u8),
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        let no = || format!("{text:?} is not a step");
        let two = || rest.split_once(':').unwrap_or((rest, ""));
        Ok(match word {
            "orders" => Self::Orders(rest.into()),
            "settings" => Self::Settings(Answer::Taken),
            "settings-problem" => Self::Settings(Answer::Problem(rest.to_owned())),
            "settings-error" => Self::Settings(Answer::Error(rest.to_owned())),
            "ready" => Self::Ready(words(rest)),
            "report" => {
                let (check, found) = two();
                let findings = words(found).iter().map(|word| finding(word)).collect::<Option<_>>();
                Self::Report { check: check.to_owned(), findings: findings.ok_or_else(no)? }
            }
            "fill" => {
                let (check, rest) = two();
                let (prefix, count) = rest.split_once(':').ok_or_else(no)?;
                let count: usize = count.parse().map_err(|_| no())?;
                Self::Report { check: check.to_owned(), findings: many(prefix, count) }
            }
            "unknown" => {
                let (check, reason) = two();
                Self::Unknown { check: check.to_owned(), reason: reason.to_owned() }
            }
            "sample" => {
                let (name, value) = two();
                Self::Sample { name: name.to_owned(), value: value.parse().map_err(|_| no())? }
            }
            "call" => {
                let (method, json) = two();
                let parameters = serde_json::from_str(json).map_err(|err| err.to_string())?;
                Self::Call { method: method.to_owned(), parameters }
            }
            "raw" => Self::Raw([rest.as_bytes(), &[0]].concat()),
            "garbage" => Self::Raw([0xff, 0xfe, 0x01, b'{', 0x80, 0].to_vec()),
            "oversize" => Self::Raw(vec![b' '; 512 * 1024]),
            "half" => Self::Raw(b"{\"method\":\"org.agentos.Superv".to_vec()),
            "answer" => Self::Answer([rest.as_bytes(), &[0]].concat()),
            "close" => Self::Close,
            "deaf" => Self::Deaf,
            "ignore-sigterm" => Self::IgnoreSigterm,
            "live" => Self::Live,
            "silent" => Self::Silent,
            "hang" => Self::Hang,
            "flood-log" => Self::FloodLog(rest.parse().map_err(|_| no())?),
            "flood" => Self::Flood(rest.parse().map_err(|()| no())?),
            "session" => Self::Session,
            "child" => Self::Child(rest.split('+').map(str::to_owned).collect()),
            "signal" => {
                let number: i32 = rest.parse().map_err(|_| no())?;
                Self::Signal(number.try_into().map_err(|_| no())?)
            }
            "exit" => Self::Exit(rest.parse().map_err(|_| no())?),
            _ => return Err(no()),
        })
    }
}

fn words(list: &str) -> Vec<String> {
    list.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// `KEY=SEVERITY`.
fn finding(text: &str) -> Option<Finding> {
    let (key, severity) = text.rsplit_once('=')?;
    let severity = match severity {
        "info" => Severity::Info,
        "warning" => Severity::Warning,
        "critical" => Severity::Critical,
        _ => return None,
    };
    Some(found(key.to_owned(), severity))
}

/// So many findings at once.
pub(crate) fn many(prefix: &str, count: usize) -> Vec<Finding> {
    (0..count).map(|n| found(format!("{prefix}{n}"), Severity::Info)).collect()
}

fn found(key: String, severity: Severity) -> Finding {
    let summary = format!("{key} is not as it should be");
    let evidence = [("key".to_owned(), key.clone())].into();
    Finding { key, severity, summary, evidence }
}
