//! agent-network.
