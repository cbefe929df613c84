//! From text to tokens; also where an expression in a longer text ends, so that both agree on what
//! stands in quotes.

use super::parser::Span;

/// A piece of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name, `true`, `false`, `null` and `in` among them.
    Name(String),
    Int(i128),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Operators and brackets. `===` is `==`, as in the predecessor's conditions.
    Symbol(&'static str),
    End,
}

#[derive(Debug, Clone)]
pub(super) struct Lexeme {
    pub(super) token: Token,
    pub(super) span: Span,
}

/// What is wrong with an expression, and at which byte.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) at: usize,
    pub(super) message: String,
}

/// Longer ones first: the first that fits is taken.
const SYMBOLS: [&str; 28] = [
    "===", "!==", "==", "!=", "<=", ">=", "&&", "||", "(", ")", "[", "]", "{", "}", ".", ",", ":",
    "?", "+", "-", "*", "/", "%", "!", "<", ">", "=", ";",
];

/// The tokens of `source`; the last one is [`Token::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<Lexeme>, Flaw> {
    let mut found: Vec<Lexeme> = Vec::new();
    let mut at = 0;
    while at < source.len() {
        let rest = &source[at..];
        let first = rest.chars().next().unwrap_or(' ');
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let previous = found.last().map(|lexeme| &lexeme.token);
        let (token, length) = one(rest, previous).map_err(|mistake| Flaw {
            at: at + mistake.at,
            ..mistake
        })?;
        found.push(Lexeme {
            token,
            span: Span::new(at, at + length),
        });
        at += length;
    }
    found.push(Lexeme {
        token: Token::End,
        span: Span::new(at, at),
    });
    Ok(found)
}

fn one(rest: &str, previous: Option<&Token>) -> Result<(Token, usize), Flaw> {
    if let Some(quoted) = Quoted::at(rest) {
        let quoted = quoted.map_err(|()| Flaw {
            at: 0,
            message: "the text that begins here has no closing quote".to_owned(),
        })?;
        let token = quoted.value(rest)?;
        return Ok((token, quoted.end));
    }
    let first = rest.chars().next().unwrap_or(' ');
    if is_name_start(first) {
        let length = name_length(rest);
        return Ok((Token::Name(rest[..length].to_owned()), length));
    }
    // After a value a point leads on, and digits after it are an element: `labels.0.name`.
    let leads_on = matches!(
        previous,
        Some(Token::Name(_) | Token::Symbol(")" | "]" | "}") | Token::Text(_))
    );
    let is_element = previous == Some(&Token::Symbol("."));
    let digit_follows = rest[first.len_utf8()..].starts_with(|c: char| c.is_ascii_digit());
    if first.is_ascii_digit() || (first == '.' && digit_follows && !leads_on) {
        return number(rest, is_element);
    }
    match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        Some(&"===") => Ok((Token::Symbol("=="), 3)),
        Some(&"!==") => Ok((Token::Symbol("!="), 3)),
        Some(&"=") => Err(flaw("`=` sets nothing here; write `==` to compare")),
        Some(&";") => Err(flaw("an expression has no statements, so no `;`")),
        Some(symbol) => Ok((Token::Symbol(symbol), symbol.len())),
        None => Err(flaw(match first {
            '&' => "write `&&` for and",
            '|' => "write `||` for or",
            '`' => "a text stands in ' or \"",
            c if c.is_alphabetic() => {
                "names are ASCII letters, digits and `_`; a field of another name is `a['näme']`"
            }
            '$' => "`${` cannot stand inside an expression; write the name without it",
            _ => "this character means nothing in an expression",
        })),
    }
}

fn flaw(message: &str) -> Flaw {
    Flaw {
        at: 0,
        message: message.to_owned(),
    }
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn name_length(text: &str) -> usize {
    text.bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
        .count()
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// A number at the beginning of `rest`, which begins with a digit or a point.
fn number(rest: &str, is_element: bool) -> Result<(Token, usize), Flaw> {
    let out_of_range = || flaw("the number is beyond 64 bits");
    if let Some(hexadecimal) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        let length = name_length(hexadecimal);
        let written = hexadecimal[..length].trim_end_matches(['u', 'U']);
        let value = u64::from_str_radix(written, 16)
            .map_err(|_| flaw("this is not a hexadecimal number of 64 bits"))?;
        return Ok((Token::Int(i128::from(value)), 2 + length));
    }
    let mut length = digits(rest);
    let mut is_float = false;
    if !is_element {
        let fraction = rest[length..].strip_prefix('.').map_or(0, digits);
        if fraction > 0 {
            is_float = true;
            length += 1 + fraction;
        }
        if let Some(exponent) = rest[length..].strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            let size = digits(&exponent[sign..]);
            if size > 0 {
                is_float = true;
                length += 1 + sign + size;
            }
        }
    }
    let written = &rest[..length];
    let unsigned = usize::from(!is_float && rest[length..].starts_with(['u', 'U']));
    if name_length(&rest[length + unsigned..]) > 0 {
        return Err(Flaw {
            at: length,
            message: "a name cannot begin in a number".to_owned(),
        });
    }
    if is_float {
        let value: f64 = written.parse().map_err(|_| out_of_range())?;
        let finite = value.is_finite().then_some(Token::Float(value));
        return Ok((finite.ok_or_else(out_of_range)?, length));
    }
    let value: u64 = written.parse().map_err(|_| out_of_range())?;
    Ok((Token::Int(i128::from(value)), length + unsigned))
}

/// A text in quotes: where its parts are.
struct Quoted {
    is_raw: bool,
    is_bytes: bool,
    body: std::ops::Range<usize>,
    end: usize,
}

impl Quoted {
    /// The quoted text at the beginning of `rest`: `None` if there is none, `Some(Err)` if it does
    /// not end.
    fn at(rest: &str) -> Option<Result<Self, ()>> {
        // No prefix is longer than two letters; looking at more would make long digits quadratic.
        let letters = rest.bytes().take(3).take_while(u8::is_ascii_alphabetic);
        let prefix = &rest[..letters.count()];
        let (is_raw, is_bytes) = match prefix {
            "" => (false, false),
            "r" | "R" => (true, false),
            "b" | "B" => (false, true),
            "rb" | "br" | "rB" | "bR" | "Rb" | "Br" | "RB" | "BR" => (true, true),
            _ => return None,
        };
        let after = &rest[prefix.len()..];
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let tripled: String = [quote; 3].iter().collect();
        let close = if after.starts_with(&tripled) {
            tripled.as_str()
        } else {
            &tripled[..1]
        };
        let start = prefix.len() + close.len();
        let mut at = start;
        while at < rest.len() {
            if rest[at..].starts_with(close) {
                return Some(Ok(Self {
                    is_raw,
                    is_bytes,
                    body: start..at,
                    end: at + close.len(),
                }));
            }
            let mut next = rest[at..].chars();
            let c = next.next().unwrap_or(' ');
            at += c.len_utf8();
            if c == '\\' && !is_raw {
                at += next.next().map_or(0, char::len_utf8);
            }
        }
        Some(Err(()))
    }

    fn value(&self, rest: &str) -> Result<Token, Flaw> {
        let body = &rest[self.body.clone()];
        if self.is_raw {
            return Ok(if self.is_bytes {
                Token::Bytes(body.as_bytes().to_vec())
            } else {
                Token::Text(body.to_owned())
            });
        }
        let mut bytes: Vec<u8> = Vec::with_capacity(body.len());
        let mut at = 0;
        while let Some(c) = body[at..].chars().next() {
            if c == '\\' {
                let length =
                    escape(&body[at + 1..], self.is_bytes, &mut bytes).ok_or_else(|| Flaw {
                        at: self.body.start + at,
                        message: "this escape means nothing; a backslash itself is `\\\\`"
                            .to_owned(),
                    })?;
                at += 1 + length;
            } else {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                at += c.len_utf8();
            }
        }
        if self.is_bytes {
            return Ok(Token::Bytes(bytes));
        }
        String::from_utf8(bytes)
            .map(Token::Text)
            .map_err(|_| flaw("an escape in this text is not a character"))
    }
}

/// Appends what the escape behind a backslash stands for; its length, or `None` if there is no such
/// escape.
fn escape(text: &str, is_bytes: bool, out: &mut Vec<u8>) -> Option<usize> {
    let kind = text.chars().next()?;
    let plain = match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' | '?' | '"' | '\'' | '`' => u8::try_from(kind).ok()?,
        _ => 0,
    };
    if plain != 0 {
        out.push(plain);
        return Some(1);
    }
    let (radix, skip, size) = match kind {
        'x' | 'X' => (16, 1, 2),
        'u' if !is_bytes => (16, 1, 4),
        'U' if !is_bytes => (16, 1, 8),
        '0'..='3' => (8, 0, 3),
        _ => return None,
    };
    let written = text.get(skip..skip + size)?;
    if !written.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let code = u32::from_str_radix(written, radix).ok()?;
    if is_bytes {
        out.push(u8::try_from(code).ok()?);
    } else {
        let c = char::from_u32(code)?;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(skip + size)
}

/// Where the brace that closes an expression is, in bytes: braces inside (of objects), braces in
/// quotes and braces in comments do not count.
///
/// # Errors
/// Where the text in quotes begins that is not closed; `None` if it is the brace that is missing.
pub(super) fn closing_brace(text: &str) -> Result<usize, Option<usize>> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        match Quoted::at(rest) {
            Some(Ok(quoted)) => {
                at += quoted.end;
                continue;
            }
            Some(Err(())) => return Err(Some(at)),
            None => {}
        }
        if is_name_start(c) {
            at += name_length(rest);
            continue;
        }
        match c {
            '/' if rest.starts_with("//") => {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            '{' => depth += 1,
            '}' if depth == 0 => return Ok(at),
            '}' => depth -= 1,
            _ => {}
        }
        at += c.len_utf8();
    }
    Err(None)
}
