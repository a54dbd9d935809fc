//! agentd-kit.
