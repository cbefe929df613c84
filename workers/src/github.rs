//! The GitHub worker.
