//! The parts of the simulated machine. Those of the models, but for what is simulated.

pub mod atomic;
#[allow(dead_code, reason = "the models do more with one")]
#[path = "../../models/machine/bell_pipe.rs"]
pub mod bell_pipe;
#[path = "../../models/machine/blocks.rs"]
pub mod blocks;
#[path = "../../models/machine/death.rs"]
pub mod death;
#[path = "../../models/machine/futex.rs"]
pub mod futex;
#[allow(dead_code, reason = "the models do more with one")]
#[path = "../../models/machine/locks.rs"]
pub mod locks;
pub mod simulator;
