//! The one place that reads the clock: the kernel's own, which starts with the machine.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// How long this program has run, and when it began in the kernel's own time.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Duration,
}

impl Clock {
    /// Starts counting.
    pub(crate) fn start() -> Self {
        Self { started: now() }
    }

    /// When this program began, since the kernel did.
    pub(crate) fn started(&self) -> Duration {
        self.started
    }

    /// The kernel's time.
    pub(crate) fn now(&self) -> Duration {
        now()
    }

    /// Since this program began.
    pub(crate) fn elapsed(&self) -> Duration {
        now().saturating_sub(self.started)
    }
}

/// CLOCK_MONOTONIC: systemd's `…TimestampMonotonic` properties count on the same clock.
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}
