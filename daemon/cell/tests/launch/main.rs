//! The real launcher. `anywhere` needs no root; `as_root` proves the whole cell, each denial inside
//! beside what the same act does outside, and says loudly where it could not run.

#[path = "../support/mod.rs"]
mod support;

mod anywhere;
mod as_root;
mod bed;
