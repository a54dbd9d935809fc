//! The one place where agentctl reads a clock or sleeps. Everything else takes time as an argument.
#![expect(clippy::disallowed_methods, reason = "this is the one place")]

use std::time::{Duration, Instant};

use jiff::Zoned;

/// Now, in the time zone of the person who asks (`TZ`, or the machine's).
pub(crate) fn now() -> Zoned {
    Zoned::now()
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
