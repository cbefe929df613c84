//! Load and chaos harness of AFU-9, and the simulations of the outside world that it needs.
//!
//! Integration tests of other crates run the simulations in their own process; the binary runs them
//! for demonstrations.

pub mod bench;
pub mod chaos;
pub mod load;
pub mod nats;
mod proc;
mod random;
pub mod simulated_github;
pub mod soak;
mod system;
