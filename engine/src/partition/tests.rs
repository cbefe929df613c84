//! What only the inside of a partition can be asked: what the prover finds when an index lacks something.
//! Everything else is tested from outside, in `engine/tests`.

mod prover;
