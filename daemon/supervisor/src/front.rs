//! The front ends: they say who asks, translate, and nothing else.

pub mod bus;
pub mod varlink;
