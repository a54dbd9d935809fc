//! agentctl.

fn main() {}
