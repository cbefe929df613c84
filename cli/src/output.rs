//! Printing: for people on a terminal, for people elsewhere, for programs.

use std::io::{IsTerminal, Write};

use serde_json::{Value, json};

use crate::arguments::Format;

/// How results are printed. Colours only on a terminal, and never when `NO_COLOR` is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    colour: bool,
}

/// What a piece of text means.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tone {
    Good,
    Bad,
    Waiting,
    Quiet,
}

impl Output {
    #[expect(
        clippy::disallowed_methods,
        reason = "NO_COLOR is the terminal's convention, not a setting of ours"
    )]
    pub(crate) fn new(format: Format) -> Self {
        let colour = format == Format::Text
            && std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none();
        Self { format, colour }
    }

    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// One JSON document on a line of its own; only with `--output json`.
    pub(crate) fn json(self, value: &Value) {
        if self.is_json() {
            line(&value.to_string());
        }
    }

    /// A line for people; nothing with `--output json`.
    pub(crate) fn text(self, text: impl AsRef<str>) {
        if !self.is_json() {
            line(text.as_ref());
        }
    }

    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => 32,
            Tone::Bad => 31,
            Tone::Waiting => 33,
            Tone::Quiet => 90,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    pub(crate) fn status(self, status: &str) -> String {
        let tone = match status {
            "completed" => Tone::Good,
            "failed" | "cancelled" => Tone::Bad,
            "skipped" | "pending" => Tone::Quiet,
            _ => Tone::Waiting,
        };
        self.paint(tone, status)
    }

    /// A table with aligned columns.
    pub(crate) fn table(self, head: &[&str], rows: &[Vec<String>]) {
        let widths: Vec<usize> = (0..head.len())
            .map(|column| {
                rows.iter()
                    .map(|row| visible(&row[column]))
                    .chain([head[column].len()])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let print = |cells: &[String]| {
            let mut text = String::new();
            for (cell, width) in cells.iter().zip(&widths) {
                text.push_str(cell);
                text.push_str(&" ".repeat(width.saturating_sub(visible(cell)) + 2));
            }
            self.text(text.trim_end());
        };
        let head: Vec<String> = head
            .iter()
            .map(|name| self.paint(Tone::Quiet, name))
            .collect();
        print(&head);
        for row in rows {
            print(row);
        }
    }

    /// The error a command ended with, with its causes, on standard error.
    pub(crate) fn failed(self, error: &anyhow::Error) {
        let mut causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        // Some libraries repeat their cause in their own text.
        causes.dedup_by(|cause, previous| previous.ends_with(cause.as_str()));
        let text = if self.is_json() {
            json!({ "error": causes.first(), "causes": causes.get(1..) }).to_string()
        } else {
            format!("{} {}", self.paint(Tone::Bad, "error:"), causes.join(": "))
        };
        let _closed = writeln!(std::io::stderr(), "{text}");
    }
}

/// Characters a person sees: colours take no room.
fn visible(text: &str) -> usize {
    let mut count = 0;
    let mut escape = false;
    for c in text.chars() {
        match c {
            '\u{1b}' => escape = true,
            'm' if escape => escape = false,
            _ if escape => {}
            _ => count += 1,
        }
    }
    count
}

/// Prints a line. A reader that has gone (`afu9 … | head`) is no failure.
fn line(text: &str) {
    let _closed = writeln!(std::io::stdout(), "{text}");
}
