//! A JSON or YAML text as a tree in which every node knows where it stands.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};

use super::MAX_DEFINITION_BYTES;
use super::diagnostic::{Diagnostic, Position, Positions};

/// Deepest nesting accepted; a definition has use for about ten levels.
const MAX_DEPTH: usize = 64;

/// Most nodes accepted, aliases expanded: a page of aliases can otherwise stand for gigabytes.
const MAX_NODES: usize = 200_000;

/// Most bytes of the JSON pointers of all nodes together: below a long key, every node has a long one.
const MAX_PATH_BYTES: usize = 32 * 1024 * 1024;

/// A text that was read, with the place of each part.
pub(super) struct Document {
    pub(super) value: Value,
    pub(super) positions: Positions,
    /// Keys that occur twice in one mapping; the later one counts.
    pub(super) duplicate_keys: Vec<Diagnostic>,
}

/// Reads `source`.
///
/// # Errors
/// The first place at which the text is neither JSON nor YAML, or leaves the bounds above: after
/// such a place nothing that follows can be trusted.
pub(super) fn parse(source: &str) -> Result<Document, Diagnostic> {
    let mut builder = Builder {
        source: source.chars().collect(),
        parser: Parser::new_from_str(source),
        anchors: HashMap::new(),
        positions: Positions::default(),
        duplicate_keys: Vec::new(),
        nodes: 0,
        text_bytes: 0,
        path_bytes: 0,
    };
    let mut root = None;
    loop {
        let (event, span) = builder.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            Event::DocumentStart(_) if root.is_some() => {
                return Err(error_at(
                    span,
                    "a definition is one document, this is a second one",
                ));
            }
            Event::DocumentStart(_) => {}
            event => root = Some(builder.node(event, span, "", 0)?),
        }
    }
    Ok(Document {
        value: root.unwrap_or(Value::Null),
        positions: builder.positions,
        duplicate_keys: builder.duplicate_keys,
    })
}

struct Builder<'input> {
    /// The text by characters: the parser counts in characters.
    source: Vec<char>,
    parser: Parser<'input, saphyr_parser::StrInput<'input>>,
    anchors: HashMap<usize, Value>,
    positions: Positions,
    duplicate_keys: Vec<Diagnostic>,
    nodes: usize,
    /// Bytes of all texts, aliases expanded: one long text with many aliases is few nodes.
    text_bytes: usize,
    path_bytes: usize,
}

impl<'input> Builder<'input> {
    fn next(&mut self) -> Result<(Event<'input>, Span), Diagnostic> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(Diagnostic {
                position: position(*error.marker()),
                path: String::new(),
                message: format!("not valid JSON or YAML: {}", error.info()),
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(
        &mut self,
        event: Event<'input>,
        span: Span,
        path: &str,
        depth: usize,
    ) -> Result<Value, Diagnostic> {
        if depth > MAX_DEPTH {
            return Err(error_at(
                span,
                format!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        self.count(1, 0, span)?;
        self.path_bytes = self.path_bytes.saturating_add(path.len());
        if self.path_bytes > MAX_PATH_BYTES {
            return Err(error_at(span, "too many values below too long keys"));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(0, text.len(), span)?;
                self.positions.insert(
                    path.to_owned(),
                    position(span.start),
                    self.text_column(&text, style, span),
                );
                let value = match tag.as_deref() {
                    None => scalar(text.into_owned(), style),
                    Some(tag) => {
                        tagged(text.into_owned(), tag).map_err(|why| error_at(span, why))?
                    }
                };
                (value, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                only_tag(tag.as_deref(), "seq").map_err(|why| error_at(span, why))?;
                self.positions
                    .insert(path.to_owned(), position(span.start), None);
                (self.sequence(path, depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                only_tag(tag.as_deref(), "map").map_err(|why| error_at(span, why))?;
                self.positions
                    .insert(path.to_owned(), position(span.start), None);
                (self.mapping(path, depth)?, anchor)
            }
            Event::Alias(anchor) => {
                self.positions
                    .insert(path.to_owned(), position(span.start), None);
                let value =
                    self.anchors.get(&anchor).cloned().ok_or_else(|| {
                        error_at(span, "alias of an anchor that is not complete yet")
                    })?;
                let (nodes, text_bytes) = size_of(&value);
                self.count(nodes, text_bytes, span)?;
                return Ok(value);
            }
            _ => return Err(error_at(span, "unexpected end of the document")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn sequence(&mut self, path: &str, depth: usize) -> Result<Value, Diagnostic> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Array(items));
            }
            let item_path = format!("{path}/{}", items.len());
            items.push(self.node(event, span, &item_path, depth + 1)?);
        }
    }

    fn mapping(&mut self, path: &str, depth: usize) -> Result<Value, Diagnostic> {
        let mut fields = Map::new();
        loop {
            let (event, key_span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Value::Object(fields)),
                Event::Scalar(text, _, _, tag) => {
                    only_tag(tag.as_deref(), "str").map_err(|why| error_at(key_span, why))?;
                    text.into_owned()
                }
                _ => return Err(error_at(key_span, "a key must be a plain text")),
            };
            self.count(0, key.len(), key_span)?;
            let field_path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
            if fields.contains_key(&key) {
                self.duplicate_keys.push(Diagnostic {
                    position: position(key_span.start),
                    path: field_path.clone(),
                    message: format!("`{key}` is given twice; remove one of them"),
                });
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, &field_path, depth + 1)?;
            fields.insert(key, value);
        }
    }

    /// The column at which a string's text begins, if it stands in the source as it is: an escaped
    /// or folded text is longer there than as a value.
    fn text_column(&self, text: &str, style: ScalarStyle, span: Span) -> Option<usize> {
        let quote = match style {
            ScalarStyle::Plain => 0,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => 1,
            ScalarStyle::Literal | ScalarStyle::Folded => return None,
        };
        let start = span.start.index() + quote;
        let in_source = self.source.get(start..)?.iter().take(text.chars().count());
        in_source
            .copied()
            .eq(text.chars())
            .then_some(position(span.start).column + quote)
    }

    fn count(&mut self, nodes: usize, text_bytes: usize, span: Span) -> Result<(), Diagnostic> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.text_bytes = self.text_bytes.saturating_add(text_bytes);
        if self.nodes > MAX_NODES {
            return Err(error_at(
                span,
                format!("more than {MAX_NODES} values, aliases included"),
            ));
        }
        if self.text_bytes > MAX_DEFINITION_BYTES {
            return Err(error_at(
                span,
                format!("more than {MAX_DEFINITION_BYTES} bytes of text, aliases included"),
            ));
        }
        Ok(())
    }
}

/// How many nodes a value has, and how many bytes its texts.
fn size_of(value: &Value) -> (usize, usize) {
    let sum = |a: (usize, usize), b: (usize, usize)| (a.0 + b.0, a.1 + b.1);
    match value {
        Value::String(text) => (1, text.len()),
        Value::Array(items) => items.iter().map(size_of).fold((1, 0), sum),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, field)| sum((0, key.len()), size_of(field)))
            .fold((1, 0), sum),
        _ => (1, 0),
    }
}

/// The name of a tag of the core schema, `str` of `!!str`; `!` alone says that a text is a text.
fn tag_name(tag: &Tag) -> Option<&str> {
    if tag.is_yaml_core_schema() {
        Some(&tag.suffix)
    } else if tag.handle.is_empty() && tag.suffix == "!" {
        Some("")
    } else {
        None
    }
}

/// That a value has no tag but the one that says what it is anyway.
fn only_tag(tag: Option<&Tag>, name: &str) -> Result<(), String> {
    match tag {
        Some(tag) if !matches!(tag_name(tag), Some(found) if found == name || found.is_empty()) => {
            Err(format!("the tag `{tag}` is not known here; leave it out"))
        }
        _ => Ok(()),
    }
}

/// A scalar with a tag is what the tag says, whatever its quotes.
fn tagged(text: String, tag: &Tag) -> Result<Value, String> {
    let name = match tag_name(tag) {
        Some("str" | "") => return Ok(Value::String(text)),
        Some(name) => name,
        None => return Err(format!("the tag `{tag}` is not known here; leave it out")),
    };
    let value = scalar(text, ScalarStyle::Plain);
    let fits = match name {
        "null" => value.is_null(),
        "bool" => value.is_boolean(),
        "int" => value.is_i64() || value.is_u64(),
        "float" => value.is_number(),
        _ => {
            return Err(format!(
                "the tag `!!{name}` is not known here; leave it out"
            ));
        }
    };
    if fits {
        Ok(value)
    } else {
        Err(format!("this is no `!!{name}`"))
    }
}

/// Only a plain scalar can be something else than a text (YAML 1.2 core schema).
fn scalar(text: String, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text);
    }
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let looks_numeric =
        text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    if looks_numeric && let Some(number) = number(&text) {
        return Value::Number(number);
    }
    Value::String(text)
}

fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).ok().map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return i64::from_str_radix(digits, 8).ok().map(Number::from);
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if let Ok(integer) = unsigned.parse::<i64>() {
        return Some(Number::from(integer));
    }
    if let Ok(integer) = unsigned.parse::<u64>() {
        return Some(Number::from(integer));
    }
    let only_number_characters = unsigned
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !only_number_characters {
        return None;
    }
    unsigned.parse::<f64>().ok().and_then(Number::from_f64)
}

fn position(marker: saphyr_parser::Marker) -> Position {
    Position {
        line: marker.line().max(1),
        column: marker.col() + 1,
    }
}

fn error_at(span: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic {
        position: position(span.start),
        path: String::new(),
        message: message.into(),
    }
}
