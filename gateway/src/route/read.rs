//! Reading routes from TOML, with every mistake reported at once.

use std::collections::HashSet;

use afu9_engine::expression::{Condition, Expression, Template};
use serde_json::{Map, Number, Value};
use thiserror::Error;

use super::{ROOTS, Route};

/// Most routes in one configuration: each delivery is compared with all of them.
const MAX_ROUTES: usize = 1000;

const KEYS: [&str; 8] = [
    "name",
    "source",
    "event",
    "action",
    "repositories",
    "filter",
    "workflow",
    "input",
];

/// The source of routes that name none.
const DEFAULT_SOURCE: &str = "github";

/// One mistake in the routes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{route}{}{place}: {message}", if place.is_empty() { "" } else { " at " })]
pub struct RouteError {
    /// Which route: its number, from 1, and its name if it has one; `routes` for the text as a whole.
    pub route: String,
    /// Where in the route, as a JSON pointer; empty for the route as a whole.
    pub place: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Reads `[[route]]` tables.
///
/// # Errors
/// Every mistake there is; only a text that is not TOML ends the search at its first.
pub fn routes_from_toml(text: &str) -> Result<Vec<Route>, Vec<RouteError>> {
    let whole = |message: String| RouteError {
        route: "routes".to_owned(),
        place: String::new(),
        message,
    };
    let table = text.parse::<toml::Table>().map_err(|error| {
        let line = error.span().map_or(1, |span| {
            1 + text
                .as_bytes()
                .iter()
                .take(span.start)
                .filter(|byte| **byte == b'\n')
                .count()
        });
        vec![whole(format!(
            "not valid TOML, line {line}: {}",
            error.message()
        ))]
    })?;
    let mut mistakes = Vec::new();
    let mut routes = Vec::new();
    for (key, value) in &table {
        match value {
            toml::Value::Array(items) if key == "route" => {
                if items.len() > MAX_ROUTES {
                    mistakes.push(whole(format!("more than {MAX_ROUTES} routes")));
                }
                for (index, item) in items.iter().take(MAX_ROUTES).enumerate() {
                    let mut reader = Reader::new(index, item, &mut mistakes);
                    routes.extend(reader.route(item));
                }
            }
            _ if key == "route" => {
                mistakes.push(whole("`route` must be written as `[[route]]`".to_owned()));
            }
            _ => mistakes.push(whole(format!(
                "`{key}` is not known here; there is `[[route]]`"
            ))),
        }
    }
    let mut names = HashSet::new();
    for route in &routes {
        if !names.insert(route.name.as_str()) {
            mistakes.push(whole(format!("two routes are named `{}`", route.name)));
        }
    }
    if mistakes.is_empty() {
        Ok(routes)
    } else {
        Err(mistakes)
    }
}

struct Reader<'a> {
    route: String,
    mistakes: &'a mut Vec<RouteError>,
}

impl<'a> Reader<'a> {
    fn new(index: usize, item: &toml::Value, mistakes: &'a mut Vec<RouteError>) -> Self {
        let name = item.get("name").and_then(toml::Value::as_str);
        let route = match name {
            Some(name) => {
                let shown: String = name.chars().take(64).collect();
                format!("route {} `{shown}`", index + 1)
            }
            None => format!("route {}", index + 1),
        };
        Self { route, mistakes }
    }

    fn mistake(&mut self, place: &str, message: impl Into<String>) {
        self.mistakes.push(RouteError {
            route: self.route.clone(),
            place: place.to_owned(),
            message: message.into(),
        });
    }

    fn route(&mut self, item: &toml::Value) -> Option<Route> {
        let Some(table) = item.as_table() else {
            self.mistake("", "a route is a table");
            return None;
        };
        for key in table.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            self.mistake(
                &format!("/{key}"),
                format!("`{key}` is not known here; there are {}", KEYS.join(", ")),
            );
        }
        let name = self.required(table, "name").filter(|name| {
            let fits = is_name(name);
            if !fits {
                self.mistake("/name", "a name is 1 to 64 letters, digits, `-` or `_`");
            }
            fits
        });
        let event = self.required(table, "event");
        let workflow = self.required(table, "workflow").filter(|name| {
            let fits = crate::definitions::is_workflow_name(name);
            if !fits {
                self.mistake("/workflow", "this cannot be the name of a workflow");
            }
            fits
        });
        let source = self
            .text(table, "source")
            .unwrap_or_else(|| DEFAULT_SOURCE.to_owned());
        let action = self.text(table, "action");
        let repositories = self.repositories(table.get("repositories"));
        let filter = self.filter(table);
        let input = self.input(table.get("input"));
        Some(Route {
            name: name?,
            source,
            event: event?,
            action,
            repositories,
            filter,
            workflow: workflow?,
            input,
        })
    }

    fn required(&mut self, table: &toml::Table, key: &str) -> Option<String> {
        if !table.contains_key(key) {
            self.mistake("", format!("`{key}` is missing"));
        }
        self.text(table, key)
    }

    fn text(&mut self, table: &toml::Table, key: &str) -> Option<String> {
        match table.get(key)? {
            toml::Value::String(text) if !text.is_empty() => Some(text.clone()),
            _ => {
                self.mistake(&format!("/{key}"), format!("`{key}` must be a text"));
                None
            }
        }
    }

    fn repositories(&mut self, value: Option<&toml::Value>) -> Option<Vec<String>> {
        let value = value?;
        let Some(items) = value.as_array().filter(|items| !items.is_empty()) else {
            self.mistake(
                "/repositories",
                "`repositories` must be a list of `owner/name`",
            );
            return None;
        };
        let mut repositories = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let parts = item.as_str().and_then(|text| text.split_once('/'));
            match parts {
                Some((owner, name))
                    if !owner.is_empty() && !name.is_empty() && !name.contains('/') =>
                {
                    repositories.push(format!("{owner}/{name}"));
                }
                _ => self.mistake(
                    &format!("/repositories/{index}"),
                    "a repository is written `owner/name`",
                ),
            }
        }
        Some(repositories)
    }

    fn filter(&mut self, table: &toml::Table) -> Option<Condition> {
        let text = self.text(table, "filter")?;
        match Expression::compile(&text) {
            Ok(expression) => {
                self.check_roots("/filter", &expression);
                Some(Condition { expression })
            }
            Err(mistake) => {
                self.mistake("/filter", at(&mistake));
                None
            }
        }
    }

    fn input(&mut self, value: Option<&toml::Value>) -> Template {
        let value = match value {
            None => Value::Object(Map::new()),
            Some(value @ toml::Value::Table(_)) => self.json("/input", value),
            Some(_) => {
                self.mistake("/input", "`input` must be a table");
                Value::Null
            }
        };
        let mut found = Vec::new();
        let template = Template::compile(&value, "/input", &mut |place, mistake| {
            found.push((place.to_owned(), at(&mistake)));
        });
        for (place, message) in found {
            self.mistake(&place, message);
        }
        let mut expressions = Vec::new();
        template.expressions("/input", &mut |place, expression| {
            expressions.push((place.to_owned(), expression.clone()));
        });
        for (place, expression) in expressions {
            self.check_roots(&place, &expression);
        }
        template
    }

    fn check_roots(&mut self, place: &str, expression: &Expression) {
        for root in expression.roots() {
            if !ROOTS.contains(&root) {
                self.mistake(
                    place,
                    format!(
                        "there is no `{root}`; known here are {}",
                        ROOTS.join(" and ")
                    ),
                );
            }
        }
    }

    /// TOML as JSON; dates have no JSON form but their text.
    fn json(&mut self, place: &str, value: &toml::Value) -> Value {
        match value {
            toml::Value::String(text) => Value::String(text.clone()),
            toml::Value::Integer(number) => Value::from(*number),
            toml::Value::Float(number) => match Number::from_f64(*number) {
                Some(number) => Value::Number(number),
                None => {
                    self.mistake(place, "JSON has no such number");
                    Value::Null
                }
            },
            toml::Value::Boolean(value) => Value::Bool(*value),
            toml::Value::Datetime(instant) => Value::String(instant.to_string()),
            toml::Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| self.json(&format!("{place}/{index}"), item))
                .collect(),
            toml::Value::Table(fields) => fields
                .iter()
                .map(|(key, item)| (key.clone(), self.json(&format!("{place}/{key}"), item)))
                .collect(),
        }
    }
}

fn at(mistake: &afu9_engine::expression::Mistake) -> String {
    format!("character {}: {}", mistake.offset + 1, mistake.message)
}

/// A route's name ends the key its executions are derived from, after a colon.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_whole() {
        let text = r#"
            [[route]]
            name = "fix"
            event = "issues"
            action = "labeled"
            repositories = ["acme/shop"]
            filter = "event.label.name == 'afu9'"
            workflow = "issue_to_pr"
            input = { issue_number = "${event.issue.number}", by = "${delivery.id}", n = 1 }

            [[route]]
            name = "push"
            event = "push"
            workflow = "build"
        "#;
        let routes = routes_from_toml(text).expect("valid");
        assert_eq!(routes.len(), 2);
        let (fix, push) = (&routes[0], &routes[1]);
        assert_eq!(
            (fix.source.as_str(), fix.event.as_str()),
            ("github", "issues")
        );
        assert_eq!(fix.action.as_deref(), Some("labeled"));
        assert_eq!(
            fix.repositories.as_deref(),
            Some(&["acme/shop".to_owned()][..])
        );
        assert!(fix.filter.is_some() && push.filter.is_none());
        assert!(routes_from_toml("").expect("no route is fine").is_empty());
    }

    #[test]
    fn all_mistakes_are_reported_with_their_place() {
        let text = r#"
            routs = 1
            [[route]]
            name = "a b"
            evnt = "issues"
            workflow = "Build It"
            repositories = ["acme"]
            filter = "event.x =="
            input = { a = { b = ["${event.}", "${issue.number}"] } }
            [[route]]
            name = "same"
            event = "push"
            workflow = "w"
            [[route]]
            name = "same"
            event = "push"
            workflow = "w"
            filter = "branch == 'main'"
        "#;
        let mistakes = routes_from_toml(text).expect_err("many mistakes");
        let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        let places: Vec<(&str, &str)> = mistakes
            .iter()
            .map(|m| (m.route.as_str(), m.place.as_str()))
            .collect();
        for expected in [
            ("routes", ""),
            ("route 1 `a b`", ""),
            ("route 1 `a b`", "/name"),
            ("route 1 `a b`", "/evnt"),
            ("route 1 `a b`", "/workflow"),
            ("route 1 `a b`", "/repositories/0"),
            ("route 1 `a b`", "/filter"),
            ("route 1 `a b`", "/input/a/b/0"),
            ("route 1 `a b`", "/input/a/b/1"),
            ("route 3 `same`", "/filter"),
        ] {
            assert!(places.contains(&expected), "{expected:?} in {shown:#?}");
        }
        assert!(
            shown
                .iter()
                .any(|m| m.contains("two routes are named `same`")),
            "{shown:#?}"
        );
        assert!(
            shown.iter().any(|m| m.contains("`event` is missing")),
            "{shown:#?}"
        );
    }

    #[test]
    fn broken_toml_is_one_mistake_with_its_line() {
        let mistakes = routes_from_toml("[[route]]\nname = \"a\nevent = 1").expect_err("broken");
        assert_eq!(mistakes.len(), 1);
        assert!(mistakes[0].message.contains("line 2"), "{}", mistakes[0]);
    }
}
