//! SQL through `psql`, for set-up and for looking: product code uses the history crate instead.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Control characters that no value of ours contains, and that need no quoting.
const FIELD: char = '\u{1f}';
const RECORD: char = '\u{1e}';

/// How long `psql` may wait for a connection.
const CONNECT_TIMEOUT_SECONDS: &str = "10";

/// A `psql` and the database it speaks to.
#[derive(Debug, Clone)]
pub struct Client {
    psql: PathBuf,
    url: String,
}

/// The answer to a query, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows; NULL is the empty text.
    pub rows: Vec<Vec<String>>,
}

impl Client {
    /// A client of the database at `url`; `bin_dir` is the folder that holds `psql`.
    #[must_use]
    pub fn new(bin_dir: &Path, url: impl Into<String>) -> Self {
        Self {
            psql: bin_dir.join("psql"),
            url: url.into(),
        }
    }

    /// Runs one statement and returns its rows.
    ///
    /// # Errors
    /// With what `psql` says when the database cannot be reached or refuses the statement.
    pub fn query(&self, statement: &str) -> Result<Rows> {
        let output = Command::new(&self.psql)
            .args(["--no-psqlrc", "--quiet", "--no-password", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1", "--pset", "footer=off"])
            .arg(format!("--field-separator={FIELD}"))
            .arg(format!("--record-separator={RECORD}"))
            .arg(format!("--command={statement}"))
            .arg(&self.url)
            .env("PGCONNECT_TIMEOUT", CONNECT_TIMEOUT_SECONDS)
            .env("PGCLIENTENCODING", "UTF8")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run {}", self.psql.display()))?;
        if !output.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let text = String::from_utf8(output.stdout).context("psql answered other than UTF-8")?;
        Ok(parse(&text))
    }
}

fn parse(text: &str) -> Rows {
    let text = text.strip_suffix('\n').unwrap_or(text);
    if text.is_empty() {
        return Rows::default();
    }
    let mut records = text
        .split(RECORD)
        .map(|record| record.split(FIELD).map(str::to_owned));
    let columns = records.next().map(Iterator::collect).unwrap_or_default();
    Rows {
        columns,
        rows: records.map(Iterator::collect).collect(),
    }
}

/// `url` with its database replaced.
///
/// # Errors
/// When `url` has no `postgres://host/` form.
pub fn with_database(url: &str, database: &str) -> Result<String> {
    let (scheme, rest) = url
        .split_once("://")
        .context("a database URL starts with postgres://")?;
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, format!("?{query}")),
        None => (rest, String::new()),
    };
    let host = rest.split('/').next().unwrap_or(rest);
    Ok(format!("{scheme}://{host}/{database}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_a_url_is_replaced() {
        let replace = |url| with_database(url, "b").ok();
        assert_eq!(
            replace("postgres://u:p@h:1/a?sslmode=disable").as_deref(),
            Some("postgres://u:p@h:1/b?sslmode=disable")
        );
        assert_eq!(replace("postgres://h").as_deref(), Some("postgres://h/b"));
        assert_eq!(replace("h/a"), None);
    }

    #[test]
    fn rows_are_split_at_their_separators() {
        let rows = parse("id\u{1f}name\u{1e}1\u{1f}a b\u{1e}2\u{1f}\n");
        assert_eq!(rows.columns, ["id", "name"]);
        assert_eq!(rows.rows, [["1", "a b"], ["2", ""]]);
        assert_eq!(parse(""), Rows::default());
    }
}
