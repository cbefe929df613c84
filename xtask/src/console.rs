//! What a person sees. Colours only on a terminal.

use std::io::{self, IsTerminal as _, Write as _};

use afu9_servers::Progress;

use crate::interrupt::Interrupt;

/// Lines for a person, on standard output or, when that carries data, on standard error.
#[derive(Debug)]
pub(crate) struct Console {
    to: Stream,
    colours: bool,
    interrupt: Interrupt,
}

#[derive(Debug, Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

impl Console {
    pub(crate) fn stdout(interrupt: Interrupt) -> Self {
        Self {
            to: Stream::Stdout,
            colours: colours(io::stdout().is_terminal()),
            interrupt,
        }
    }

    pub(crate) fn stderr(interrupt: Interrupt) -> Self {
        Self {
            to: Stream::Stderr,
            colours: colours(io::stderr().is_terminal()),
            interrupt,
        }
    }

    /// The beginning of a new part.
    pub(crate) fn heading(&mut self, text: &str) {
        self.print(&format!("\n{}", self.paint(BOLD, text)));
    }

    pub(crate) fn line(&mut self, text: &str) {
        self.print(&format!("  {text}"));
    }

    /// Less important than a line.
    pub(crate) fn aside(&mut self, text: &str) {
        self.print(&format!("  {}", self.paint(DIM, text)));
    }

    pub(crate) fn success(&mut self, text: &str) {
        self.print(&format!("  {} {text}", self.paint(GREEN, "✓")));
    }

    pub(crate) fn failure(&mut self, text: &str) {
        self.print(&format!("  {} {text}", self.paint(RED, "✗")));
    }

    /// Rows under their headings, in columns as wide as their widest value.
    pub(crate) fn table(&mut self, columns: &[String], rows: &[Vec<String>]) {
        let width = |index: usize| {
            let cells = rows
                .iter()
                .filter_map(|row| row.get(index))
                .chain(columns.get(index));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns.len()).map(width).collect();
        let format = |cells: &[String]| {
            let padded = cells
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.aside(&format(columns));
        for row in rows {
            self.line(&format(row));
        }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours {
            format!("{colour}{text}{RESET}")
        } else {
            text.to_owned()
        }
    }

    fn print(&self, text: &str) {
        // A reader that has gone away is no reason to leave servers behind by a panic.
        let _ = match self.to {
            Stream::Stdout => writeln!(io::stdout(), "{text}"),
            Stream::Stderr => writeln!(io::stderr(), "{text}"),
        };
    }
}

impl Progress for Console {
    fn note(&mut self, message: &str) {
        self.line(message);
    }

    fn interrupted(&self) -> bool {
        self.interrupt.requested()
    }
}

fn colours(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
