//! Which crate may depend on which. The tables are the rules; ARCHITECTURE.md gives the reasons.

use super::metadata::{Declared, Kind, Metadata, Package};

/// Every dependency of one of our crates on another that is allowed in what is shipped.
const EDGES: [(&str, &[&str]); 12] = [
    ("afu9-schemas", &[]),
    ("afu9-engine", &["afu9-schemas"]),
    ("afu9-broker", &["afu9-schemas"]),
    (
        "afu9-orchestrator",
        &["afu9-schemas", "afu9-engine", "afu9-broker"],
    ),
    ("afu9-workers", &["afu9-schemas", "afu9-broker"]),
    ("afu9-history", &["afu9-schemas", "afu9-broker"]),
    // The engine, because definitions and routing filters are validated where they come in.
    (
        "afu9-gateway",
        &["afu9-schemas", "afu9-engine", "afu9-broker", "afu9-history"],
    ),
    (
        "afu9",
        &[
            "afu9-schemas",
            "afu9-engine",
            "afu9-broker",
            "afu9-orchestrator",
            "afu9-workers",
            "afu9-history",
            "afu9-gateway",
        ],
    ),
    ("afu9-benches", &["afu9-schemas", "afu9-engine"]),
    ("afu9-loadtest", &["afu9-schemas", "afu9-servers"]),
    ("afu9-servers", &[]),
    ("xtask", &["afu9-servers"]),
];

/// In tests, every crate may use these besides.
const TEST_EDGES: [&str; 2] = ["afu9-servers", "afu9-loadtest"];

/// Crates that only the named ones of ours may depend on.
const OWNED: [(&str, &[&str]); 9] = [
    ("async-nats", &["afu9-broker"]),
    ("sqlx", &["afu9-history"]),
    ("axum", &["afu9-gateway", "afu9-loadtest"]),
    ("rmcp", &["afu9-gateway"]),
    ("octocrab", &["afu9-workers"]),
    ("cel", &["afu9-engine"]),
    ("croner", &["afu9-engine"]),
    ("chrono-tz", &["afu9-engine"]),
    ("testcontainers", &["afu9-servers"]),
];

/// The engine is pure: nothing it is built from can wait, talk or look at a clock.
const ENGINE: &str = "afu9-engine";
const IMPURE_ANYWHERE: [&str; 7] = [
    "tokio",
    "async-nats",
    "sqlx",
    "axum",
    "hyper",
    "reqwest",
    "mio",
];
const IMPURE_DIRECT: [&str; 7] = [
    "rand",
    "getrandom",
    "fastrand",
    "uuid",
    "futures",
    "tokio-util",
    "tracing-subscriber",
];
const IMPURE_FEATURES: [(&str, &str); 2] = [("chrono", "clock"), ("chrono", "now")];

/// Crates that must not be in Cargo.lock, and why.
const BANNED: [(&str, &str); 6] = [
    ("backoff", "unmaintained (RUSTSEC-2025-0012); use backon"),
    (
        "instant",
        "unmaintained (RUSTSEC-2024-0384); use std::time::Instant",
    ),
    (
        "serde_yaml",
        "unmaintained; definitions are read with saphyr-parser",
    ),
    (
        "openssl",
        "TLS is rustls with ring, so that the binary links nothing of the system",
    ),
    (
        "openssl-sys",
        "TLS is rustls with ring, so that the binary links nothing of the system",
    ),
    (
        "native-tls",
        "TLS is rustls with ring, so that the binary links nothing of the system",
    ),
];

/// Every broken rule, as a sentence.
pub(super) fn check(metadata: &Metadata) -> Vec<String> {
    let mut findings = Vec::new();
    for package in metadata.packages().filter(|package| package.member) {
        edges(package, &mut findings);
        owned(package, &mut findings);
    }
    engine(metadata, &mut findings);
    findings
}

/// Every banned crate in the text of Cargo.lock.
pub(super) fn banned(lock: &str) -> Vec<String> {
    let listed = |name: &str| {
        lock.lines()
            .any(|line| line == format!("name = \"{name}\""))
    };
    let found = BANNED.iter().filter(|(name, _)| listed(name));
    found
        .map(|(name, reason)| format!("Cargo.lock: `{name}` is banned: {reason}"))
        .collect()
}

fn edges(package: &Package, findings: &mut Vec<String>) {
    let name = package.name.as_str();
    let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
        findings.push(format!(
            "{name}: has no row in the table of allowed dependencies"
        ));
        return;
    };
    for dependency in &package.declared {
        let target = dependency.name.as_str();
        let ours = EDGES.iter().any(|(known, _)| *known == target);
        let in_tests = dependency.kind == Kind::Test && TEST_EDGES.contains(&target);
        if ours && !allowed.contains(&target) && !in_tests {
            findings.push(format!("{name}: must not depend on {target}"));
        }
    }
}

fn owned(package: &Package, findings: &mut Vec<String>) {
    for Declared { name, kind, .. } in &package.declared {
        let Some((_, owners)) = OWNED.iter().find(|(known, _)| known == name) else {
            continue;
        };
        if *kind == Kind::Shipped && !owners.contains(&package.name.as_str()) {
            let owners = owners.join(" and ");
            findings.push(format!(
                "{}: only {owners} may depend on {name}",
                package.name
            ));
        }
    }
}

fn engine(metadata: &Metadata, findings: &mut Vec<String>) {
    let closure = metadata.closure(ENGINE);
    for name in IMPURE_ANYWHERE
        .iter()
        .filter(|name| closure.contains(*name))
    {
        findings.push(format!("{ENGINE}: {name} is among what it is built from"));
    }
    for package in metadata
        .packages()
        .filter(|package| package.member && package.name == ENGINE)
    {
        for Declared {
            name,
            kind,
            features,
        } in &package.declared
        {
            if *kind == Kind::Shipped && IMPURE_DIRECT.contains(&name.as_str()) {
                findings.push(format!("{ENGINE}: must not depend on {name}"));
            }
            for (impure, feature) in IMPURE_FEATURES {
                if *kind == Kind::Shipped && name == impure && features.iter().any(|f| f == feature)
                {
                    findings.push(format!("{ENGINE}: must not ask for {name}'s `{feature}`"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_its_breach() {
        let metadata = Metadata::of(&[
            ("afu9-schemas", "MIT", &[("mio", &[])]),
            ("mio", "MIT", &[]),
            (
                "afu9-engine",
                "MIT",
                &[("afu9-schemas", &[]), ("rand", &[]), ("chrono", &["clock"])],
            ),
            (
                "afu9-workers",
                "MIT",
                &[("afu9-orchestrator", &[]), ("sqlx", &[])],
            ),
            (
                "afu9-broker",
                "MIT",
                &[("async-nats", &[]), ("afu9-schemas", &[])],
            ),
        ]);
        let findings = check(&metadata);
        let expected = [
            "afu9-workers: must not depend on afu9-orchestrator",
            "afu9-workers: only afu9-history may depend on sqlx",
            "mio: has no row in the table of allowed dependencies",
            "afu9-engine: mio is among what it is built from",
            "afu9-engine: must not depend on rand",
            "afu9-engine: must not ask for chrono's `clock`",
        ];
        assert_eq!(findings, expected);
    }

    #[test]
    fn banned_crates_are_found_by_their_whole_name() {
        assert!(banned("name = \"instant-distance\"\n").is_empty());
        assert_eq!(banned("name = \"instant\"\nname = \"backoff\"\n").len(), 2);
    }
}
