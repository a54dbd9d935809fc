//! What a person sees while the image is made: a line per stage with its time, on stderr, so that
//! stdout holds nothing but what a command in the machine wrote.
#![allow(
    clippy::print_stderr,
    reason = "stderr is this module's whole purpose; stdout is never written"
)]

use crate::clock::{Moment, seconds};

/// Tells how far things are, or says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    quiet: bool,
}

impl Progress {
    /// Lines on stderr.
    pub fn on_stderr() -> Self {
        Self { quiet: false }
    }

    /// Nothing at all.
    pub fn quiet() -> Self {
        Self { quiet: true }
    }

    /// A line by itself.
    pub fn say(self, text: &str) {
        if !self.quiet {
            eprintln!("agentos: {text}");
        }
    }

    /// Does one stage, and says what it was and how long it took. `expect` is said before the work
    /// where a person would otherwise wonder.
    pub fn stage<T, E>(
        self,
        name: &str,
        expect: Option<&str>,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(expect) = expect {
            self.say(&format!("{name}: {expect}"));
        }
        let start = Moment::now();
        let done = work()?;
        self.say(&format!("{name}: {}", seconds(start.elapsed())));
        Ok(done)
    }
}
