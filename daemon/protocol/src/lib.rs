//! agentd-protocol.
