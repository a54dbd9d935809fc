//! agent-storage.
