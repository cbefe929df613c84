//! Values with `${…}` in their strings, compiled once and rendered many times.

use serde_json::{Map, Value};

use super::budget::Budget;
use super::lexer::closing_brace;
use super::limits::MAX_VALUE_DEPTH;
use super::{EvalError, Expression, Scope, is_truthy};

/// A value in which some strings hold expressions.
#[derive(Debug, Clone)]
pub enum Template {
    /// No expression anywhere below.
    Literal(Value),
    /// A string that is exactly one expression: it keeps its type.
    Whole(Expression),
    /// A string with expressions in it.
    Text(Vec<Part>),
    /// A list with an expression somewhere below.
    List(Vec<Template>),
    /// An object with an expression somewhere below.
    Object(Vec<(String, Template)>),
}

/// A piece of a string.
#[derive(Debug, Clone)]
pub enum Part {
    /// As it stands.
    Literal(String),
    /// Its value as text.
    Expression(Expression),
}

/// What is wrong with a text, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Offset into the text, in characters.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
}

impl Template {
    /// Compiles every string in `value`; `found` gets each mistake with the JSON pointer of its
    /// string below `value`.
    pub fn compile(value: &Value, path: &str, found: &mut dyn FnMut(&str, Mistake)) -> Self {
        Self::compile_at(value, path, 0, found)
    }

    fn compile_at(
        value: &Value,
        path: &str,
        depth: usize,
        found: &mut dyn FnMut(&str, Mistake),
    ) -> Self {
        if depth > MAX_VALUE_DEPTH {
            let message = format!("nested deeper than {MAX_VALUE_DEPTH} levels");
            found(path, Mistake { offset: 0, message });
            return Self::Literal(Value::Null);
        }
        match value {
            Value::String(text) => match compile_text(text) {
                Ok(template) => template,
                Err(mistake) => {
                    found(path, mistake);
                    Self::Literal(Value::Null)
                }
            },
            Value::Array(items) => {
                let items: Vec<Self> = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| {
                        Self::compile_at(item, &format!("{path}/{index}"), depth + 1, found)
                    })
                    .collect();
                if items.iter().all(|item| matches!(item, Self::Literal(_))) {
                    Self::Literal(value.clone())
                } else {
                    Self::List(items)
                }
            }
            Value::Object(fields) => {
                let fields: Vec<(String, Self)> = fields
                    .iter()
                    .map(|(name, field)| {
                        let below = below(path, name);
                        (
                            name.clone(),
                            Self::compile_at(field, &below, depth + 1, found),
                        )
                    })
                    .collect();
                if fields
                    .iter()
                    .all(|(_, field)| matches!(field, Self::Literal(_)))
                {
                    Self::Literal(value.clone())
                } else {
                    Self::Object(fields)
                }
            }
            other => Self::Literal(other.clone()),
        }
    }

    /// Every expression below, with the JSON pointer of its string.
    pub fn expressions(&self, path: &str, visit: &mut dyn FnMut(&str, &Expression)) {
        match self {
            Self::Literal(_) => {}
            Self::Whole(expression) => visit(path, expression),
            Self::Text(parts) => {
                for part in parts {
                    if let Part::Expression(expression) = part {
                        visit(path, expression);
                    }
                }
            }
            Self::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.expressions(&format!("{path}/{index}"), visit);
                }
            }
            Self::Object(fields) => {
                for (name, field) in fields {
                    field.expressions(&below(path, name), visit);
                }
            }
        }
    }

    /// The value with every expression replaced by what it yields in `scope`. All of them together
    /// have one budget.
    ///
    /// # Errors
    /// The first expression that has no value, with the place of its string (`.files[0].path`).
    pub fn render(&self, scope: &dyn Scope) -> Result<Value, (String, EvalError)> {
        self.render_within(scope, &mut Budget::new())
    }

    /// [`Self::render`], and what it cost is added to `cost`.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_metered(
        &self,
        scope: &dyn Scope,
        cost: &mut u64,
    ) -> Result<Value, (String, EvalError)> {
        let mut budget = Budget::new();
        let rendered = self.render_within(scope, &mut budget);
        *cost += budget.spent();
        rendered
    }

    fn render_within(
        &self,
        scope: &dyn Scope,
        budget: &mut Budget,
    ) -> Result<Value, (String, EvalError)> {
        let here = |error| (String::new(), error);
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Whole(expression) => expression.evaluate_within(scope, budget).map_err(here),
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Literal(literal) => text.push_str(literal),
                        Part::Expression(expression) => {
                            match expression.evaluate_within(scope, budget).map_err(here)? {
                                Value::String(value) => text.push_str(&value),
                                other => text.push_str(&other.to_string()),
                            }
                        }
                    }
                }
                Ok(Value::String(text))
            }
            Self::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let value = item
                        .render_within(scope, budget)
                        .map_err(|(at, e)| (format!("[{index}]{at}"), e))?;
                    list.push(value);
                }
                Ok(Value::Array(list))
            }
            Self::Object(fields) => {
                let mut object = Map::new();
                for (name, field) in fields {
                    let value = field
                        .render_within(scope, budget)
                        .map_err(|(at, e)| (format!(".{name}{at}"), e))?;
                    object.insert(name.clone(), value);
                }
                Ok(Value::Object(object))
            }
        }
    }
}

/// The JSON pointer of the field `name` below `path`.
fn below(path: &str, name: &str) -> String {
    format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Compiles an `if`: exactly one `${…}`.
///
/// # Errors
/// When it is not exactly one expression, that expression is not valid, or it can yield neither true
/// nor false.
pub fn compile_condition(text: &str) -> Result<Condition, Mistake> {
    let trimmed = text.trim();
    let before = text.len() - text.trim_start().len();
    let before = text[..before].chars().count();
    let compiled = compile_text(trimmed).map_err(|mistake| Mistake {
        offset: before + mistake.offset,
        ..mistake
    })?;
    match compiled {
        Template::Whole(expression) => match expression.never_boolean() {
            Some(kinds) => Err(Mistake {
                offset: before,
                message: format!("a condition must be true or false, and this is always {kinds}"),
            }),
            None => Ok(Condition {
                expression: expression.behind(before),
            }),
        },
        _ => Err(Mistake {
            offset: 0,
            message: "a condition is exactly one expression, `${…}`".to_owned(),
        }),
    }
}

/// A compiled `if`.
#[derive(Debug, Clone)]
pub struct Condition {
    /// Its expression.
    pub expression: Expression,
}

impl Condition {
    /// Whether it holds in `scope`. A condition that is only a path asks whether there is something
    /// truthy at it; any other must yield `true` or `false`.
    ///
    /// # Errors
    /// When the expression has no value, or one that is neither true nor false.
    pub fn holds(&self, scope: &dyn Scope) -> Result<bool, EvalError> {
        let is_path = self.expression.as_path().is_some();
        match self.expression.evaluate(scope) {
            Ok(Value::Bool(value)) => Ok(value),
            Ok(value) if is_path => Ok(is_truthy(&value)),
            Ok(value) => Err(self.expression.not_boolean(&value)),
            Err(EvalError::Unresolved { .. }) if is_path => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn compile_text(text: &str) -> Result<Template, Mistake> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut offset = 0;
    while let Some(start) = rest.find("${") {
        if start > 0 {
            parts.push(Part::Literal(rest[..start].to_owned()));
        }
        offset += rest[..start].chars().count();
        let inside = &rest[start + 2..];
        let end = closing_brace(inside).map_err(|quote| match quote {
            Some(at) => Mistake {
                offset: offset + 2 + inside[..at].chars().count(),
                message: "the text that begins here has no closing quote".to_owned(),
            },
            None => Mistake {
                offset,
                message: "`${` has no matching `}`".to_owned(),
            },
        })?;
        let expression = Expression::compile(&inside[..end])
            .map_err(|m| Mistake {
                offset: offset + 2 + m.offset,
                message: m.message,
            })?
            .at(offset);
        parts.push(Part::Expression(expression));
        offset += 2 + inside[..=end].chars().count();
        rest = &inside[end + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    Ok(match parts.as_mut_slice() {
        [] | [Part::Literal(_)] => Template::Literal(Value::String(text.to_owned())),
        [Part::Expression(expression)] => Template::Whole(expression.clone()),
        _ => Template::Text(parts),
    })
}
