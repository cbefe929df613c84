//! What one expression may cost. Whoever writes a definition shares an orchestrator with everybody
//! else of the partition, and an owner folds one input after the other: an expression that takes a
//! second takes it from all of them.

/// Longest expression accepted, in bytes. Longer ones belong into a step.
pub const MAX_EXPRESSION_BYTES: usize = 4096;

/// How deep brackets, calls, conditionals and loops may stand in each other. The parser and the
/// evaluator go some calls deeper per level; at this depth they need 0.6 MiB of stack in a build
/// without optimization and 0.13 MiB in one with it, of the 2 MiB that a thread has.
pub const MAX_NESTING: usize = 32;

/// What one template or one condition may spend. A unit is one part of an expression evaluated, one
/// value visited or copied, or 16 bytes read or written. All of them together take some tens of
/// milliseconds, at the very worst a fifth of a second, and some tens of megabytes on the way.
pub const MAX_COST: u64 = 1_000_000;

/// Bytes of text that cost one unit: about as long to copy as a value.
pub(super) const BYTES_PER_UNIT: usize = 16;

/// Bytes of JSON text that cost one unit to read: two characters can be a value.
pub(super) const DECODED_BYTES_PER_UNIT: usize = 2;

/// Longest text that an expression may build, in bytes: twice what a step's parameters may have.
pub const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// Longest list that an expression may build: as many items as one `forEach` may run over.
pub const MAX_LIST_LENGTH: usize = 100_000;

/// How deep lists and objects may stand in each other in what an expression yields or decodes. A
/// reader of JSON gives up at 128, and what is yielded is stored inside of other values.
pub const MAX_VALUE_DEPTH: usize = 64;

/// Longest regular expression, in bytes.
pub const MAX_PATTERN_BYTES: usize = 500;

/// Largest compiled regular expression, in bytes: matching takes time in proportion to it.
pub(super) const MAX_PATTERN_MEMORY: usize = 64 * 1024;

/// What compiling a regular expression costs at evaluation. One that stands in the expression as it
/// is was compiled with it and costs nothing here.
pub(super) const PATTERN_COST: u64 = 10_000;

/// What a failure costs that something else made up for, as in `failing || true`.
pub(super) const FAILURE_COST: u64 = 10;

/// Length of what `slug` yields if nothing else is asked for: branch names of this length stay
/// readable in every list.
pub(super) const DEFAULT_SLUG_LENGTH: usize = 50;

/// Most characters of a value or an expression that an error quotes.
pub(super) const MAX_QUOTED: usize = 80;
