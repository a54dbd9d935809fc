//! agent-monitor.
