//! Schedules as people see them: what definitions say of them, how far they have got, and who has
//! paused them.

use std::collections::{BTreeMap, HashMap};

use afu9_broker::RequestError;
use afu9_broker::kv::{SchedulePause, ScheduleState};
use afu9_engine::schedule;
use afu9_schemas::definition::{self, ReadOptions, ScheduleTrigger, TriggerRule};
use afu9_schemas::message::{DefinitionRecord, ScheduleRef};

use crate::app::App;
use crate::problem::Problem;

/// One schedule.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) of: ScheduleRef,
    /// Whether its workflow is.
    pub(crate) enabled: bool,
    /// What the definition says; none where this build cannot read it.
    pub(crate) rule: Option<ScheduleTrigger>,
    /// How far it has got; none until an orchestrator has seen it, and while its workflow is disabled.
    pub(crate) state: Option<ScheduleState>,
    /// What people have last wished of it.
    pub(crate) pause: Option<SchedulePause>,
}

impl Known {
    /// Who has paused it, if somebody has.
    pub(crate) fn paused_by(&self) -> Option<&SchedulePause> {
        self.pause.as_ref().filter(|pause| pause.paused)
    }

    /// Whether its definition pauses it.
    pub(crate) fn paused_by_definition(&self) -> bool {
        self.rule.as_ref().is_some_and(|rule| rule.paused)
    }
}

impl App {
    /// Every schedule there is, by workflow; of one workflow only where one is given.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) async fn list_schedules(
        &self,
        workflow: Option<&str>,
    ) -> Result<Vec<Known>, Problem> {
        let gathered = async {
            let definitions = self.definitions.store().await?;
            let store = self.schedule_store().await?;
            let records = async {
                match workflow {
                    Some(name) => Ok(definitions.newest(name).await?.into_iter().collect()),
                    None => definitions.list().await,
                }
            };
            tokio::try_join!(records, store.list(), store.pauses())
        };
        let gathered: Result<_, RequestError> = gathered.await;
        let (records, states, pauses) = gathered.map_err(|error| Problem::broker(&error))?;
        let states = states.into_iter().map(|(state, _)| state).collect();
        // Reading a large definition takes milliseconds, and there may be a thousand.
        tokio::task::spawn_blocking(move || join(records, states, pauses))
            .await
            .map_err(|error| Problem::internal(&error))
    }
}

/// Puts together what is known of each schedule of `records`.
fn join(
    records: Vec<DefinitionRecord>,
    states: Vec<ScheduleState>,
    pauses: Vec<SchedulePause>,
) -> Vec<Known> {
    let mut pauses: HashMap<ScheduleRef, SchedulePause> = pauses
        .into_iter()
        .map(|pause| (pause.of.clone(), pause))
        .collect();
    let mut states: BTreeMap<ScheduleRef, ScheduleState> = states
        .into_iter()
        .map(|state| {
            let of = ScheduleRef {
                workflow: state.workflow.clone(),
                schedule: state.schedule.clone(),
            };
            (of, state)
        })
        .collect();
    let mut found = Vec::new();
    for record in records {
        let name = &record.workflow.name;
        let rules = match rules(&record) {
            Some(rules) => rules,
            None => {
                let of_it = states.keys().filter(|of| of.workflow == *name);
                of_it.map(|of| (of.clone(), None)).collect()
            }
        };
        for (of, rule) in rules {
            found.push(Known {
                enabled: record.enabled,
                rule,
                // What a disabled workflow's schedule had got to does not count any more.
                state: states.remove(&of).filter(|_| record.enabled),
                pause: pauses.remove(&of),
                of,
            });
        }
    }
    found
}

/// The schedules of a definition; `None` if this build cannot read it.
fn rules(record: &DefinitionRecord) -> Option<Vec<(ScheduleRef, Option<ScheduleTrigger>)>> {
    if record.definition.get("on").is_none() {
        return Some(Vec::new());
    }
    let name = record.workflow.name.as_str();
    let options = ReadOptions { name: Some(name) };
    let read = definition::read(&record.definition.to_string(), options).ok()?;
    let triggers = read.definition.triggers;
    let ids = schedule::ids(&triggers);
    let schedules = triggers.into_iter().zip(ids).filter_map(|(rule, id)| {
        let TriggerRule::Schedule(rule) = rule else {
            return None;
        };
        let of = ScheduleRef {
            workflow: name.to_owned(),
            schedule: id?,
        };
        Some((of, Some(rule)))
    });
    Some(schedules.collect())
}
