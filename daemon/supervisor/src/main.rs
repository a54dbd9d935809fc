//! agentd.

fn main() {}
