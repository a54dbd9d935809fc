//! Nothing: the tests are in `tests/vm/`.
