//! `${…}` in definitions: found once when a definition is compiled, evaluated against an
//! execution's own data, never pasted into source text.
//!
//! Inside the braces stands CEL. A string that is exactly one `${…}` keeps the type of its value; in
//! a longer string each value becomes text. What an expression yields is data: a `${` inside it is
//! two characters and no expression.

mod cel_value;
mod path;
mod roots;
mod template;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::{Context, Env, ExecutionError, Program};
use serde_json::Value;

pub use path::{Path, Segment};
pub use template::{Condition, Mistake, Template, compile_condition};

/// Longest expression accepted, in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 4096;

/// Most values in the data of an expression, by how deep its loops stand in each other: evaluating
/// takes time in proportion to a power of them, and everybody else in the partition waits. With
/// these bounds it takes well below a second.
const MAX_LOOP_VALUES: [usize; 3] = [usize::MAX, 5000, 300];

/// Where expressions find their data.
pub trait Scope {
    /// The value of a root name (`input`, `repo`, `steps`, `execution`, an assigned name), or
    /// `None` if it has none now.
    fn root(&self, name: &str) -> Option<Cow<'_, Value>>;
}

/// One compiled expression.
#[derive(Clone)]
pub struct Expression {
    source: String,
    code: Code,
}

#[derive(Clone)]
enum Code {
    /// A plain path: looked up directly, without building CEL values.
    Path(Path),
    Cel {
        program: Arc<Program>,
        roots: Vec<String>,
        /// How deep loops stand in each other.
        loops: usize,
    },
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({})", self.source)
    }
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvalError {
    /// A name or field that is not there.
    Unresolved {
        /// The expression as it was written.
        expression: String,
        /// The part that is not there.
        missing: String,
    },
    /// Anything else CEL refuses: types that do not fit, a division by zero.
    Invalid {
        /// The expression as it was written.
        expression: String,
        /// What CEL says.
        reason: String,
    },
}

impl EvalError {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unresolved { .. } => "expression.unresolved",
            Self::Invalid { .. } => "expression.invalid",
        }
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved {
                expression,
                missing,
            } => {
                write!(
                    f,
                    "`${{{expression}}}` cannot be resolved: there is no {missing}"
                )
            }
            Self::Invalid { expression, reason } => {
                write!(f, "`${{{expression}}}` cannot be evaluated: {reason}")
            }
        }
    }
}

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

impl Expression {
    /// Compiles the text between the braces.
    ///
    /// # Errors
    /// What is wrong with it, and at which character.
    pub fn compile(source: &str) -> Result<Self, Mistake> {
        if source.len() > MAX_EXPRESSION_BYTES {
            return Err(Mistake {
                offset: 0,
                message: format!("the expression is longer than {MAX_EXPRESSION_BYTES} bytes"),
            });
        }
        if source.trim().is_empty() {
            return Err(Mistake {
                offset: 0,
                message: "the expression is empty".to_owned(),
            });
        }
        if let Some(path) = Path::parse(source.trim()) {
            return Ok(Self {
                source: source.trim().to_owned(),
                code: Code::Path(path),
            });
        }
        let rewritten = loosen_equality(source);
        let program = ENV
            .compile(&rewritten)
            .map_err(|errors| parse_mistake(source, &errors))?;
        let roots = roots::roots(program.expression());
        let loops = roots::loop_depth(program.expression());
        if loops >= MAX_LOOP_VALUES.len() {
            return Err(Mistake {
                offset: 0,
                message: format!(
                    "loops stand {loops} deep in each other, at most {} are allowed",
                    MAX_LOOP_VALUES.len() - 1
                ),
            });
        }
        Ok(Self {
            source: source.trim().to_owned(),
            code: Code::Cel {
                program: Arc::new(program),
                roots,
                loops,
            },
        })
    }

    /// The root names the expression reads.
    pub fn roots(&self) -> Vec<&str> {
        match &self.code {
            Code::Path(path) => vec![path.root()],
            Code::Cel { roots, .. } => roots.iter().map(String::as_str).collect(),
        }
    }

    /// The path, if the expression is nothing but one.
    pub fn as_path(&self) -> Option<&Path> {
        match &self.code {
            Code::Path(path) => Some(path),
            Code::Cel { .. } => None,
        }
    }

    /// The expression as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its value in `scope`.
    ///
    /// # Errors
    /// [`EvalError::Unresolved`] names the first part of a path that is not there.
    pub fn evaluate(&self, scope: &dyn Scope) -> Result<Value, EvalError> {
        match &self.code {
            Code::Path(path) => path
                .resolve(scope)
                .map_err(|missing| EvalError::Unresolved {
                    expression: self.source.clone(),
                    missing,
                }),
            Code::Cel {
                program,
                roots,
                loops,
            } => {
                let mut context = Context::with_env(Arc::clone(&ENV));
                let mut values = 0;
                for name in roots {
                    if let Some(value) = scope.root(name) {
                        values += cel_value::count(&value);
                        if values > MAX_LOOP_VALUES[*loops] {
                            return Err(EvalError::Invalid {
                                expression: self.source.clone(),
                                reason: format!(
                                    "it loops, and the data it reads holds more than {} values",
                                    MAX_LOOP_VALUES[*loops]
                                ),
                            });
                        }
                        context.add_variable_from_value(name.as_str(), cel_value::to_cel(&value));
                    }
                }
                match program.execute(&context) {
                    Ok(value) => cel_value::to_json(&value).map_err(|reason| EvalError::Invalid {
                        expression: self.source.clone(),
                        reason,
                    }),
                    Err(ExecutionError::NoSuchKey(name)) => Err(EvalError::Unresolved {
                        expression: self.source.clone(),
                        missing: format!("`{name}`"),
                    }),
                    Err(ExecutionError::UndeclaredReference(name)) => Err(EvalError::Unresolved {
                        expression: self.source.clone(),
                        missing: format!("`{name}`"),
                    }),
                    Err(error) => Err(EvalError::Invalid {
                        expression: self.source.clone(),
                        reason: shorten(&error.to_string()),
                    }),
                }
            }
        }
    }
}

/// CEL's messages quote whole values; an error shall be readable and bounded.
fn shorten(message: &str) -> String {
    const MAX_CHARS: usize = 300;
    if message.chars().count() <= MAX_CHARS {
        return message.to_owned();
    }
    let mut short: String = message.chars().take(MAX_CHARS).collect();
    short.push('…');
    short
}

/// The predecessor's `===` and `!==` mean CEL's `==` and `!=`. Text in quotes stays as it is.
fn loosen_equality(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut quote: Option<char> = None;
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c);
        match quote {
            Some(_) if c == '\\' => out.extend(chars.next()),
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '='
                && (out.ends_with("==") || out.ends_with("!="))
                && chars.peek() == Some(&'=') =>
            {
                chars.next();
            }
            None => {}
        }
    }
    out
}

fn parse_mistake(source: &str, errors: &cel::ParseErrors) -> Mistake {
    let Some(first) = errors.errors.first() else {
        return Mistake {
            offset: 0,
            message: "the expression is not valid CEL".to_owned(),
        };
    };
    // Only one-line expressions have a column that means an offset.
    let offset = match first.pos {
        (1, column) if !source.contains('\n') => usize::try_from(column)
            .unwrap_or(0)
            .min(source.chars().count()),
        _ => 0,
    };
    let message = first.msg.lines().next().unwrap_or("not valid CEL");
    Mistake {
        offset,
        message: format!("not a valid expression: {}", shorten(message)),
    }
}

/// Whether a value counts as true in a condition that is only a path: not `null`, `false`, `0` or an
/// empty text.
pub fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}
