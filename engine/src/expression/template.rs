//! Values with `${…}` in their strings, compiled once and rendered many times.

use serde_json::{Map, Value};

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
                    .map(|(index, item)| Self::compile(item, &format!("{path}/{index}"), found))
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
                        let below =
                            format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                        (name.clone(), Self::compile(field, &below, found))
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
                    field.expressions(&format!("{path}/{name}"), visit);
                }
            }
        }
    }

    /// The value with every expression replaced by what it yields in `scope`.
    ///
    /// # Errors
    /// The first expression that has no value, with the place of its string (`files[0].path`).
    pub fn render(&self, scope: &dyn Scope) -> Result<Value, (String, EvalError)> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Whole(expression) => expression
                .evaluate(scope)
                .map_err(|error| (String::new(), error)),
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Literal(literal) => text.push_str(literal),
                        Part::Expression(expression) => {
                            let value =
                                expression.evaluate(scope).map_err(|e| (String::new(), e))?;
                            match value {
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
                        .render(scope)
                        .map_err(|(at, e)| (format!("[{index}]{at}"), e))?;
                    list.push(value);
                }
                Ok(Value::Array(list))
            }
            Self::Object(fields) => {
                let mut object = Map::new();
                for (name, field) in fields {
                    let value = field
                        .render(scope)
                        .map_err(|(at, e)| (format!(".{name}{at}"), e))?;
                    object.insert(name.clone(), value);
                }
                Ok(Value::Object(object))
            }
        }
    }
}

/// Compiles an `if`: exactly one `${…}`.
///
/// # Errors
/// When it is not exactly one expression, or that expression is not valid.
pub fn compile_condition(text: &str) -> Result<Condition, Mistake> {
    match compile_text(text.trim())? {
        Template::Whole(expression) => Ok(Condition { expression }),
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
            Ok(value) => Err(EvalError::Invalid {
                expression: self.expression.source().to_owned(),
                reason: format!("a condition must be true or false, this is {value}"),
            }),
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
        let Some(end) = closing_brace(inside) else {
            return Err(Mistake {
                offset,
                message: "`${` has no matching `}`".to_owned(),
            });
        };
        let expression = Expression::compile(&inside[..end]).map_err(|m| Mistake {
            offset: offset + 2 + m.offset,
            message: m.message,
        })?;
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

/// Where the brace that closes an expression is: braces inside (CEL's maps) and braces in quotes do
/// not count.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        match (quote, c) {
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(at),
            (None, '}') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::json;

    use super::*;

    struct Data(Value);

    impl Scope for Data {
        fn root(&self, name: &str) -> Option<Cow<'_, Value>> {
            self.0.get(name).map(Cow::Borrowed)
        }
    }

    fn scope() -> Data {
        Data(json!({
            "input": {"n": 7, "list": [1, 2, 3], "big": 1e20, "zero": 0, "empty": "",
                      "items": [{"name": "first"}]},
            "issue": {"number": 42, "title": "${input.n} \"); drop(1", "labels": ["bug"],
                      "state": "open", "nothing": null},
        }))
    }

    fn render(value: Value) -> Result<Value, (String, EvalError)> {
        let mut mistakes = Vec::new();
        let template = Template::compile(&value, "", &mut |path, m| {
            mistakes.push((path.to_owned(), m))
        });
        assert_eq!(mistakes, [], "{value}");
        template.render(&scope())
    }

    #[test]
    fn one_expression_keeps_its_type_and_several_become_text() {
        assert_eq!(render(json!("${issue.number}")), Ok(json!(42)));
        assert_eq!(render(json!("${issue}")), Ok(scope().0["issue"].clone()));
        assert_eq!(render(json!("fix/${issue.number}")), Ok(json!("fix/42")));
        assert_eq!(
            render(json!("${input.list}:${issue.nothing}")),
            Ok(json!("[1,2,3]:null"))
        );
        assert_eq!(
            render(json!("${input.items[0].name} ${input.items.0.name}")),
            Ok(json!("first first"))
        );
        assert_eq!(
            render(json!({"a": ["${input.n + 1}", 1]})),
            Ok(json!({"a": [8, 1]}))
        );
        assert_eq!(
            render(json!("${ {'a': {'b': '}'}} }")),
            Ok(json!({"a": {"b": "}"}}))
        );
        assert_eq!(
            render(json!("${input.list.map(x, x * 2)}")),
            Ok(json!([2, 4, 6]))
        );
    }

    #[test]
    fn what_came_from_outside_is_never_evaluated() {
        // The title holds an expression and code: it stays what it is.
        let title = scope().0["issue"]["title"].clone();
        assert_eq!(render(json!("${issue.title}")), Ok(title.clone()));
        let text = format!("Fix: {}", title.as_str().expect("text"));
        assert_eq!(render(json!("Fix: ${issue.title}")), Ok(json!(text)));
        let condition = compile_condition("${issue.title == 'x'}").expect("valid");
        assert_eq!(condition.holds(&scope()), Ok(false));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let (at, error) = render(json!({"a": ["x", "${issue.nmber}"]})).expect_err("no such field");
        assert_eq!(at, ".a[1]");
        assert_eq!(
            error.to_string(),
            "`${issue.nmber}` cannot be resolved: there is no `nmber` in `issue`"
        );
        let (_, error) = render(json!("${input.n + issue.nmber}")).expect_err("no such field");
        assert_eq!(error.code(), "expression.unresolved");
        let (_, error) = render(json!("${input.n + issue.title}")).expect_err("types");
        assert_eq!(error.code(), "expression.invalid");
        let (_, error) = render(json!("${input.n / input.zero}")).expect_err("division");
        assert_eq!(error.code(), "expression.invalid");
    }

    #[test]
    fn conditions_of_the_predecessor_keep_their_meaning() {
        for (text, expected) in [
            ("${issue.number}", true),
            ("${issue.labels}", true),
            ("${issue.absent}", false),
            ("${absent}", false),
            ("${input.zero}", false),
            ("${input.empty}", false),
            ("${issue.nothing}", false),
            ("${issue.state === 'open'}", true),
            ("${issue.state !== 'open'}", false),
            ("${issue.state == '==='}", false),
            ("${issue.number > 41 && 'bug' in issue.labels}", true),
            ("${!has(issue.absent)}", true),
            ("${true}", true),
            ("${false}", false),
        ] {
            let condition = compile_condition(text).expect(text);
            assert_eq!(condition.holds(&scope()), Ok(expected), "{text}");
        }
        let number = compile_condition("${input.n + 1}").expect("valid");
        assert_eq!(
            number.holds(&scope()).expect_err("not a bool").code(),
            "expression.invalid"
        );
        assert!(compile_condition("issue").is_err());
        assert!(compile_condition("${a} ${b}").is_err());
    }

    #[test]
    fn mistakes_are_found_at_compile_time_with_their_place() {
        for (text, offset) in [
            ("ab${", 2),
            ("ab${}", 4),
            ("${1 +}", 5),
            ("x ${issue.} y", 10),
        ] {
            let mistake = compile_text(text).expect_err(text);
            assert!(mistake.offset.abs_diff(offset) <= 2, "{text}: {mistake:?}");
        }
    }

    #[test]
    fn maps_built_by_an_expression_have_one_order() {
        let text = "${ {'z': 1, 'a': 2, 'm': {'y': 1, 'b': 2}} }";
        let rendered = render(json!(text)).expect("valid");
        assert_eq!(rendered.to_string(), r#"{"a":2,"m":{"b":2,"y":1},"z":1}"#);
    }

    #[test]
    fn what_an_expression_costs_is_bounded() {
        let deep = "${input.list.map(x, input.list.map(y, input.list.map(z, z)))}";
        assert!(compile_text(deep).is_err(), "three loops in each other");
        let behind = "${input.list.map(x, x + 1).filter(x, x > 2).map(x, x)}";
        assert_eq!(render(json!(behind)), Ok(json!([3, 4])));
        let large = Data(json!({ "input": { "list": vec![1; 6000] } }));
        let template = compile_text("${input.list.filter(x, x in input.list)}").expect("valid");
        let (_, error) = template
            .render(&large)
            .expect_err("quadratic over 6000 values");
        assert_eq!(error.code(), "expression.invalid");
        let square = Data(json!({ "input": { "list": vec![1; 4000] } }));
        let template = compile_text("${input.list.map(x, input.list)}").expect("valid");
        let (_, error) = template
            .render(&square)
            .expect_err("sixteen million values");
        assert_eq!(error.code(), "expression.invalid");
    }
}
