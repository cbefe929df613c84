//! `on`: what starts executions by itself.

use serde_json::Value;

use super::Reader;
use super::value::{Item, Object, chosen};
use crate::definition::vocabulary::{DEFAULT_SOURCE, DEFAULT_TIMEZONE, ENDS, MISSED, keys};
use crate::definition::{
    AfterTrigger, MissedRuns, ScheduleTrigger, TriggerRule, WebhookTrigger, bound,
};
use crate::view::ExecutionStatus;

impl Reader<'_> {
    pub(super) fn triggers(&mut self, top: &Object<'_>) -> Vec<TriggerRule> {
        let path = top.at("on");
        let items = match top.get("on") {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.mistake(&path, "`on` must be a list of triggers");
                return Vec::new();
            }
        };
        if items.len() > bound::TRIGGERS {
            self.mistake(
                &path,
                format!(
                    "{} triggers are too many, at most {} are accepted",
                    items.len(),
                    bound::TRIGGERS
                ),
            );
            return Vec::new();
        }
        items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| self.trigger(item, &format!("{path}/{index}")))
            .collect()
    }

    fn trigger(&mut self, value: &Value, path: &str) -> Option<TriggerRule> {
        const SHAPE: &str =
            "a trigger is an object with exactly one of `webhook`, `schedule` and `workflow`";
        let trigger = self.object(value, path, SHAPE, keys::TRIGGER)?;
        let mut given = keys::TRIGGER.iter().filter(|key| trigger.has(key));
        let Some(&key) = given.next() else {
            self.mistake(path, SHAPE);
            return None;
        };
        for other in given {
            self.mistake(
                &trigger.at(other),
                format!("this trigger is a `{key}` already; write another list item"),
            );
        }
        match key {
            "webhook" => self.webhook(&trigger).map(TriggerRule::Webhook),
            "schedule" => self.schedule(&trigger).map(TriggerRule::Schedule),
            _ => self.after(&trigger).map(TriggerRule::Workflow),
        }
    }

    fn webhook(&mut self, trigger: &Object<'_>) -> Option<WebhookTrigger> {
        let webhook = self.section(trigger, "webhook", keys::WEBHOOK)?;
        let source = if webhook.has("source") {
            self.source(&webhook)
        } else {
            Some(DEFAULT_SOURCE.to_owned())
        };
        if !webhook.has("event") {
            self.missing(&webhook, "event");
        }
        let event = self.short_text(&webhook, "event");
        let actions = self.short_texts(&webhook, "action");
        let repositories = self.repositories(&webhook);
        let filter = self.expression(&webhook, "filter");
        let input = self.free_object(&webhook, "input");
        Some(WebhookTrigger {
            source: source?,
            event: event?,
            actions,
            repositories,
            filter,
            input,
        })
    }

    fn source(&mut self, webhook: &Object<'_>) -> Option<String> {
        let source = self.text(webhook, "source")?;
        let valid = (1..=bound::SOURCE_BYTES).contains(&source.len())
            && source
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if valid {
            return Some(source);
        }
        self.mistake(
            &webhook.at("source"),
            format!(
                "`source` must be 1 to {} letters, digits, `-` or `_`",
                bound::SOURCE_BYTES
            ),
        );
        None
    }

    fn short_texts(&mut self, object: &Object<'_>, key: &str) -> Vec<String> {
        self.some_texts(object, key)
            .unwrap_or_default()
            .into_iter()
            .filter(|item| self.is_short(item.text, &item.path, key))
            .map(|item| item.text.to_owned())
            .collect()
    }

    fn repositories(&mut self, webhook: &Object<'_>) -> Vec<String> {
        let items = self.some_texts(webhook, "repository").unwrap_or_default();
        let mut repositories = Vec::with_capacity(items.len());
        for Item { text, path } in items {
            if is_repository(text) {
                repositories.push(text.to_owned());
            } else {
                self.mistake(
                    &path,
                    format!("`{text}` must be `owner/name`, or `owner/*` for all of an owner"),
                );
            }
        }
        repositories
    }

    fn schedule(&mut self, trigger: &Object<'_>) -> Option<ScheduleTrigger> {
        let schedule = self.section(trigger, "schedule", keys::SCHEDULE)?;
        let cron = self.cron(&schedule);
        let timezone = if schedule.has("timezone") {
            self.timezone(&schedule)
        } else {
            Some(DEFAULT_TIMEZONE.to_owned())
        };
        let missed = self
            .choice(&schedule, "missed", MISSED)
            .unwrap_or(MissedRuns::One);
        let jitter = self
            .millis(&schedule, "jitterMs", bound::JITTER_MS)
            .unwrap_or_default();
        let paused = self.flag(&schedule, "paused").unwrap_or(false);
        let input = self.free_object(&schedule, "input");
        Some(ScheduleTrigger {
            cron: cron?,
            timezone: timezone?,
            missed,
            jitter,
            paused,
            input,
        })
    }

    /// Only its form: what the fields may hold is for the scheduler, which computes with them.
    fn cron(&mut self, schedule: &Object<'_>) -> Option<String> {
        if !schedule.has("cron") {
            self.missing(schedule, "cron");
        }
        let cron = self.short_text(schedule, "cron")?;
        let fields = cron.split_whitespace().count();
        let plausible = |c: char| {
            c.is_ascii_alphanumeric() || c == ' ' || matches!(c, '*' | ',' | '-' | '/' | '?' | '#')
        };
        if (5..=6).contains(&fields) && cron.chars().all(plausible) {
            return Some(cron);
        }
        self.mistake(
            &schedule.at("cron"),
            "`cron` must have five fields (minute, hour, day, month, weekday), or six with seconds \
             first, like `30 6 * * 1-5`",
        );
        None
    }

    /// Only its form: whether there is such a zone is for the scheduler, which knows them.
    fn timezone(&mut self, schedule: &Object<'_>) -> Option<String> {
        let timezone = self.short_text(schedule, "timezone")?;
        let plausible = timezone.split('/').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-'))
        });
        if plausible {
            return Some(timezone);
        }
        self.mistake(
            &schedule.at("timezone"),
            "`timezone` must be a name like `Europe/Berlin` or `UTC`",
        );
        None
    }

    fn after(&mut self, trigger: &Object<'_>) -> Option<AfterTrigger> {
        let after = self.section(trigger, "workflow", keys::AFTER)?;
        let workflow = self.required_name(&after, "name", "workflow");
        let statuses = match self.some_texts(&after, "status") {
            None => vec![ExecutionStatus::Completed],
            Some(items) => items.iter().filter_map(|item| self.end(item)).collect(),
        };
        let filter = self.expression(&after, "filter");
        let input = self.free_object(&after, "input");
        Some(AfterTrigger {
            workflow: workflow?,
            statuses,
            filter,
            input,
        })
    }

    fn end(&mut self, Item { text, path }: &Item<'_>) -> Option<ExecutionStatus> {
        let status = chosen(text, ENDS);
        if status.is_none() {
            self.no_choice("status", Some(text), path, ENDS);
        }
        status
    }
}

/// Whether `text` is `owner/name` or `owner/*`.
fn is_repository(text: &str) -> bool {
    let part = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    text.len() <= bound::SHORT_BYTES
        && text
            .split_once('/')
            .is_some_and(|(owner, name)| part(owner) && (name == "*" || part(name)))
}
