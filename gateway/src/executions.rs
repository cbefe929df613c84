//! Finding executions: live ones at their partition's owner, others in Postgres, in observed history
//! or among those accepted a moment ago.

mod merge;
mod shape;

use std::time::Duration;

use afu9_broker::error::chain;
use afu9_schemas::message::{ListCursor, ListFilter, Query, QueryReply};
use afu9_schemas::view::{ExecutionStatus, ExecutionSummary, ExecutionView};
use afu9_schemas::{ExecutionId, Timestamp};
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use crate::app::App;
use crate::stored::StoredError;

pub(crate) use merge::{Gathered, Held, Page, page};
pub(crate) use shape::{
    attempt_json, counts_json, error_json, execution_json, item_json, summary_json,
};

/// How long to wait for a partition without an owner: it may be moving to another one.
pub(crate) const OWNER_PATIENCE: Duration = Duration::from_secs(2);

/// Pause before its owner is looked for again.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Which executions a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Those in any of these; all, where there are none.
    pub(crate) statuses: Vec<ExecutionStatus>,
    pub(crate) workflow: Option<String>,
    pub(crate) triggered_by: Option<String>,
    /// This instant included.
    pub(crate) started_after: Option<Timestamp>,
    pub(crate) relation: Option<Relation>,
    pub(crate) limit: usize,
    pub(crate) before: Option<Cursor>,
    pub(crate) doubtful: Doubtful,
}

/// Executions that have, as the past tells, a status that was asked for, and that their owner does not
/// hold with it: the past lags, or the owner is just taking over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubtful {
    /// A list would show most of them with a status that they do not have any more.
    Hidden,
    /// Whoever must miss none looks at each of them anyway.
    Shown,
}

impl Filter {
    /// The longest page of a list.
    pub(crate) const MAX_LIMIT: usize = 200;

    /// The longest page that owners and the database give.
    pub(crate) const LONGEST: usize = 500;

    /// The usual page.
    pub(crate) const DEFAULT_LIMIT: usize = 50;

    /// Whether `summary` is one of them, on whatever page. What it is related to, a summary does not
    /// say: whoever knows it was asked only for those.
    pub(crate) fn wants(&self, summary: &ExecutionSummary) -> bool {
        let is =
            |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        (self.statuses.is_empty() || self.statuses.contains(&summary.status))
            && is(&self.workflow, &summary.workflow)
            && is(&self.triggered_by, &summary.triggered_by)
            && self
                .started_after
                .is_none_or(|after| summary.started_at >= after)
    }

    /// As owners are asked.
    fn query(&self) -> Query {
        let relation = self.relation.as_ref();
        let mut filter = ListFilter {
            statuses: self.statuses.clone(),
            workflow: self.workflow.clone(),
            triggered_by: self.triggered_by.clone(),
            started_after: self.started_after,
            before: self.before.map(|before| ListCursor {
                started_at: before.started_at,
                id: before.id,
            }),
            ..ListFilter::default()
        };
        match relation {
            None => {}
            Some(Relation::Key(key)) => filter.key = Some(key.clone()),
            Some(Relation::Parent(id)) => filter.parent = Some(*id),
            Some(Relation::RerunOf(id)) => filter.rerun_of = Some(*id),
        }
        let limit = u32::try_from(self.limit).unwrap_or(u32::MAX);
        Query::List { limit, filter }
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            statuses: Vec::new(),
            workflow: None,
            triggered_by: None,
            started_after: None,
            relation: None,
            limit: Self::DEFAULT_LIMIT,
            before: None,
            doubtful: Doubtful::Hidden,
        }
    }
}

/// What executions may have in common beside their workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Relation {
    /// They contend for this key.
    Key(String),
    /// Steps of this execution run them.
    Parent(ExecutionId),
    /// They repeat this execution.
    RerunOf(ExecutionId),
}

/// Where a page ended: the next one begins behind this execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor {
    pub(crate) started_at: Timestamp,
    pub(crate) id: ExecutionId,
}

impl Cursor {
    pub(crate) fn of(summary: &ExecutionSummary) -> Self {
        Self {
            started_at: summary.started_at,
            id: summary.id,
        }
    }

    /// Everything that began before this instant is behind it, and nothing that began in it.
    pub(crate) const fn before(instant: Timestamp) -> Self {
        Self {
            started_at: instant,
            // The least of all.
            id: ExecutionId::NONE,
        }
    }

    /// The text by which a client asks for the next page.
    pub(crate) fn to_text(self) -> String {
        format!("{}.{}", self.started_at.as_micros(), self.id)
    }

    /// Reads what [`Self::to_text`] wrote.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let (micros, id) = text.split_once('.')?;
        let started_at = Timestamp::from_micros(micros.parse().ok()?);
        Some(Self {
            started_at,
            id: id.parse().ok()?,
        })
    }
}

/// Where an execution was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// At its owner, or accepted here a moment ago.
    Live,
    /// In Postgres.
    History,
    /// In the HISTORY stream.
    Stream,
}

impl Source {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::History => "history",
            Self::Stream => "stream",
        }
    }
}

/// What is known of an execution.
#[derive(Debug)]
pub(crate) enum Found {
    Known(Box<ExecutionView>, Source),
    /// Everybody who could know it was asked.
    Unknown,
    /// Its partition has no owner just now, or one that does not answer; the past does not know it.
    OwnerAway,
    /// Its owner does not hold it, and the past cannot be asked.
    PastAway,
}

/// The executions of a list, as far as they could be gathered.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) page: Page,
    pub(crate) total: Option<usize>,
    /// Somebody did not answer: executions may be missing, or be shown as they were.
    pub(crate) incomplete: bool,
}

/// What the past says of one execution.
pub(crate) enum Past {
    Known(Box<ExecutionView>, Source),
    Unknown,
    Away,
}

impl App {
    /// Looks for an execution wherever it may be.
    ///
    /// # Errors
    /// Only when the database's answer cannot be used.
    pub(crate) async fn find(&self, id: ExecutionId) -> Result<Found, StoredError> {
        let partition = self.broker.partitions().of(id);
        let deadline = Instant::now() + OWNER_PATIENCE;
        let mut past = None;
        let owner_knows_nothing = loop {
            match self
                .broker
                .ask(partition, &Query::Show { execution: id })
                .await
            {
                Ok(Some(QueryReply::Execution(view))) => {
                    return Ok(Found::Known(view, Source::Live));
                }
                Ok(Some(QueryReply::Unknown)) => break true,
                Ok(Some(_)) => {
                    tracing::warn!(%partition, "owner answered another question");
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%partition, error = %chain(&error), "owner did not answer");
                }
            }
            if past.is_none() {
                let looked = self.look_back(id).await?;
                if let Past::Known(view, source) = looked {
                    if view.summary.status.is_terminal() {
                        return Ok(Found::Known(view, source));
                    }
                    past = Some(Past::Known(view, source));
                } else {
                    past = Some(looked);
                }
            }
            if Instant::now() + ASK_AGAIN >= deadline {
                break false;
            }
            sleep(ASK_AGAIN).await;
        };
        // An owner that lets an execution go has published its history before: look after asking it.
        let past = match past {
            Some(past) if !owner_knows_nothing => past,
            _ => self.look_back(id).await?,
        };
        if let Past::Known(view, source) = past {
            return Ok(Found::Known(view, source));
        }
        if let Some(view) = self.accepted.get(id, Instant::now()) {
            return Ok(Found::Known(Box::new(view), Source::Live));
        }
        Ok(match past {
            Past::Unknown if owner_knows_nothing => Found::Unknown,
            Past::Unknown | Past::Known(..) => Found::OwnerAway,
            Past::Away => Found::PastAway,
        })
    }

    /// Looks for an execution in the past alone.
    ///
    /// # Errors
    /// Only when the database's answer cannot be used.
    pub(crate) async fn look_back(&self, id: ExecutionId) -> Result<Past, StoredError> {
        match self.stored.show(id).await {
            Ok(Some(view)) => return Ok(Past::Known(Box::new(view), Source::History)),
            Ok(None) => {}
            Err(StoredError::Away(error)) => {
                tracing::debug!(error = %chain(&error), "database is away");
                return Ok(Past::Away);
            }
            Err(error @ StoredError::Unusable(_)) => return Err(error),
        }
        Ok(match self.observed.show(id) {
            Some(view) => Past::Known(Box::new(view), Source::Stream),
            None => Past::Unknown,
        })
    }

    /// The executions that pass `filter`: live ones of every owner that answers, with the past.
    ///
    /// # Errors
    /// Only when the database's answer cannot be used.
    pub(crate) async fn list(&self, filter: &Filter) -> Result<Listing, StoredError> {
        let query = filter.query();
        let asked = self.broker.partitions().all().map(|partition| {
            let query = &query;
            async move { (partition, self.broker.ask(partition, query).await) }
        });
        let (answers, stored) = tokio::join!(join_all(asked), self.stored.list(filter));
        let mut incomplete = false;
        let mut live = Vec::new();
        for (partition, answer) in answers {
            match answer {
                Ok(Some(QueryReply::Executions {
                    executions, more, ..
                })) => live.push(Held {
                    partition,
                    executions,
                    more,
                }),
                _ => incomplete = true,
            }
        }
        let past = match stored {
            Ok(past) => past,
            Err(StoredError::Away(error)) => {
                tracing::debug!(error = %chain(&error), "database is away");
                incomplete = true;
                Vec::new()
            }
            Err(error @ StoredError::Unusable(_)) => return Err(error),
        };
        let (past, past_is_cut) = if self.stored.is_configured() {
            let past_is_cut = past.len() >= filter.limit;
            (past, past_is_cut)
        } else {
            (self.observed.list(filter), false)
        };
        let gathered = Gathered::new(live, past, past_is_cut, self.broker.partitions(), filter);
        // Postgres is not asked to count: that would cost more than the page. And a page that is not
        // the first one is not all there is.
        let countable = !self.stored.is_configured() && !incomplete && filter.before.is_none();
        let total = gathered.count(filter).filter(|_| countable);
        Ok(Listing {
            page: page(gathered, filter),
            total,
            incomplete,
        })
    }
}
