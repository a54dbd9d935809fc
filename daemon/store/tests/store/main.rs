//! What the store promises, on real files.
#![allow(clippy::unwrap_used, reason = "test code, but not all #[test] to clippy")]

mod bed;
mod damage;
mod property;
mod rows;
