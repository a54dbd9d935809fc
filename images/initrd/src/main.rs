//! initrd.

fn main() {}
