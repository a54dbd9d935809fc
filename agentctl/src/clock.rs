//! The one place where agentctl reads a clock or sleeps. Everything else takes time as an argument.
#![expect(clippy::disallowed_methods, reason = "this is the one place")]

use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Now, in the time zone of the person who asks (`TZ`, or the machine's).
pub(crate) fn now() -> Zoned {
    // Zoned::now() looks for the zone's name and so lists every folder of /usr/share/zoneinfo: a
    // hundred system calls, half of what `agentctl list` needs. The rules alone do (tzfile(5)).
    let rules = match std::env::var_os("TZ") {
        Some(_) => None,
        None => std::fs::read("/etc/localtime").ok(),
    };
    let zone = rules.and_then(|rules| TimeZone::tzif("local", &rules).ok());
    Timestamp::now().to_zoned(zone.unwrap_or_else(TimeZone::system))
}

/// Now, for time-outs.
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// Waits before something is tried again that cannot be waited for: a socket that is not there
/// yet, a file that grows.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
