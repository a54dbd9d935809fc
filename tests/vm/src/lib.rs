//! vm-tests.
