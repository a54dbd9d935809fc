//! agentd-launch.

fn main() {}
