//! The command line of pointsman.

fn main() {}
