//! agent-system.
