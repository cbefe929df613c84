//! The laws of the engine: its transition table cell by cell, its properties under every
//! interleaving, and what its predecessor got wrong.

mod bounds;
mod checkpoints;
mod choices;
mod clocks;
mod contention;
mod controls;
mod deferred;
mod definitions;
mod holds;
#[path = "../shared/inputs.rs"]
mod inputs;
mod interleaving;
mod keys;
#[path = "../shared/lawful.rs"]
mod lawful;
mod lists;
mod lost;
mod moves;
mod poison;
mod predecessor;
mod reopened;
mod repeated;
mod rig;
mod run;
mod starters;
mod transitions;
mod upgrades;
