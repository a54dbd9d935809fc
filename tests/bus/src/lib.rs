//! bus-tests.
