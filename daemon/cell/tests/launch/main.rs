//! The real launcher. `anywhere` needs no root; `as_root` proves the whole cell, each denial inside
//! beside what the same act does outside, and says loudly where it could not run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code, but not all #[test] to clippy")]

#[path = "../support/mod.rs"]
mod support;

mod anywhere;
mod as_root;
mod bed;
