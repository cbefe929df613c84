//! Where in a definition a mistake is, and what it is.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in a source text; both counts begin at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Position {
    /// The first character of a text.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Where it is.
    pub position: Position,
    /// Which part of the definition it is in, as a JSON pointer.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}",
            self.position.line, self.position.column, self.message
        )?;
        if self.path.is_empty() {
            Ok(())
        } else {
            write!(f, " (at {})", self.path)
        }
    }
}

/// Where each part of a definition begins, by JSON pointer.
#[derive(Debug, Clone, Default)]
pub struct Positions {
    starts: HashMap<String, Start>,
}

#[derive(Debug, Clone, Copy)]
struct Start {
    position: Position,
    /// Column of the first character of a string's text, where the text stands on one line as it
    /// is; an offset into the text is then an offset from here.
    text_column: Option<usize>,
}

impl Positions {
    pub(super) fn insert(&mut self, path: String, position: Position, text_column: Option<usize>) {
        self.starts.insert(
            path,
            Start {
                position,
                text_column,
            },
        );
    }

    /// Where the part at `path` begins; for a part that is not there, where its nearest parent does.
    pub fn of(&self, path: &str) -> Position {
        self.start(path)
            .map_or(Position::START, |start| start.position)
    }

    /// Where character `offset` of the string at `path` is.
    pub fn inside(&self, path: &str, offset: usize) -> Position {
        match self.start(path) {
            Some(Start {
                position,
                text_column: Some(column),
            }) => Position {
                line: position.line,
                column: column + offset,
            },
            Some(start) => start.position,
            None => Position::START,
        }
    }

    fn start(&self, path: &str) -> Option<Start> {
        let mut path = path;
        loop {
            if let Some(start) = self.starts.get(path) {
                return Some(*start);
            }
            path = &path[..path.rfind('/')?];
        }
    }
}
