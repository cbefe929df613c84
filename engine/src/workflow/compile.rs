//! From a text to a [`Workflow`], collecting every mistake on the way.

use afu9_schemas::definition::{
    self, Action, Definition, Diagnostic, Positions, Read, ReadOptions, Sleep, Step, ToolCall,
    TriggerRule,
};
use afu9_schemas::tool::{kind_index, kinds};
use afu9_schemas::view::StepRole;
use serde_json::Value;

use super::graph::{self, NodeSet};
use super::names::Names;
use super::sleep::{duration_of, instant_of};
use super::{CompiledTrigger, InputSchema, Node, NodeAction, NodeItems, Workflow};
use crate::expression::{Condition, Expression, Mistake, Template, Wanted, compile_condition};
use crate::schedule::calendar::Calendar;

/// The result of reading a definition from a text.
#[derive(Debug)]
pub struct Compiled {
    /// What executions run.
    pub workflow: Workflow,
    /// The definition as JSON: what is stored and hashed.
    pub value: Value,
}

/// Reads and compiles a definition from JSON or YAML.
///
/// # Errors
/// Every mistake there is, with line and column. Mistakes in expressions are reported once the
/// structure is right.
pub fn compile(source: &str, options: ReadOptions<'_>) -> Result<Compiled, Vec<Diagnostic>> {
    let Read {
        definition,
        value,
        positions,
    } = definition::read(source, options)?;
    let mut compiler = Compiler {
        positions: &positions,
        value: &value,
        mistakes: Vec::new(),
    };
    let workflow = compiler.workflow(definition);
    let mut mistakes = compiler.mistakes;
    match workflow {
        Some(workflow) if mistakes.is_empty() => Ok(Compiled { workflow, value }),
        _ => {
            mistakes.sort_by_key(|mistake| mistake.position);
            mistakes.dedup();
            Err(mistakes)
        }
    }
}

struct Compiler<'a> {
    positions: &'a Positions,
    value: &'a Value,
    mistakes: Vec<Diagnostic>,
}

impl Compiler<'_> {
    fn found(&mut self, path: &str, offset: usize, message: String) {
        self.mistakes.push(Diagnostic {
            position: self.positions.inside(path, offset),
            path: path.to_owned(),
            message,
        });
    }

    fn workflow(&mut self, definition: Definition) -> Option<Workflow> {
        let needs = graph::needs(&definition.steps);
        let Some(before) = graph::before(&needs) else {
            self.found("/steps", 0, "steps need each other in a circle".to_owned());
            return None;
        };
        let main = definition.steps.len();
        let mut nodes = Vec::new();
        for (index, (step, (needs, before))) in definition
            .steps
            .iter()
            .zip(needs.into_iter().zip(before))
            .enumerate()
        {
            let path = format!("/steps/{index}");
            nodes.push(self.node(step, &path, StepRole::Main, needs, before));
        }
        for index in 0..main {
            for need in nodes[index].needs.clone() {
                nodes[need as usize].dependents.push(number(index));
            }
        }
        self.compensations(&definition, &mut nodes);
        self.on_failure(&definition, main, &mut nodes);
        self.check_names(&definition, &nodes);
        let input_schema = definition.input_schema.as_ref().and_then(|schema| {
            InputSchema::new(schema)
                .map_err(|mistakes| {
                    for (place, message) in mistakes {
                        self.found(&format!("/inputSchema{place}"), 0, message);
                    }
                })
                .ok()
        });
        let output = definition
            .output
            .as_ref()
            .map(|output| self.template(output, "/output"));
        let key = self.key(&definition);
        self.check_output(output.as_ref(), key.as_ref(), &nodes, main);
        let triggers = self.triggers(&definition);
        Some(Workflow {
            definition,
            nodes,
            main,
            input_schema,
            output,
            key,
            triggers,
        })
    }

    fn triggers(&mut self, definition: &Definition) -> Vec<CompiledTrigger> {
        let mut compiled = Vec::new();
        for (index, rule) in definition.triggers.iter().enumerate() {
            let (sort, roots, filter, input) = match rule {
                TriggerRule::Webhook(rule) => {
                    let roots: &[&str] = &["event", "action", "payload", "repo", "headers"];
                    ("webhook", roots, rule.filter.as_deref(), &rule.input)
                }
                TriggerRule::Schedule(rule) => ("schedule", &["schedule"][..], None, &rule.input),
                TriggerRule::Workflow(rule) => {
                    let filter = rule.filter.as_deref();
                    ("workflow", &["upstream"][..], filter, &rule.input)
                }
            };
            let path = format!("/on/{index}/{sort}");
            if let TriggerRule::Schedule(rule) = rule {
                for mistake in Calendar::new(&rule.cron, &rule.timezone)
                    .err()
                    .unwrap_or_default()
                {
                    self.found(&format!("{path}/{}", mistake.field), 0, mistake.reason);
                }
            }
            let filter = filter.and_then(|text| {
                let at = format!("{path}/filter");
                let condition = self.condition(text, &at)?;
                self.check_roots(&condition.expression, &at, roots);
                Some(condition)
            });
            let input = input.as_ref().map(|input| {
                let at = format!("{path}/input");
                let template = self.template(input, &at);
                let mut expressions = Vec::new();
                template.expressions(&at, &mut |at, expression| {
                    expressions.push((at.to_owned(), expression.clone()));
                });
                for (at, expression) in expressions {
                    self.check_roots(&expression, &at, roots);
                }
                template
            });
            compiled.push(CompiledTrigger { filter, input });
        }
        compiled
    }

    fn check_roots(&mut self, expression: &Expression, path: &str, roots: &[&str]) {
        let unknown: Vec<(usize, String)> = expression
            .paths()
            .into_iter()
            .filter(|(_, path)| !roots.contains(&path.root()))
            .map(|(at, path)| {
                let (source, root, known) = (expression.source(), path.root(), roots.join(", "));
                (
                    at,
                    format!("`${{{source}}}`: there is no `{root}`; known here are {known}"),
                )
            })
            .collect();
        self.unknown(path, unknown);
    }

    fn key(&mut self, definition: &Definition) -> Option<Template> {
        let key = Value::String(definition.flow.key.clone()?);
        let path = self.key_path();
        let template = self.template(&key, &path);
        self.check_kind(
            &template,
            &path,
            Wanted::Key,
            "a key is a text, a number or a boolean",
        );
        Some(template)
    }

    /// Where the key is written: in the first of the limits that has one.
    fn key_path(&self) -> String {
        ["concurrency", "rateLimit", "debounce"]
            .iter()
            .find(|limit| self.value[**limit].get("key").is_some())
            .map_or_else(
                || "/concurrency/key".to_owned(),
                |limit| format!("/{limit}/key"),
            )
    }

    fn compensations(&mut self, definition: &Definition, nodes: &mut Vec<Node>) {
        for (index, step) in definition.steps.iter().enumerate() {
            let Some(undo) = &step.compensate else {
                continue;
            };
            let path = format!("/steps/{index}/compensate");
            let mut before = nodes[index].before.clone();
            before.insert(number(index));
            let own = number(nodes.len());
            nodes[index].compensation = Some(own);
            nodes.push(Node {
                name: format!("{}.compensate", step.name),
                role: StepRole::Compensation,
                action: self.tool(&undo.call, &path),
                condition: None,
                for_each: None,
                assign: None,
                retry: undo.retry.clone(),
                timeout: undo.timeout,
                continue_on_error: true,
                needs: Vec::new(),
                dependents: Vec::new(),
                compensation: None,
                before,
            });
        }
    }

    /// They run one after the other, and see every step that has ended.
    fn on_failure(&mut self, definition: &Definition, main: usize, nodes: &mut Vec<Node>) {
        let mut before = NodeSet::default();
        for index in 0..main {
            before.insert(number(index));
        }
        for (index, step) in definition.on_failure.iter().enumerate() {
            let path = format!("/onFailure/{index}");
            let own = number(nodes.len());
            nodes.push(self.node(step, &path, StepRole::OnFailure, Vec::new(), before.clone()));
            before.insert(own);
        }
    }

    fn node(
        &mut self,
        step: &Step,
        path: &str,
        role: StepRole,
        needs: Vec<u32>,
        before: NodeSet,
    ) -> Node {
        let action = match &step.action {
            Action::Tool(call) => self.tool(call, path),
            Action::Approval(rule) => NodeAction::Approval {
                message: rule.message.as_ref().map(|message| {
                    self.template(
                        &Value::String(message.clone()),
                        &format!("{path}/approval/message"),
                    )
                }),
                rule: rule.clone(),
            },
            Action::WaitFor(wait) => NodeAction::WaitFor {
                signal: wait.signal.clone(),
                filter: wait
                    .filter
                    .as_deref()
                    .and_then(|text| self.condition(text, &format!("{path}/waitFor/filter"))),
                on_timeout: wait.on_timeout,
            },
            Action::Sleep(Sleep::For(value)) => {
                NodeAction::SleepFor(self.length(value, &format!("{path}/sleep/for")))
            }
            Action::Sleep(Sleep::Until(value)) => {
                NodeAction::SleepUntil(self.instant(value, &format!("{path}/sleep/until")))
            }
            Action::Workflow(child) => NodeAction::Workflow {
                workflow: child.workflow.clone(),
                version: child.version,
                input: self.template(&child.input, &format!("{path}/workflow/input")),
                wait: child.wait,
            },
        };
        let for_each = step.for_each.as_ref().map(|each| NodeItems {
            list: self.list(&each.list, &format!("{path}/forEach")),
            index_alias: format!("{}_index", each.alias),
            alias: each.alias.clone(),
            max_parallel: each.max_parallel,
        });
        let condition = step.condition.as_deref().and_then(|text| {
            let at = self.condition_path(path);
            self.condition(text, &at)
        });
        Node {
            name: step.name.clone(),
            role,
            action,
            condition,
            for_each,
            assign: step.assign.clone(),
            retry: step.retry.clone(),
            timeout: step.timeout,
            continue_on_error: step.continue_on_error,
            needs,
            dependents: Vec::new(),
            compensation: None,
            before,
        }
    }

    fn tool(&mut self, call: &ToolCall, path: &str) -> NodeAction {
        // A tool of no kind was refused by the reader.
        let kind = kind_index(call.tool.kind()).unwrap_or(kinds().len());
        NodeAction::Tool {
            tool: call.tool.clone(),
            kind: u16::try_from(kind).unwrap_or(u16::MAX),
            params: self.template(&call.params, &format!("{path}/params")),
        }
    }

    fn condition_path(&self, path: &str) -> String {
        let key = match self.value.pointer(path).and_then(|step| step.get("if")) {
            Some(_) => "if",
            None => "condition",
        };
        format!("{path}/{key}")
    }

    fn template(&mut self, value: &Value, path: &str) -> Template {
        let mut mistakes: Vec<(String, Mistake)> = Vec::new();
        let template = Template::compile(value, path, &mut |at, mistake| {
            mistakes.push((at.to_owned(), mistake));
        });
        for (at, mistake) in mistakes {
            self.found(&at, mistake.offset, mistake.message);
        }
        template
    }

    /// What yields items: a list, or exactly one expression.
    fn list(&mut self, value: &Value, path: &str) -> Template {
        let found = self.mistakes.len();
        let template = self.template(value, path);
        let is_right = matches!(
            template,
            Template::Literal(Value::Array(_)) | Template::List(_) | Template::Whole(_)
        );
        if !is_right && self.mistakes.len() == found {
            let message = "`forEach` must be a list, or exactly one expression that yields one";
            self.found(path, 0, message.to_owned());
        }
        self.check_kind(&template, path, Wanted::List, "`forEach` takes a list");
        template
    }

    /// How long a sleep is.
    fn length(&mut self, value: &Value, path: &str) -> Template {
        let template = self.template(value, path);
        let takes = "a sleep takes milliseconds, or a text like `1d12h`";
        if self.check_kind(&template, path, Wanted::Length, takes)
            && let Some(Err(why)) = constant(&template).map(|value| duration_of(&value))
        {
            self.found(path, 0, why);
        }
        template
    }

    /// Until when a sleep is.
    fn instant(&mut self, value: &Value, path: &str) -> Template {
        let template = self.template(value, path);
        let takes = "a sleep until an instant takes RFC 3339, or milliseconds since 1970";
        if self.check_kind(&template, path, Wanted::Instant, takes)
            && constant(&template).is_some_and(|value| instant_of(&value).is_none())
        {
            self.found(path, 0, takes.to_owned());
        }
        template
    }

    /// Whether an expression that stands alone can yield what the place takes; it is told if not.
    fn check_kind(&mut self, template: &Template, path: &str, wanted: Wanted, takes: &str) -> bool {
        if let Template::Whole(expression) = template
            && let Some(kinds) = expression.never(wanted)
        {
            let source = expression.source();
            let message = format!("{takes}, and `${{{source}}}` is always {kinds}");
            self.found(path, 0, message);
            return false;
        }
        true
    }

    fn condition(&mut self, text: &str, path: &str) -> Option<Condition> {
        compile_condition(text)
            .map_err(|mistake| self.found(path, mistake.offset, mistake.message))
            .ok()
    }

    fn check_names(&mut self, definition: &Definition, nodes: &[Node]) {
        let mut undo = 0;
        for (index, node) in nodes.iter().enumerate() {
            let path = match node.role {
                StepRole::Main => format!("/steps/{index}"),
                StepRole::Compensation => {
                    let owner = nodes
                        .iter()
                        .position(|owner| owner.compensation == Some(number(index)))
                        .unwrap_or_default();
                    undo += 1;
                    format!("/steps/{owner}/compensate")
                }
                StepRole::OnFailure => {
                    format!("/onFailure/{}", index - definition.steps.len() - undo)
                }
            };
            self.check_node(node, &path, nodes);
        }
    }

    fn check_node(&mut self, node: &Node, path: &str, nodes: &[Node]) {
        let sees = |other: u32| node.sees(other);
        let mut extra = match node.role {
            StepRole::Main => Vec::new(),
            StepRole::Compensation | StepRole::OnFailure => vec!["failure"],
        };
        let outside = Names {
            nodes,
            sees: &sees,
            extra: extra.clone(),
        };
        if let Some(condition) = &node.condition {
            let at = self.condition_path(path);
            self.unknown(&at, outside.mistakes_of(&condition.expression));
        }
        if let Some(each) = &node.for_each {
            self.check_template(&each.list, &format!("{path}/forEach"), &outside);
            extra.extend([each.alias.as_str(), each.index_alias.as_str()]);
        }
        let inside = Names {
            nodes,
            sees: &sees,
            extra: extra.clone(),
        };
        match &node.action {
            NodeAction::Tool { params, .. } => {
                self.check_template(params, &format!("{path}/params"), &inside);
            }
            NodeAction::Approval { message, .. } => {
                if let Some(message) = message {
                    self.check_template(message, &format!("{path}/approval/message"), &inside);
                }
            }
            NodeAction::WaitFor { filter, .. } => {
                extra.push("signal");
                let names = Names {
                    nodes,
                    sees: &sees,
                    extra,
                };
                if let Some(filter) = filter {
                    let at = format!("{path}/waitFor/filter");
                    self.unknown(&at, names.mistakes_of(&filter.expression));
                }
            }
            NodeAction::SleepFor(length) => {
                self.check_template(length, &format!("{path}/sleep/for"), &inside);
            }
            NodeAction::SleepUntil(instant) => {
                self.check_template(instant, &format!("{path}/sleep/until"), &inside);
            }
            NodeAction::Workflow { input, .. } => {
                self.check_template(input, &format!("{path}/workflow/input"), &inside);
            }
        }
    }

    fn check_output(
        &mut self,
        output: Option<&Template>,
        key: Option<&Template>,
        nodes: &[Node],
        main: usize,
    ) {
        let sees = |other: u32| (other as usize) < main;
        if let Some(output) = output {
            let names = Names {
                nodes,
                sees: &sees,
                extra: Vec::new(),
            };
            self.check_template(output, "/output", &names);
        }
        let Some(key) = key else { return };
        let path = self.key_path();
        let mut unknown = Vec::new();
        key.expressions(&path, &mut |at, expression| {
            for root in expression.roots() {
                if !matches!(root, "input" | "repo") {
                    unknown.push((
                        at.to_owned(),
                        format!("a key can be made of `input` and `repo` only, not of `{root}`"),
                    ));
                }
            }
        });
        for (at, message) in unknown {
            self.found(&at, 0, message);
        }
    }

    fn check_template(&mut self, template: &Template, path: &str, names: &Names<'_>) {
        let mut unknown = Vec::new();
        template.expressions(path, &mut |at, expression| {
            unknown.push((at.to_owned(), names.mistakes_of(expression)));
        });
        for (at, messages) in unknown {
            self.unknown(&at, messages);
        }
    }

    fn unknown(&mut self, path: &str, mistakes: Vec<(usize, String)>) {
        for (at, message) in mistakes {
            self.found(path, at, message);
        }
    }
}

/// The value of a single expression that reads no data.
fn constant(template: &Template) -> Option<Value> {
    match template {
        Template::Whole(expression) => expression.constant(),
        _ => None,
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_checked_with_their_place() {
        let source = concat!(
            "name: w\n",
            "steps:\n",
            "  - name: a\n",
            "    tool: test.echo\n",
            "    params: { value: \"${isue.number}\" }\n",
            "  - name: b\n",
            "    tool: test.echo\n",
            "    if: \"${1 +}\"\n",
            "    params:\n",
            "      value: \"${steps.c.output}\"\n",
            "  - name: c\n",
            "    tool: test.echo\n",
            "    params: { value: \"ab ${\" }\n"
        );
        let mistakes = compile(source, ReadOptions::default()).expect_err("four mistakes");
        let lines: Vec<usize> = mistakes.iter().map(|m| m.position.line).collect();
        assert_eq!(lines, [5, 8, 10, 13], "{mistakes:#?}");
        assert!(mistakes[0].message.contains("isue"), "{}", mistakes[0]);
        assert_eq!(
            mistakes[3].position.column, 26,
            "at the `${{`: {}",
            mistakes[3]
        );
    }

    #[test]
    fn names_assigned_by_earlier_steps_are_known() {
        let source = concat!(
            "name: w\n",
            "steps:\n",
            "  - {name: a, tool: test.echo, assign: x, params: {value: 1}}\n",
            "  - {name: b, tool: test.echo, params: {value: \"${x.value + steps.a.output.value}\"}}\n",
            "  - {name: c, tool: test.echo, params: {value: \"${input.list.map(y, y + 1)}\"}}\n"
        );
        compile(source, ReadOptions::default()).expect("valid");
    }

    /// After a point every word is a name, so a step may have one that is none at the beginning.
    #[test]
    fn steps_may_have_names_of_literals() {
        for name in ["in", "null", "true", "has"] {
            let source = format!(
                "name: w\nsteps:\n  - {{name: \"{name}\", tool: test.noop}}\n  - {{name: b, tool: test.noop, \
                 if: \"${{steps.{name}.status == 'completed' && has(steps.{name}.output)}}\"}}\n"
            );
            compile(&source, ReadOptions::default()).expect(name);
        }
    }

    #[test]
    fn schedules_that_cannot_come_are_mistakes() {
        let source = concat!(
            "name: w\n",
            "on:\n",
            "  - schedule: { cron: \"0 3 * * *\", timezone: Europe/Berlin }\n",
            "  - schedule: { cron: \"0 0 30 2 *\" }\n",
            "  - schedule:\n",
            "      cron: \"0 25 * * *\"\n",
            "      timezone: Europe/Bielefeld\n",
            "steps:\n",
            "  - { name: a, tool: test.noop }\n",
        );
        let mistakes = compile(source, ReadOptions::default()).expect_err("three mistakes");
        let paths: Vec<&str> = mistakes.iter().map(|m| m.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/on/1/schedule/cron",
                "/on/2/schedule/cron",
                "/on/2/schedule/timezone"
            ]
        );
        assert_eq!(mistakes[2].position.line, 7);
    }

    /// The places of the mistakes in the definition of one step.
    fn mistaken(step: &str) -> Vec<String> {
        let source = format!("name: w\nsteps:\n  - {{ name: a, {step} }}\n");
        match compile(&source, ReadOptions::default()) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.into_iter().map(|mistake| mistake.path).collect(),
        }
    }

    #[test]
    fn kinds_that_never_fit_their_place_are_mistakes() {
        for (step, path) in [
            ("tool: test.noop, forEach: '${5}'", "/steps/0/forEach"),
            (
                "tool: test.noop, forEach: '${size(input.files)}'",
                "/steps/0/forEach",
            ),
            (
                "tool: test.noop, forEach: '${input.a}${input.b}'",
                "/steps/0/forEach",
            ),
            (
                "tool: test.noop, forEach: '${input.a + }'",
                "/steps/0/forEach",
            ),
            ("sleep: '${[1]}'", "/steps/0/sleep/for"),
            ("sleep: '${timestamp(input.at)}'", "/steps/0/sleep/for"),
            ("sleep: '${-5}'", "/steps/0/sleep/for"),
            ("sleep: '${\"soon\"}'", "/steps/0/sleep/for"),
            (
                "sleep: { until: '${duration(input.for)}' }",
                "/steps/0/sleep/until",
            ),
            ("sleep: { until: '${\"soon\"}' }", "/steps/0/sleep/until"),
        ] {
            assert_eq!(mistaken(step), [path], "{step}");
        }
        let key =
            "name: w\nconcurrency: { key: '${[input.a]}' }\nsteps: [{ name: a, tool: test.noop }]";
        let mistakes = compile(key, ReadOptions::default()).expect_err("a list is no key");
        assert_eq!(mistakes[0].path, "/concurrency/key");
        for step in [
            "tool: test.noop, forEach: '${input.files}'",
            "tool: test.noop, forEach: '${input.all ? input.files : []}'",
            "tool: test.noop, forEach: '${[r\"a\\\"]}'",
            "tool: test.noop, forEach: \"${['}']}\"",
            "tool: test.noop, forEach: \"${[1] // }\\n }\"",
            "sleep: \"${duration('1.5s')}\"",
            "sleep: \"${duration(input.for)}\"",
            "sleep: { until: '${timestamp(input.at)}' }",
        ] {
            let found = mistaken(step);
            assert!(found.is_empty(), "{step}: {found:?}");
        }
    }

    #[test]
    fn filters_and_lists_are_whatever_expression_a_condition_is() {
        for expression in [
            "${r'\\' == signal.a}",
            "${signal.a == \"\"\"}\"\"\"}",
            "${signal.a // a } in a comment\n }",
            "${{'}': signal.a}['}'] == 1}",
        ] {
            let quoted = serde_json::to_string(expression).expect("a text");
            let found = mistaken(&format!("waitFor: {{ signal: s, filter: {quoted} }}"));
            assert!(found.is_empty(), "{expression}: {found:?}");
        }
        for expression in ["${signal.a} ${signal.b}", "${signal.a} == ${signal.b}"] {
            let found = mistaken(&format!("waitFor: {{ signal: s, filter: '{expression}' }}"));
            assert_eq!(found, ["/steps/0/waitFor/filter"], "{expression}");
        }
    }

    #[test]
    fn only_steps_that_are_ordered_before_are_seen() {
        let source = |needs: &str| {
            format!(
                "name: w\nsteps:\n\
                 \x20 - {{name: a, tool: test.echo, assign: x, needs: [], params: {{value: 1}}}}\n\
                 \x20 - {{name: b, tool: test.noop, needs: [a]}}\n\
                 \x20 - {{name: c, tool: test.echo, needs: {needs}, params: {{value: \"${{x}}\"}}}}\n"
            )
        };
        compile(&source("[b]"), ReadOptions::default()).expect("a is before b is before c");
        let mistakes = compile(&source("[]"), ReadOptions::default()).expect_err("not ordered");
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert_eq!(mistakes[0].position.line, 5);
    }
}
