//! The parts of the simulated machine.

pub mod atomic;
pub mod bell_pipe;
pub mod blocks;
pub mod death;
pub mod futex;
pub mod locks;
pub mod simulator;
