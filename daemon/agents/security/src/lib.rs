//! agent-security.
