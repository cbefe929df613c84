//! A page of the docs: its examples and its other definitions.

use afu9_engine::workflow::{Compiled, compile};
use afu9_schemas::definition::ReadOptions;
use anyhow::{Context, Result, bail, ensure};

use super::expectation::Runs;

/// What a page holds.
pub(super) struct Page {
    pub(super) examples: Vec<Example>,
    /// Definitions that are only shown.
    pub(super) others: Vec<Block>,
}

/// Definitions, and what they are to do.
pub(super) struct Example {
    /// File and line.
    pub(super) place: String,
    pub(super) definitions: Vec<Block>,
    pub(super) runs: Runs,
}

/// A fenced block.
#[derive(Clone)]
pub(super) struct Block {
    /// File and line.
    pub(super) place: String,
    pub(super) text: String,
}

impl Block {
    pub(super) fn compiled(&self) -> Result<Compiled> {
        compile(&self.text, ReadOptions::default())
            .map_err(|mistakes| anyhow::anyhow!("{}: {mistakes:#?}", self.place))
    }
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// When an example has no expectation, or an expectation no example.
    pub(super) fn read(name: &str, text: &str) -> Result<Self> {
        let mut page = Self {
            examples: Vec::new(),
            others: Vec::new(),
        };
        let mut open: Vec<Block> = Vec::new();
        let mut lines = text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            let place = format!("{name}:{number}");
            if line.starts_with('#') {
                complete(&open)?;
            }
            let Some(info) = line.trim_start().strip_prefix("```") else {
                continue;
            };
            let mut block = Block {
                place: place.clone(),
                text: String::new(),
            };
            loop {
                let (line, _) = lines
                    .next()
                    .with_context(|| format!("{place}: never closed"))?;
                if line.trim() == "```" {
                    break;
                }
                block.text.push_str(line);
                block.text.push('\n');
            }
            match info.split_whitespace().collect::<Vec<_>>()[..] {
                ["yaml", "run"] => open.push(block),
                ["yaml"] => page.others.push(block),
                ["json", "expect"] => {
                    ensure!(
                        !open.is_empty(),
                        "{place}: there is no definition to expect it of"
                    );
                    let runs = Runs::read(&block.text).with_context(|| place.clone())?;
                    page.examples.push(Example {
                        place: open[0].place.clone(),
                        definitions: std::mem::take(&mut open),
                        runs,
                    });
                }
                ["yaml" | "json", _, ..] => bail!("{place}: what is `{info}`?"),
                _ => {}
            }
        }
        complete(&open)?;
        Ok(page)
    }
}

fn complete(open: &[Block]) -> Result<()> {
    match open.first() {
        Some(block) => bail!("{}: what is expected of it?", block.place),
        None => Ok(()),
    }
}

#[test]
fn an_example_without_an_expectation_is_a_mistake() {
    let definition = "```yaml run\nname: a\nsteps: [{ name: b, tool: test.noop }]\n```\n";
    let expectation = "```json expect\n{ \"status\": \"completed\" }\n```\n";
    assert!(Page::read("p", definition).is_err());
    assert!(Page::read("p", &format!("{definition}\n# Next\n{expectation}")).is_err());
    assert!(Page::read("p", expectation).is_err());
    assert!(
        Page::read(
            "p",
            &format!("{definition}{}", definition.replace("run", "ran"))
        )
        .is_err()
    );
    let page = Page::read("p", &format!("{definition}Why.\n\n{expectation}")).expect("whole");
    assert_eq!(page.examples.len(), 1);
}
