//! What happened within a window of time: the memory of a check that counts events.

use std::collections::VecDeque;
use std::time::Duration;

use agentd_model::Mono;

/// Events of the recent past with their times. Holds at most [`Recent::MAX`]; of more, the oldest
/// are forgotten first.
#[derive(Clone, Debug)]
pub struct Recent<T> {
    events: VecDeque<(Mono, T)>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { events: VecDeque::new() }
    }
}

impl<T> Recent<T> {
    /// Most events remembered.
    pub const MAX: usize = 1000;

    /// Something happened at `at`. Events come in the order they happened, or nearly.
    pub fn push(&mut self, at: Mono, event: T) {
        if self.events.len() == Self::MAX {
            self.events.pop_front();
        }
        self.events.push_back((at, event));
    }

    /// Forgets what happened longer than `window` before `now`.
    pub fn forget(&mut self, now: Mono, window: Duration) {
        self.events.retain(|(at, _)| now.since(*at) <= window);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.events.clear();
    }

    /// What is remembered, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.events.iter().map(|(_, event)| event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    #[test]
    fn events_are_forgotten_by_age_and_by_number() {
        let mut recent = Recent::default();
        recent.push(at(10), 'a');
        recent.push(at(20), 'b');
        recent.forget(at(70), Duration::from_secs(60));
        assert_eq!(recent.iter().collect::<String>(), "ab");
        recent.forget(at(71), Duration::from_secs(60));
        assert_eq!(recent.iter().collect::<String>(), "b");
        for _ in 0..Recent::<char>::MAX {
            recent.push(at(30), 'c');
        }
        assert_eq!(recent.iter().len(), Recent::<char>::MAX);
        assert!(recent.iter().all(|event| *event == 'c'));
        recent.clear();
        assert_eq!(recent.iter().len(), 0);
    }
}
