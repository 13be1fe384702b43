//! PID 1 of the guests that the tests of this package boot.

fn main() {}
