//! System calls that nix and rustix lack.
