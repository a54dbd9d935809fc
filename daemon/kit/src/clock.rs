//! The only place in an agent that reads a clock. Checks get the time as [`Now`] in their context.

use std::time::Duration;

use agentd_model::Mono;
use nix::time::{ClockId, clock_gettime};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since boot, suspend included. For measuring how long something took.
    pub boot: Mono,
    /// Milliseconds since the Unix epoch. For showing to people; may jump.
    pub wall_ms: i64,
}

/// Reads both clocks.
pub fn now() -> Now {
    let wall = read(ClockId::CLOCK_REALTIME);
    Now { boot: boot(), wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX) }
}

/// Time since boot, suspend included.
pub fn boot() -> Mono {
    Mono(read(ClockId::CLOCK_BOOTTIME))
}

/// `Duration::from_secs`, short enough for a table of defaults.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// So many minutes.
pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

fn read(clock: ClockId) -> Duration {
    // clock_gettime(2) fails only for clocks that do not exist; both are older than Linux 2.6.39.
    clock_gettime(clock).expect("this clock exists on every kernel we run on").into()
}
