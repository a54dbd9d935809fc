//! agentd-store.
