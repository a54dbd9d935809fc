//! The one place where agentd reads a clock.

use std::time::Duration;

use agentd_model::Mono;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Now on `CLOCK_BOOTTIME` (clock_gettime(2)): suspend counts, a set clock does not.
pub fn mono() -> Mono {
    Mono(duration(clock_gettime(ClockId::Boottime)))
}

/// Now as milliseconds since the Unix epoch; zero where the clock stands before it.
pub fn wall_ms() -> i64 {
    i64::try_from(duration(clock_gettime(ClockId::Realtime)).as_millis()).unwrap_or(i64::MAX)
}

/// What the wall clock says of a moment that lies at `then` on the monotonic one.
pub fn wall_ms_of(then: Mono) -> i64 {
    let ago = i64::try_from(mono().since(then).as_millis()).unwrap_or(i64::MAX);
    wall_ms().saturating_sub(ago)
}

fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}
