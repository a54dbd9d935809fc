//! The agents of this appliance, one program under several names.

fn main() {}
