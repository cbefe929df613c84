//! What `cargo metadata` knows about the packages, as far as our rules ask.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::cargo;

/// When a dependency is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Part of what is shipped, or needed to build it.
    Shipped,
    /// For tests only.
    Test,
}

/// A dependency as its manifest declares it.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) features: Vec<String>,
}

/// One package of the graph.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) licence: Option<String>,
    pub(super) declared: Vec<Declared>,
    pub(super) member: bool,
}

/// All packages that this platform needs, all features on.
#[derive(Debug)]
pub(super) struct Metadata {
    /// By package id.
    packages: BTreeMap<String, Package>,
    /// Resolved dependencies for shipping, by package id.
    shipped: BTreeMap<String, Vec<String>>,
}

impl Metadata {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let host = host()?;
        let mut command = cargo::command(&["metadata", "--format-version", "1", "--all-features"]);
        command
            .args(["--locked", "--offline", "--filter-platform", &host])
            .current_dir(root);
        let output = command.output().context("run cargo metadata")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            bail!("cargo metadata --locked --offline (run `cargo fetch --locked` first): {said}");
        }
        let value = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
        Ok(Self::parse(&value))
    }

    pub(super) fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }

    /// Names of the packages that end up in what `name` ships.
    pub(super) fn closure(&self, name: &str) -> BTreeSet<&str> {
        let starts = |(id, package): (&String, &Package)| {
            (package.member && package.name == name).then(|| id.clone())
        };
        let mut open: Vec<String> = self.packages.iter().filter_map(starts).collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id.clone()) {
                open.extend(self.shipped.get(&id).into_iter().flatten().cloned());
            }
        }
        let names = seen.iter().filter_map(|id| self.packages.get(id));
        names.map(|package| package.name.as_str()).collect()
    }

    fn parse(value: &Value) -> Self {
        let members: BTreeSet<&str> = strings(&value["workspace_members"]).collect();
        let mut nodes = BTreeMap::new();
        for node in array(&value["resolve"]["nodes"]) {
            let shipped = array(&node["deps"]).filter(|edge| {
                array(&edge["dep_kinds"]).any(|kind| kind["kind"].as_str() != Some("dev"))
            });
            let ids = shipped
                .filter_map(|edge| edge["pkg"].as_str())
                .map(str::to_owned)
                .collect();
            nodes.insert(text(&node["id"]), ids);
        }
        let mut packages = BTreeMap::new();
        for package in array(&value["packages"]) {
            let id = text(&package["id"]);
            // Without a node it is for another platform.
            if nodes.contains_key(&id) {
                let member = members.contains(id.as_str());
                packages.insert(id, read_package(package, member));
            }
        }
        Self {
            packages,
            shipped: nodes,
        }
    }
}

fn read_package(value: &Value, member: bool) -> Package {
    let declared = array(&value["dependencies"]).map(|dependency| Declared {
        name: text(&dependency["name"]),
        kind: match dependency["kind"].as_str() {
            Some("dev") => Kind::Test,
            _ => Kind::Shipped,
        },
        features: strings(&dependency["features"])
            .map(str::to_owned)
            .collect(),
    });
    Package {
        name: text(&value["name"]),
        version: text(&value["version"]),
        licence: value["license"].as_str().map(str::to_owned),
        declared: declared.collect(),
        member,
    }
}

/// The platform that the compiler runs on.
fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("run rustc -vV")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    array(value).filter_map(Value::as_str)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A package of a made-up graph: name, licence, dependencies with the features asked for.
#[cfg(test)]
pub(super) type Sketch<'a> = (&'a str, &'a str, &'a [(&'a str, &'a [&'a str])]);

#[cfg(test)]
impl Metadata {
    /// A graph of workspace members.
    pub(super) fn of(packages: &[Sketch<'_>]) -> Self {
        let mut metadata = Self {
            packages: BTreeMap::new(),
            shipped: BTreeMap::new(),
        };
        for (name, licence, dependencies) in packages {
            let declared = dependencies.iter().map(|(name, features)| Declared {
                name: (*name).to_owned(),
                kind: Kind::Shipped,
                features: features
                    .iter()
                    .map(|feature| (*feature).to_owned())
                    .collect(),
            });
            let package = Package {
                name: (*name).to_owned(),
                version: "1.0.0".to_owned(),
                licence: Some((*licence).to_owned()),
                declared: declared.collect(),
                member: true,
            };
            let shipped = dependencies
                .iter()
                .map(|(name, _)| (*name).to_owned())
                .collect();
            metadata.packages.insert((*name).to_owned(), package);
            metadata.shipped.insert((*name).to_owned(), shipped);
        }
        metadata
    }
}
