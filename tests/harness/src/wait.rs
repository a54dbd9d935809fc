//! Waiting for a condition: the only place where a test sleeps or reads a clock.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Longest wait for what takes milliseconds on an idle machine. Long, because tests share the
/// machine with compilers; a test that passes never waits for it.
pub const LIMIT: Duration = Duration::from_secs(30);

/// How often a condition is looked at: rarely enough to leave agentd the processor.
const EVERY: Duration = Duration::from_millis(3);

/// Calls `probe` until it gives a value, for at most `limit`. `probe` says what it saw instead, and
/// the last of that is in the message of the panic that ends a wait in vain.
#[track_caller]
pub fn wait_for<T, E: Display>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<T, E>,
) -> T {
    let begun = clock();
    loop {
        match probe() {
            Ok(value) => return value,
            Err(seen) if begun.elapsed() >= limit => {
                panic!("waited {limit:?} in vain for {what}; last seen: {seen}")
            }
            Err(_) => pause(),
        }
    }
}

/// Now, for measuring and for limits.
#[allow(clippy::disallowed_methods, reason = "the one place where the harness reads a clock")]
pub fn clock() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "between two looks at a condition")]
fn pause() {
    std::thread::sleep(EVERY);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_given_as_soon_as_there_is_one() {
        let mut looks = 0;
        let value = wait_for("three looks", LIMIT, || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(looks) }
        });
        assert_eq!(value, 3);
    }

    #[test]
    #[should_panic(expected = "waited 10ms in vain for a miracle; last seen: nothing")]
    fn a_wait_in_vain_says_what_was_seen_last() {
        wait_for("a miracle", Duration::from_millis(10), || Err::<(), _>("nothing"));
    }
}
