//! Too much of everything.

use std::io::{self, Write};
use std::str::FromStr;

use agentd_protocol::channel::{MAX_FINDINGS, Outcome, Report};
use serde_json::Map;

use crate::channel::{Channel, call_of};
use crate::step::many;

/// What a channel is flooded with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flood {
    Heartbeat,
    Report,
}

impl FromStr for Flood {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "heartbeat" => Ok(Self::Heartbeat),
            "report" => Ok(Self::Report),
            _ => Err(()),
        }
    }
}

/// Sends without end, as fast as it is read. Each report finds as much as one may, and nothing of
/// what the one before found.
pub(crate) fn channel(channel: &mut Channel, what: Flood) {
    for round in 0_u64.. {
        let bytes = match what {
            Flood::Heartbeat => call_of("Heartbeat", &Map::new(), true).repeat(100),
            Flood::Report => {
                let findings = many(&format!("{round}-"), MAX_FINDINGS);
                let outcome = Outcome::Measured;
                let check = "probe".to_owned();
                let report = Report { check, outcome, reason: None, findings, took_ms: 1 };
                call_of("Report", &report, true)
            }
        };
        channel.send(&bytes);
    }
}

/// Puts out lines, `mebibytes` in all.
pub(crate) fn log(mebibytes: usize) {
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    let block = line.repeat(1024);
    for _ in 0..mebibytes {
        io::stdout().write_all(&block).expect("the log can be written");
    }
}
