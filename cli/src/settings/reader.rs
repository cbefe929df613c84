//! Reads settings from a file and the environment, collecting every mistake.
//!
//! A setting is named by its section and key (`nats.url`). In a file that is a table and a key; in
//! the environment it is `AFU9_NATS__URL`. The environment wins. An empty value counts as missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

/// What variables of the environment begin with.
const PREFIX: &str = "AFU9_";

/// Every mistake that was found.
#[derive(Debug)]
pub(crate) struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} mistake(s)", self.0.len())?;
        for mistake in &self.0 {
            write!(f, "\n  - {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

#[derive(Debug)]
struct Found {
    value: String,
    /// Where it was found, as the operator would look for it.
    origin: String,
}

/// Settings that were found and not yet asked for.
#[derive(Debug)]
pub(crate) struct Reader {
    found: BTreeMap<String, Found>,
    known: BTreeSet<String>,
    mistakes: Vec<String>,
}

impl Reader {
    /// Reads `file`, then the variables in `environment`.
    pub(crate) fn new(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Self {
        let mut reader = Self {
            found: BTreeMap::new(),
            known: BTreeSet::new(),
            mistakes: Vec::new(),
        };
        if let Some(file) = file {
            reader.read_file(file);
        }
        for (name, value) in environment {
            // A name without two underscores is not a setting: it belongs to a tool around us.
            let Some(path) = name.strip_prefix(PREFIX).filter(|path| path.contains("__")) else {
                continue;
            };
            let path = path.to_ascii_lowercase().replace("__", ".");
            reader.add(path, value, name);
        }
        reader
    }

    fn read_file(&mut self, file: &Path) {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                self.mistakes.push(format!("{}: {error}", file.display()));
                return;
            }
        };
        match text.parse::<toml::Table>() {
            Ok(table) => self.read_table("", &table, file),
            Err(error) => self.mistakes.push(format!("{}: {error}", file.display())),
        }
    }

    fn read_table(&mut self, prefix: &str, table: &toml::Table, file: &Path) {
        for (key, value) in table {
            let path = if prefix.is_empty() {
                key.clone()
            } else {
                format!("{prefix}.{key}")
            };
            let origin = format!("{path} in {}", file.display());
            match value {
                toml::Value::Table(inner) => self.read_table(&path, inner, file),
                toml::Value::String(text) => self.add(path, text.clone(), origin),
                toml::Value::Array(items) => {
                    let texts: Vec<String> = items
                        .iter()
                        .map(|item| {
                            item.as_str()
                                .map_or_else(|| item.to_string(), str::to_owned)
                        })
                        .collect();
                    self.add(path, texts.join(","), origin);
                }
                other => self.add(path, other.to_string(), origin),
            }
        }
    }

    fn add(&mut self, path: String, value: String, origin: String) {
        if value.trim().is_empty() {
            self.found.remove(&path);
            self.known.insert(path);
            return;
        }
        self.found.insert(path, Found { value, origin });
    }

    fn take(&mut self, path: &str) -> Option<Found> {
        self.known.insert(path.to_owned());
        self.found.remove(path)
    }

    /// Adds a mistake that concerns several settings.
    pub(crate) fn mistake(&mut self, mistake: impl Into<String>) {
        self.mistakes.push(mistake.into());
    }

    pub(crate) fn text(&mut self, path: &str) -> Option<String> {
        self.take(path).map(|found| found.value)
    }

    pub(crate) fn secret(&mut self, path: &str) -> Option<SecretString> {
        self.text(path).map(SecretString::from)
    }

    pub(crate) fn file(&mut self, path: &str) -> Option<PathBuf> {
        self.text(path).map(PathBuf::from)
    }

    /// Reads the file that a setting names.
    pub(crate) fn content(&mut self, path: &str) -> Option<String> {
        let found = self.take(path)?;
        match std::fs::read_to_string(&found.value) {
            Ok(content) => Some(content),
            Err(error) => {
                self.mistakes
                    .push(format!("{}: {}: {error}", found.origin, found.value));
                None
            }
        }
    }

    /// A value that `parse` understands; `expected` says what that is. The value itself is not
    /// shown if it could be a secret.
    pub(crate) fn parsed<T>(
        &mut self,
        path: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let found = self.take(path)?;
        let parsed = parse(found.value.trim());
        if parsed.is_none() {
            self.mistakes.push(format!(
                "{}: `{}` is not {expected}",
                found.origin, found.value
            ));
        }
        parsed
    }

    pub(crate) fn number(&mut self, path: &str, min: u64, max: u64) -> Option<u64> {
        self.parsed(
            path,
            &format!("a whole number from {min} to {max}"),
            |text| {
                text.parse::<u64>()
                    .ok()
                    .filter(|number| (min..=max).contains(number))
            },
        )
    }

    pub(crate) fn millis(&mut self, path: &str, min: u64, max: u64) -> Option<Duration> {
        self.number(path, min, max).map(Duration::from_millis)
    }

    pub(crate) fn boolean(&mut self, path: &str) -> Option<bool> {
        self.parsed(path, "true or false", |text| text.parse().ok())
    }

    pub(crate) fn choice<T: Copy>(&mut self, path: &str, choices: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.parsed(path, &format!("one of {}", names.join(", ")), |text| {
            choices
                .iter()
                .find(|(name, _)| *name == text)
                .map(|(_, value)| *value)
        })
    }

    /// Texts separated by commas.
    pub(crate) fn list(&mut self, path: &str) -> Option<Vec<String>> {
        let text = self.text(path)?;
        Some(
            text.split(',')
                .map(str::trim)
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }

    /// Ends reading: whatever was given and never asked for is a mistake too.
    pub(crate) fn finish(mut self) -> Result<(), Mistakes> {
        for (path, found) in &self.found {
            let near = self
                .known
                .iter()
                .filter(|known| known.split('.').next() == path.split('.').next())
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ");
            let hint = if near.is_empty() {
                let sections: BTreeSet<&str> = self
                    .known
                    .iter()
                    .filter_map(|known| known.split('.').next())
                    .collect();
                format!(
                    "sections are {}",
                    sections.into_iter().collect::<Vec<_>>().join(", ")
                )
            } else {
                format!("known here: {near}")
            };
            self.mistakes.push(format!(
                "{}: there is no setting `{path}`; {hint}",
                found.origin
            ));
        }
        if self.mistakes.is_empty() {
            Ok(())
        } else {
            Err(Mistakes(self.mistakes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<Vec<_>>()
            .into_iter()
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let mut reader = Reader::new(
            None,
            environment(&[
                ("AFU9_NATS__REPLICAS", "2"),
                ("AFU9_NATS__ULR", "nats://a"),
                ("AFU9_WORKER__SLOTS", "many"),
                ("AFU9_CONFIG", "not a setting"),
                ("AFU9_NATS__URL", "  "),
                ("HOME", "/"),
            ]),
        );
        assert_eq!(reader.text("nats.url"), None, "an empty value is missing");
        assert_eq!(reader.choice("nats.replicas", &[("1", 1), ("3", 3)]), None);
        assert_eq!(reader.number("worker.slots", 1, 10), None);
        let mistakes = reader.finish().expect_err("three mistakes").0;
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
        assert!(
            mistakes
                .iter()
                .any(|m| m.contains("AFU9_NATS__ULR") && m.contains("nats.url"))
        );
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let file = std::env::temp_dir().join(format!("afu9-reader-{}.toml", std::process::id()));
        std::fs::write(&file, "[nats]\nurl = \"nats://file\"\nreplicas = 3\n").expect("written");
        let mut reader = Reader::new(
            Some(&file),
            environment(&[("AFU9_NATS__URL", "nats://environment")]),
        );
        std::fs::remove_file(&file).expect("removed");
        assert_eq!(
            reader.text("nats.url").as_deref(),
            Some("nats://environment")
        );
        assert_eq!(reader.number("nats.replicas", 1, 3), Some(3));
        reader.finish().expect("nothing is left");
    }
}
