//! Who uses the pool, and what for. Pure: no clock, no I/O, no lock.

pub mod routing;
