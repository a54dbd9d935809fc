//! agentd-model.
