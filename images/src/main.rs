//! images.

fn main() {}
