//! From a text to a [`Definition`], collecting every mistake on the way.

use std::time::Duration;

use serde_json::{Map, Value};

use super::diagnostic::{Diagnostic, Positions};
use super::document;
use super::{
    Backoff, Config, DEFAULT_EXECUTION_TIMEOUT, Definition, MAX_DEFINITION_BYTES, MAX_STEPS,
    RetryPolicy, Step,
};
use crate::id::ToolName;
use crate::tool;

const MAX_ATTEMPTS: u64 = 10;
const MIN_INITIAL_DELAY_MS: u64 = 100;
const MIN_MAX_DELAY_MS: u64 = 1000;
const MIN_TIMEOUT_MS: u64 = 1000;
/// A year: longer waits are schedules.
const MAX_TIMEOUT_MS: u64 = 366 * 24 * 3600 * 1000;
const MAX_NAME_BYTES: usize = 255;

/// What the reader may assume.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadOptions<'a> {
    /// The name of a definition that has none of its own (the predecessor stored only the steps).
    pub name: Option<&'a str>,
}

/// A definition that was read, with its JSON form and the place of each part.
#[derive(Debug, Clone)]
pub struct Read {
    /// The typed form.
    pub definition: Definition,
    /// The JSON form, as written (with a name added if it had none).
    pub value: Value,
    /// Where each part begins, by JSON pointer into `value`.
    pub positions: Positions,
}

/// Reads a definition from JSON or YAML.
///
/// # Errors
/// Every mistake there is, in the order of the text. Only a text that is neither JSON nor YAML ends
/// the search at its first mistake.
pub fn read(source: &str, options: ReadOptions<'_>) -> Result<Read, Vec<Diagnostic>> {
    if source.len() > MAX_DEFINITION_BYTES {
        return Err(vec![Diagnostic {
            position: super::Position::START,
            path: String::new(),
            message: format!(
                "the definition has {} bytes, at most {MAX_DEFINITION_BYTES} are accepted",
                source.len()
            ),
        }]);
    }
    let document = document::parse(source).map_err(|mistake| vec![mistake])?;
    let mut reader = Reader {
        positions: &document.positions,
        mistakes: document.duplicate_keys,
    };
    let definition = reader.definition(&document.value, options);
    let mut mistakes = reader.mistakes;
    match definition {
        Some(definition) if mistakes.is_empty() => {
            let mut value = document.value;
            value["name"] = Value::String(definition.name.clone());
            Ok(Read {
                definition,
                value,
                positions: document.positions,
            })
        }
        _ => {
            mistakes.sort_by_key(|mistake| mistake.position);
            Err(mistakes)
        }
    }
}

struct Reader<'a> {
    positions: &'a Positions,
    mistakes: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn mistake(&mut self, path: &str, message: impl Into<String>) {
        self.mistakes.push(Diagnostic {
            position: self.positions.of(path),
            path: path.to_owned(),
            message: message.into(),
        });
    }

    fn definition(&mut self, value: &Value, options: ReadOptions<'_>) -> Option<Definition> {
        let Some(fields) = value.as_object() else {
            self.mistake("", "a definition is an object with `name` and `steps`");
            return None;
        };
        self.only_known(fields, "", &["name", "description", "steps", "config"]);
        let name = match (fields.get("name"), options.name) {
            (Some(name), _) => self.name(name, "/name", "workflow"),
            (None, Some(name)) => self.name(&Value::String(name.to_owned()), "/name", "workflow"),
            (None, None) => {
                self.mistake("", "`name` is missing");
                None
            }
        };
        let description = self.optional_text(fields, "", "description");
        let (config, max_retries) = self.config(fields.get("config"));
        let steps = self.steps(fields.get("steps"), max_retries);
        Some(Definition {
            name: name?,
            description,
            steps: steps?,
            config,
        })
    }

    fn steps(&mut self, value: Option<&Value>, max_retries: Option<u32>) -> Option<Vec<Step>> {
        let Some(value) = value else {
            self.mistake("", "`steps` is missing");
            return None;
        };
        let Some(items) = value.as_array() else {
            self.mistake("/steps", "`steps` must be a list");
            return None;
        };
        if items.is_empty() {
            self.mistake("/steps", "`steps` must hold at least one step");
        }
        if items.len() > MAX_STEPS {
            self.mistake(
                "/steps",
                format!(
                    "{} steps are too many, at most {MAX_STEPS} are accepted",
                    items.len()
                ),
            );
            return None;
        }
        let mut steps: Vec<Step> = Vec::with_capacity(items.len());
        let mut names: Vec<(String, usize)> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("/steps/{index}");
            let step = self.step(item, &path, max_retries);
            if let Some(name) = item.get("name").and_then(Value::as_str) {
                if let Some((_, first)) = names.iter().find(|(seen, _)| seen == name) {
                    self.mistake(
                        &format!("{path}/name"),
                        format!("step {} is already named `{name}`", first + 1),
                    );
                }
                names.push((name.to_owned(), index));
            }
            steps.extend(step);
        }
        (steps.len() == items.len()).then_some(steps)
    }

    fn step(&mut self, value: &Value, path: &str, max_retries: Option<u32>) -> Option<Step> {
        const KNOWN: &[&str] = &[
            "name",
            "tool",
            "params",
            "assign",
            "if",
            "condition",
            "retry",
            "timeoutMs",
        ];
        let Some(fields) = value.as_object() else {
            self.mistake(path, "a step is an object with `name`, `tool` and `params`");
            return None;
        };
        self.only_known(fields, path, KNOWN);
        let name = match fields.get("name") {
            Some(name) => self.name(name, &format!("{path}/name"), "step"),
            None => {
                self.mistake(path, "the step has no `name`");
                None
            }
        };
        let tool = self.tool(fields, path);
        let params = match fields.get("params") {
            Some(params @ Value::Object(_)) => Some(params.clone()),
            Some(_) => {
                self.mistake(&format!("{path}/params"), "`params` must be an object");
                None
            }
            None => Some(Value::Object(Map::new())),
        };
        if let (Some(tool), Some(Value::Object(params))) = (&tool, &params)
            && let Some(contract) = tool::contract(tool)
        {
            let params_path = format!("{path}/params");
            for (at, message) in contract.check_params(params) {
                self.mistake(&format!("{params_path}{at}"), message);
            }
        }
        let assign = match fields.get("assign") {
            None => None,
            Some(name) => self.assign(name, &format!("{path}/assign")),
        };
        if fields.contains_key("if") && fields.contains_key("condition") {
            self.mistake(
                &format!("{path}/condition"),
                "`condition` is the old name of `if`; give only one",
            );
        }
        let condition = self
            .optional_text(fields, path, "if")
            .or_else(|| self.optional_text(fields, path, "condition"));
        let retry = self.retry(fields.get("retry"), &format!("{path}/retry"), max_retries);
        let timeout = self
            .number(fields, path, "timeoutMs", MIN_TIMEOUT_MS, MAX_TIMEOUT_MS)
            .map(Duration::from_millis);
        Some(Step {
            name: name?,
            tool: tool?,
            params: params?,
            assign,
            condition,
            retry,
            timeout,
        })
    }

    fn tool(&mut self, fields: &Map<String, Value>, path: &str) -> Option<ToolName> {
        let Some(value) = fields.get("tool") else {
            self.mistake(path, "the step has no `tool`");
            return None;
        };
        let path = format!("{path}/tool");
        let Some(text) = value.as_str() else {
            self.mistake(&path, "`tool` must be a text like `github.getIssue`");
            return None;
        };
        match text.parse::<ToolName>() {
            Ok(name) => {
                if tool::contract(&name).is_none() {
                    let hint = tool::nearest(&name)
                        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                    self.mistake(&path, format!("there is no tool `{name}`{hint}"));
                }
                Some(name)
            }
            Err(error) => {
                self.mistake(&path, error.to_string());
                None
            }
        }
    }

    /// Names that expressions already use for something else.
    fn assign(&mut self, value: &Value, path: &str) -> Option<String> {
        const ROOTS: &[&str] = &["input", "repo", "steps", "execution"];
        let name = self.name(value, path, "assigned")?;
        if ROOTS.contains(&name.as_str()) {
            self.mistake(
                path,
                format!("`{name}` is a root of expressions; choose another name"),
            );
            return None;
        }
        Some(name)
    }

    fn name(&mut self, value: &Value, path: &str, what: &str) -> Option<String> {
        let Some(name) = value.as_str() else {
            self.mistake(path, format!("the {what} name must be a text"));
            return None;
        };
        let mut bytes = name.bytes();
        let valid = name.len() <= MAX_NAME_BYTES
            && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if valid {
            return Some(name.to_owned());
        }
        self.mistake(
            path,
            format!(
                "the {what} name `{name}` must begin with a lower-case letter and go \
                     on with lower-case letters, digits or `_` (at most {MAX_NAME_BYTES})"
            ),
        );
        None
    }

    fn config(&mut self, value: Option<&Value>) -> (Config, Option<u32>) {
        let mut config = Config {
            continue_on_error: false,
            timeout: DEFAULT_EXECUTION_TIMEOUT,
        };
        let Some(value) = value else {
            return (config, None);
        };
        let Some(fields) = value.as_object() else {
            self.mistake("/config", "`config` must be an object");
            return (config, None);
        };
        self.only_known(
            fields,
            "/config",
            &["continueOnError", "timeoutMs", "maxRetries", "debugMode"],
        );
        match fields.get("continueOnError") {
            None => {}
            Some(Value::Bool(go_on)) => config.continue_on_error = *go_on,
            Some(_) => {
                self.mistake(
                    "/config/continueOnError",
                    "`continueOnError` must be true or false",
                );
            }
        }
        if let Some(ms) = self.number(
            fields,
            "/config",
            "timeoutMs",
            MIN_TIMEOUT_MS,
            MAX_TIMEOUT_MS,
        ) {
            config.timeout = Duration::from_millis(ms);
        }
        let max_retries = self
            .number(fields, "/config", "maxRetries", 0, MAX_ATTEMPTS - 1)
            .and_then(|retries| u32::try_from(retries).ok());
        (config, max_retries)
    }

    fn retry(
        &mut self,
        value: Option<&Value>,
        path: &str,
        max_retries: Option<u32>,
    ) -> RetryPolicy {
        let mut policy = RetryPolicy::default();
        if let Some(retries) = max_retries {
            policy.max_attempts = retries + 1;
        }
        let Some(value) = value else { return policy };
        let Some(fields) = value.as_object() else {
            self.mistake(path, "`retry` must be an object");
            return policy;
        };
        self.only_known(
            fields,
            path,
            &[
                "maxAttempts",
                "backoff",
                "backoffMultiplier",
                "initialDelayMs",
                "maxDelayMs",
            ],
        );
        policy.max_attempts = RetryPolicy::default().max_attempts;
        if let Some(attempts) = self.number(fields, path, "maxAttempts", 1, MAX_ATTEMPTS) {
            policy.max_attempts = u32::try_from(attempts).unwrap_or(1);
        }
        if let Some(backoff) = fields.get("backoff") {
            match backoff.as_str() {
                Some("fixed") => policy.backoff = Backoff::Fixed,
                Some("linear") => policy.backoff = Backoff::Linear,
                Some("exponential") => policy.backoff = Backoff::Exponential,
                _ => self.mistake(
                    &format!("{path}/backoff"),
                    "`backoff` must be `fixed`, `linear` or `exponential`",
                ),
            }
        }
        if let Some(multiplier) = fields.get("backoffMultiplier") {
            match multiplier.as_f64() {
                Some(factor) if (1.0..=100.0).contains(&factor) => policy.multiplier = factor,
                _ => self.mistake(
                    &format!("{path}/backoffMultiplier"),
                    "`backoffMultiplier` must be a number from 1 to 100",
                ),
            }
        }
        if let Some(ms) = self.number(
            fields,
            path,
            "initialDelayMs",
            MIN_INITIAL_DELAY_MS,
            MAX_TIMEOUT_MS,
        ) {
            policy.initial_delay = Duration::from_millis(ms);
        }
        if let Some(ms) = self.number(fields, path, "maxDelayMs", MIN_MAX_DELAY_MS, MAX_TIMEOUT_MS)
        {
            policy.max_delay = Duration::from_millis(ms);
        }
        policy
    }

    fn only_known(&mut self, fields: &Map<String, Value>, path: &str, known: &[&str]) {
        for key in fields.keys() {
            if known.contains(&key.as_str()) {
                continue;
            }
            let hint = tool::closest(key, known.iter().copied())
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            self.mistake(
                &format!("{path}/{key}"),
                format!("`{key}` is not known here{hint}"),
            );
        }
    }

    fn optional_text(
        &mut self,
        fields: &Map<String, Value>,
        path: &str,
        key: &str,
    ) -> Option<String> {
        match fields.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Bool(value) if key == "if" => Some(format!("${{{value}}}")),
            _ => {
                self.mistake(&format!("{path}/{key}"), format!("`{key}` must be a text"));
                None
            }
        }
    }

    fn number(
        &mut self,
        fields: &Map<String, Value>,
        path: &str,
        key: &str,
        min: u64,
        max: u64,
    ) -> Option<u64> {
        let value = fields.get(key)?;
        match value.as_u64() {
            Some(number) if (min..=max).contains(&number) => Some(number),
            _ => {
                self.mistake(
                    &format!("{path}/{key}"),
                    format!("`{key}` is {value}, it must be a whole number from {min} to {max}"),
                );
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = r#"{
        "name": "issue_to_pr",
        "description": "from the predecessor",
        "steps": [
            {"name": "fetch_issue", "tool": "github.getIssue", "assign": "issue",
             "params": {"owner": "${repo.owner}", "repo": "${repo.name}", "number": "${input.issue_number}"}},
            {"name": "create_branch", "tool": "github.createBranch", "assign": "branch",
             "if": "${issue.state === 'open'}",
             "params": {"owner": "${repo.owner}", "repo": "${repo.name}",
                        "branch": "fix/${issue.number}", "from": "${repo.default_branch}"},
             "retry": {"maxAttempts": 5, "backoff": "linear", "initialDelayMs": 200}}
        ],
        "config": {"continueOnError": false, "timeoutMs": 60000, "maxRetries": 1}
    }"#;

    #[test]
    fn the_seed_format_is_read_unchanged() {
        let read = read(SEED, ReadOptions::default()).expect("valid");
        let definition = read.definition;
        assert_eq!(definition.name, "issue_to_pr");
        assert_eq!(definition.config.timeout, Duration::from_secs(60));
        assert_eq!(
            definition.steps[0].retry.max_attempts, 2,
            "config.maxRetries counts"
        );
        assert_eq!(definition.steps[1].retry.max_attempts, 5);
        assert_eq!(definition.steps[1].retry.backoff, Backoff::Linear);
        assert_eq!(
            definition.steps[1].condition.as_deref(),
            Some("${issue.state === 'open'}")
        );
    }

    #[test]
    fn yaml_and_json_of_the_same_definition_are_the_same_version() {
        let yaml = "steps:\n  - name: a\n    tool: test.noop\nname: w\n";
        let json = r#"{"name": "w", "steps": [{"name": "a", "tool": "test.noop"}]}"#;
        let one = read(yaml, ReadOptions::default()).expect("valid yaml");
        let two = read(json, ReadOptions::default()).expect("valid json");
        assert_eq!(
            super::super::hash(&one.value),
            super::super::hash(&two.value)
        );
    }

    #[test]
    fn every_mistake_is_reported_with_its_place() {
        let source = concat!(
            "name: Wrong Name\n",
            "steps:\n",
            "  - name: a\n",
            "    tool: github.getIsue\n",
            "    params: {}\n",
            "  - name: a\n",
            "    tool: test.noop\n",
            "    retry: { maxAttempts: 11 }\n",
            "    asign: x\n",
            "config:\n",
            "  timeoutMs: 5\n"
        );
        let mistakes = read(source, ReadOptions::default()).expect_err("five mistakes");
        let found: Vec<(usize, usize)> = mistakes
            .iter()
            .map(|m| (m.position.line, m.position.column))
            .collect();
        assert_eq!(
            found,
            [(1, 7), (4, 11), (6, 11), (8, 27), (9, 12), (11, 14)],
            "{mistakes:#?}"
        );
        assert!(
            mistakes[1].message.contains("github.getIssue"),
            "{}",
            mistakes[1]
        );
        assert!(mistakes[4].message.contains("assign"), "{}", mistakes[4]);
    }

    #[test]
    fn parameters_are_checked_against_the_tool() {
        let source = concat!(
            "name: w\n",
            "steps:\n",
            "  - name: a\n",
            "    tool: github.getIssue\n",
            "    params:\n",
            "      owner: o\n",
            "      number: seven\n",
            "      nummer: 7\n"
        );
        let mistakes = read(source, ReadOptions::default()).expect_err("three mistakes");
        let lines: Vec<usize> = mistakes.iter().map(|m| m.position.line).collect();
        assert_eq!(
            lines,
            [6, 7, 8],
            "missing `repo`, wrong type, unknown: {mistakes:#?}"
        );
    }

    #[test]
    fn broken_text_is_one_mistake_with_a_place() {
        for source in ["{\"name\": ", "a: [1, 2", "a: b: c", "\t- x"] {
            let mistakes = read(source, ReadOptions::default()).expect_err("broken");
            assert!(!mistakes.is_empty(), "{source}");
        }
        let bomb = concat!(
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n",
            "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n",
            "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n",
            "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n",
            "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
            "f: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
        );
        let mistakes = read(bomb, ReadOptions::default()).expect_err("too many values");
        assert!(mistakes[0].message.contains("values"), "{}", mistakes[0]);
    }

    #[test]
    fn a_name_may_come_from_outside() {
        let source = "steps:\n  - name: a\n    tool: test.noop\n";
        assert!(read(source, ReadOptions::default()).is_err());
        let read = read(
            source,
            ReadOptions {
                name: Some("stored"),
            },
        )
        .expect("named");
        assert_eq!(read.definition.name, "stored");
        assert_eq!(read.value["name"], "stored");
    }
}
