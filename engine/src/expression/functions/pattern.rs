//! Regular expressions: RE2's syntax without look-around and back-references, so that matching
//! takes time in proportion to pattern times text, whatever either holds.

use regex::{Regex, RegexBuilder};

use super::{Call, Function};
use crate::expression::failure::Failure;
use crate::expression::limits::{MAX_PATTERN_BYTES, MAX_PATTERN_MEMORY, PATTERN_COST};
use crate::expression::value::{Kinds, Val};

const TEXT: Kinds = Kinds::TEXT;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("matches", &[TEXT, TEXT], Kinds::BOOL, matches),
    Function::new("extract", &[TEXT, TEXT], TEXT.or(Kinds::NULL), extract),
];

type Outcome<'a, T = Val<'a>> = Result<T, Failure<'a>>;

/// A compiled regular expression.
#[derive(Debug)]
pub(in crate::expression) struct Pattern {
    regex: Regex,
    /// How often, in the worst case, each byte of a text is read.
    rounds: usize,
}

/// Sizes in kibibytes that a compiled expression is tried to fit into, smallest first: its size is
/// not told, and what matching takes at worst grows with it. Measured: up to 12 ns per byte of text
/// and kibibyte, where a unit of cost is about 60 ns.
const SIZES: [usize; 4] = [2, 8, 32, MAX_PATTERN_MEMORY / 1024];
const ROUNDS_PER_KIBIBYTE: usize = 3;

/// What matching keeps of the states it has been in, in bytes; with less it becomes slow sooner.
const CACHE: usize = 256 * 1024;

/// Deeper groups nobody can read; the compiler goes one call deeper per level.
const MAX_PATTERN_NESTING: u32 = 20;

/// Compiles a regular expression.
///
/// # Errors
/// What is wrong with it, on one line.
pub(in crate::expression) fn compile(pattern: &str) -> Result<Pattern, String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!(
            "the regular expression is longer than {MAX_PATTERN_BYTES} bytes"
        ));
    }
    let pattern = ascii_classes(pattern);
    for kibibytes in SIZES {
        let built = RegexBuilder::new(&pattern)
            .size_limit(kibibytes * 1024)
            .dfa_size_limit(CACHE)
            .nest_limit(MAX_PATTERN_NESTING)
            .build();
        match built {
            Ok(regex) => {
                let rounds = 1 + kibibytes * ROUNDS_PER_KIBIBYTE;
                return Ok(Pattern { regex, rounds });
            }
            Err(regex::Error::CompiledTooBig(_)) => {}
            Err(error) => {
                // The last line says what is wrong, those before it draw where.
                let message = error.to_string();
                let last = message.lines().last().unwrap_or_default();
                let reason = last.trim_start_matches("error: ");
                return Err(format!("not a regular expression: {reason}"));
            }
        }
    }
    Err("the regular expression is too large once its repetitions are written out".to_owned())
}

/// `\\w`, `\\d` and `\\s` mean ASCII, as in RE2; those of Unicode are large and slow.
fn ascii_classes(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        let Some(escaped) = chars.next() else {
            text.push(c);
            break;
        };
        text.push_str(match escaped {
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            'd' => "[0-9]",
            'D' => "[^0-9]",
            's' => r"[\t\n\x0C\r\x20]",
            'S' => r"[^\t\n\x0C\r\x20]",
            _ => {
                text.push(c);
                text.push(escaped);
                continue;
            }
        });
    }
    text
}

/// Runs `with` on the compiled pattern, and pays for reading the text so many `times`.
fn with_pattern<'a, T>(
    call: &mut Call<'_, 'a>,
    times: usize,
    with: impl FnOnce(&Regex, &str) -> T,
) -> Outcome<'a, T> {
    let text = call.text(0);
    let compiled;
    let pattern = match call.pattern {
        Some(pattern) => pattern,
        None => {
            call.budget.charge(PATTERN_COST)?;
            compiled = compile(&call.text(1)).map_err(Failure::Invalid)?;
            &compiled
        }
    };
    let read = text.len().saturating_mul(pattern.rounds * times);
    call.budget.bytes(read)?;
    Ok(with(&pattern.regex, &text))
}

fn matches<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    with_pattern(call, 1, |pattern, text| Val::Bool(pattern.is_match(text)))
}

fn extract<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    // Where the groups are is found out in a second, slower run.
    with_pattern(call, 3, |pattern, text| {
        let found = pattern.captures(text).and_then(|groups| {
            let group = groups.get(1).or_else(|| groups.get(0))?;
            Some(Val::text(group.as_str()))
        });
        found.unwrap_or(Val::Null)
    })
}
