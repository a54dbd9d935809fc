//! agentd.
