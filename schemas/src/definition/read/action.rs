//! What a step does: run a tool, let people decide, wait for a signal or an instant, run another
//! workflow.

use serde_json::{Map, Value};

use super::Reader;
use super::value::{Object, holds_expression, whole};
use crate::Timestamp;
use crate::definition::vocabulary::{DECISIONS, DEFAULT_SCOPE, ON_TIMEOUT, keys};
use crate::definition::{
    Action, Approval, Child, Decision, OnTimeout, Sleep, ToolCall, WaitFor, bound,
    is_approval_scope, parse_duration,
};
use crate::id::ToolName;
use crate::tool;

impl Action {
    /// Whether it can take longer than machines do.
    pub(super) const fn waits(&self) -> bool {
        !matches!(self, Self::Tool(_))
    }
}

impl Reader<'_> {
    /// The action at `key`, one of [`keys::ACTION`].
    pub(super) fn action(&mut self, step: &Object<'_>, key: &str) -> Option<Action> {
        match key {
            "tool" => self.tool_call(step).map(Action::Tool),
            "approval" => self.approval(step).map(Action::Approval),
            "waitFor" => self.wait_for(step).map(Action::WaitFor),
            "sleep" => self.sleep(step).map(Action::Sleep),
            _ => self.child(step).map(Action::Workflow),
        }
    }

    /// `tool` and `params` of a step or a compensation.
    pub(super) fn tool_call(&mut self, holder: &Object<'_>) -> Option<ToolCall> {
        let tool = self.tool(holder);
        let params = if holder.has("params") {
            self.free_object(holder, "params")
        } else {
            Some(Value::Object(Map::new()))
        };
        if let (Some(tool), Some(Value::Object(params))) = (&tool, &params)
            && let Some(contract) = tool::contract(tool)
        {
            let path = holder.at("params");
            for (at, message) in contract.check_params(params) {
                self.mistake(&format!("{path}{at}"), message);
            }
        }
        Some(ToolCall {
            tool: tool?,
            params: params?,
        })
    }

    fn tool(&mut self, holder: &Object<'_>) -> Option<ToolName> {
        let value = holder.get("tool")?;
        let path = holder.at("tool");
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

    fn approval(&mut self, step: &Object<'_>) -> Option<Approval> {
        let shape = "`approval` must be an object; `{}` is one approval by anybody who may";
        let approval = self.object(
            step.get("approval")?,
            &step.at("approval"),
            shape,
            keys::APPROVAL,
        )?;
        let required = self
            .count(&approval, "approvals", bound::APPROVALS)
            .unwrap_or(1);
        let approvers: Vec<String> = self
            .some_texts(&approval, "approvers")
            .unwrap_or_default()
            .into_iter()
            .filter(|item| self.is_short(item.text, &item.path, "approvers"))
            .map(|item| item.text.to_owned())
            .collect();
        if !approvers.is_empty() && usize::try_from(required).is_ok_and(|n| n > approvers.len()) {
            self.mistake(
                &approval.at("approvals"),
                format!(
                    "{required} approvals are needed, but only {} may approve",
                    approvers.len()
                ),
            );
        }
        Some(Approval {
            scope: self
                .approval_scope(&approval)
                .unwrap_or_else(|| DEFAULT_SCOPE.to_owned()),
            required,
            approvers,
            self_approval: self.flag(&approval, "selfApproval").unwrap_or(true),
            on_expiry: self
                .choice(&approval, "onExpiry", DECISIONS)
                .unwrap_or(Decision::Reject),
            message: self.text(&approval, "message"),
        })
    }

    /// A scope that a token can have: one that no token has would wait for nobody.
    fn approval_scope(&mut self, approval: &Object<'_>) -> Option<String> {
        let scope = self.text(approval, "scope")?;
        if is_approval_scope(&scope) {
            return Some(scope);
        }
        self.mistake(
            &approval.at("scope"),
            format!(
                "`scope` must be `approve`, or `approve:` and a name of 1 to {} letters, digits, `.`, \
                 `-` or `_`, such as `approve:deploy`",
                bound::SCOPE_BYTES
            ),
        );
        None
    }

    fn wait_for(&mut self, step: &Object<'_>) -> Option<WaitFor> {
        let (value, path) = (step.get("waitFor")?, step.at("waitFor"));
        if let Some(signal) = value.as_str() {
            return Some(WaitFor {
                signal: self.signal(signal, &path)?,
                filter: None,
                on_timeout: OnTimeout::Fail,
            });
        }
        let shape = "`waitFor` must be the name of a signal, or an object with `signal`";
        let wait = self.object(value, &path, shape, keys::WAIT_FOR)?;
        if !wait.has("signal") {
            self.missing(&wait, "signal");
        }
        let signal = self.text(&wait, "signal");
        let signal = signal.and_then(|signal| self.signal(&signal, &wait.at("signal")));
        let filter = self.expression(&wait, "filter");
        let on_timeout = self
            .choice(&wait, "onTimeout", ON_TIMEOUT)
            .unwrap_or(OnTimeout::Fail);
        Some(WaitFor {
            signal: signal?,
            filter,
            on_timeout,
        })
    }

    fn signal(&mut self, name: &str, path: &str) -> Option<String> {
        if bound::is_name(name, bound::SIGNAL_BYTES) {
            return Some(name.to_owned());
        }
        self.mistake(
            path,
            format!(
                "a signal's name is 1 to {} letters, digits, `.`, `-` or `_`",
                bound::SIGNAL_BYTES
            ),
        );
        None
    }

    fn sleep(&mut self, step: &Object<'_>) -> Option<Sleep> {
        const SHAPE: &str = "`sleep` must be a duration like `90s`, a number of milliseconds, or \
                             an object with one of `for`, `forMs` and `until`";
        let (value, path) = (step.get("sleep")?, step.at("sleep"));
        if value.is_string() || value.is_number() {
            return self.sleep_for(value, &path, "sleep");
        }
        let sleep = self.object(value, &path, SHAPE, keys::SLEEP)?;
        let mut given = keys::SLEEP.iter().filter(|key| sleep.has(key));
        let Some(&key) = given.next() else {
            self.mistake(&path, SHAPE);
            return None;
        };
        for other in given {
            self.mistake(
                &sleep.at(other),
                format!("`{key}` is given already; `sleep` takes only one of them"),
            );
        }
        match key {
            "for" => self.sleep_for(sleep.get("for")?, &sleep.at("for"), "for"),
            "forMs" => {
                let length = self.number(&sleep, "forMs", bound::SLEEP_MS)?;
                Some(Sleep::For(Value::from(length)))
            }
            _ => self.sleep_until(sleep.get("until")?, &sleep.at("until")),
        }
    }

    fn sleep_for(&mut self, value: &Value, path: &str, key: &str) -> Option<Sleep> {
        let length = whole(value).filter(|ms| bound::SLEEP_MS.contains(ms));
        let read = match (value, length) {
            (_, Some(length)) => Ok(Value::from(length)),
            (Value::String(text), _) if holds_expression(text) => Ok(value.clone()),
            (Value::String(text), _) => parse_duration(text).map(|_| value.clone()),
            _ => Err(format!(
                "`{key}` must be a duration like `1d12h`, a number of milliseconds from {} to {}, \
                 or an expression",
                bound::SLEEP_MS.start(),
                bound::SLEEP_MS.end()
            )),
        };
        match read {
            Ok(length) => Some(Sleep::For(length)),
            Err(message) => {
                self.mistake(path, message);
                None
            }
        }
    }

    fn sleep_until(&mut self, value: &Value, path: &str) -> Option<Sleep> {
        let valid = value
            .as_str()
            .is_some_and(|text| holds_expression(text) || Timestamp::parse(text).is_some());
        if valid {
            return Some(Sleep::Until(value.clone()));
        }
        self.mistake(
            path,
            "`until` must be an instant like `2030-01-31T08:00:00Z` (RFC 3339), or an expression",
        );
        None
    }

    fn child(&mut self, step: &Object<'_>) -> Option<Child> {
        let (value, path) = (step.get("workflow")?, step.at("workflow"));
        let empty = || Value::Object(Map::new());
        if value.is_string() {
            return Some(Child {
                workflow: self.name(value, &path, "workflow")?,
                version: None,
                input: empty(),
                wait: true,
            });
        }
        let shape = "`workflow` must be the name of a workflow, or an object with `name`";
        let child = self.object(value, &path, shape, keys::WORKFLOW)?;
        let workflow = self.required_name(&child, "name", "workflow");
        let version = self.count(&child, "version", bound::VERSION);
        let input = self.free_object(&child, "input").unwrap_or_else(empty);
        let wait = self.flag(&child, "wait").unwrap_or(true);
        Some(Child {
            workflow: workflow?,
            version,
            input,
            wait,
        })
    }

    /// Which action a step has; every further one is a mistake.
    pub(super) fn action_key(&mut self, step: &Object<'_>) -> Option<&'static str> {
        let mut given = keys::ACTION.iter().copied().filter(|key| step.has(key));
        let Some(key) = given.next() else {
            let path = step.path.clone();
            self.mistake(
                &path,
                "the step does nothing: it needs one of `tool`, `approval`, `waitFor`, `sleep` \
                 and `workflow`",
            );
            return None;
        };
        for other in given {
            self.mistake(
                &step.at(other),
                format!("the step has `{key}` already; it does only one thing"),
            );
        }
        Some(key)
    }
}
