//! A definition with its expressions compiled: what executions run.

use afu9_schemas::definition::{self, Definition, Diagnostic, Read, ReadOptions};
use afu9_schemas::tool::kind_profile;
use serde_json::Value;

use crate::expression::{Condition, Expression, Path, Segment, Template, compile_condition};

/// A definition that is valid in every respect.
#[derive(Debug)]
pub struct Workflow {
    /// As it was read.
    pub definition: Definition,
    /// Compiled, in the order of the definition's steps.
    pub steps: Vec<CompiledStep>,
}

/// The expressions of one step.
#[derive(Debug)]
pub struct CompiledStep {
    /// Its parameters.
    pub params: Template,
    /// Its condition.
    pub condition: Option<Condition>,
}

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
    let read = definition::read(source, options)?;
    let Read {
        definition,
        value,
        positions,
    } = read;
    let mut mistakes = Vec::new();
    let mut steps = Vec::with_capacity(definition.steps.len());
    for (index, step) in definition.steps.iter().enumerate() {
        let path = format!("/steps/{index}");
        let mut found = |path: &str, offset: usize, message: String| {
            mistakes.push(Diagnostic {
                position: positions.inside(path, offset),
                path: path.to_owned(),
                message,
            });
        };
        let params = Template::compile(&step.params, &format!("{path}/params"), &mut |at, m| {
            found(at, m.offset, m.message);
        });
        let names = Names {
            definition: &definition,
            index,
        };
        params.expressions(&format!("{path}/params"), &mut |at, expression| {
            for message in names.mistakes_of(expression) {
                found(at, 0, message);
            }
        });
        let condition = step.condition.as_deref().and_then(|text| {
            let key = if value["steps"][index].get("if").is_some() {
                "if"
            } else {
                "condition"
            };
            let at = format!("{path}/{key}");
            match compile_condition(text) {
                Ok(condition) => {
                    for message in names.mistakes_of(&condition.expression) {
                        found(&at, 0, message);
                    }
                    Some(condition)
                }
                Err(mistake) => {
                    found(&at, mistake.offset, mistake.message);
                    None
                }
            }
        });
        steps.push(CompiledStep { params, condition });
    }
    if mistakes.is_empty() {
        Ok(Compiled {
            workflow: Workflow { definition, steps },
            value,
        })
    } else {
        mistakes.sort_by_key(|mistake| mistake.position);
        Err(mistakes)
    }
}

/// Whether every tool of `definition` belongs to production.
pub fn is_for_production(definition: &Definition) -> bool {
    definition
        .steps
        .iter()
        .all(|step| kind_profile(step.tool.kind()).is_none_or(|profile| profile.production))
}

/// Which names an expression of a step can know.
struct Names<'a> {
    definition: &'a Definition,
    index: usize,
}

impl Names<'_> {
    fn mistakes_of(&self, expression: &Expression) -> Vec<String> {
        let mut mistakes = Vec::new();
        for root in expression.roots() {
            if !self.knows(root) {
                mistakes.push(format!(
                    "`${{{}}}`: there is no `{root}`; known here are input, repo, \
                         execution, steps.<name>.output and what earlier steps assign",
                    expression.source()
                ));
            }
        }
        if let Some(path) = expression.as_path() {
            mistakes.extend(self.step_mistake(path));
        }
        mistakes
    }

    fn knows(&self, root: &str) -> bool {
        matches!(root, "input" | "repo" | "execution" | "steps")
            || self.definition.steps[..self.index]
                .iter()
                .any(|step| step.assign.as_deref() == Some(root))
    }

    /// `steps.x` must be an earlier step.
    fn step_mistake(&self, path: &Path) -> Option<String> {
        if path.root() != "steps" {
            return None;
        }
        let Some(Segment::Field(name)) = path.segments().first() else {
            return None;
        };
        let earlier = self.definition.steps[..self.index]
            .iter()
            .any(|step| step.name == *name);
        (!earlier).then(|| format!("`steps.{name}` is not an earlier step"))
    }
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
}
