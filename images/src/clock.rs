//! The one place that reads the clock of the machine that builds and boots.

use std::time::{Duration, Instant};

/// A moment on this machine's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(Instant);

impl Moment {
    /// Now.
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the place where this crate reads the clock"
    )]
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    /// How long ago this was.
    pub(crate) fn elapsed(self) -> Duration {
        Self::now().0.saturating_duration_since(self.0)
    }
}

/// A limit that a wait must keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    from: Moment,
    limit: Duration,
}

impl Deadline {
    /// So long from now.
    pub(crate) fn after(limit: Duration) -> Self {
        Self { from: Moment::now(), limit }
    }

    /// What is left; zero once it has passed.
    pub(crate) fn left(self) -> Duration {
        self.limit.saturating_sub(self.from.elapsed())
    }

    /// Whether it has passed.
    pub(crate) fn is_over(self) -> bool {
        self.left().is_zero()
    }

    /// The limit that was set.
    pub(crate) fn limit(self) -> Duration {
        self.limit
    }
}

/// Seconds with one decimal, as all progress lines show them.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
