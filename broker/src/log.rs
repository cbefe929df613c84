//! The input log: writing inputs in envelopes, reading a partition in order, dropping what a
//! checkpoint covers.

mod reader;
mod room;
mod writer;

pub use reader::{LogMessage, LogReader, ReadError};
pub use writer::{LogWriter, Outside, WriterTask, input_bytes};
