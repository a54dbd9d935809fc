//! agentd-cell.
