//! process-tests.
