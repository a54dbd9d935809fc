//! Tests of the real agentd with agents that misbehave. This library is empty: the package is its
//! tests, in `tests/process/`, one program so that it is linked once.
