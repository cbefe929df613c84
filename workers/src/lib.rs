//! Workers: the runtime that takes jobs, and the tools it runs for them.
//!
//! A worker is stateless: it registers nowhere, keeps nothing, and another one can finish what it
//! began. Starting more of them is all there is to scaling.
//!
//! **Architecture Invariant:** a tool never sees the broker. It gets parameters and a [`Call`] and
//! returns a value; one function in the runtime turns that value into messages.

pub mod github;
pub mod runtime;
pub mod test;
pub mod tool;

pub use runtime::{Config, Worker};
pub use tool::{Call, Reply, ToolError, Toolbox};
