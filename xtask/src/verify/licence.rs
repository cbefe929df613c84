//! Whether every package may be shipped, by its SPDX expression.

use super::metadata::Metadata;

/// Licences that ask for no more than a notice. The same list is in deny.toml.
const ALLOWED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

/// Every package whose licence is not allowed, as a sentence.
pub(super) fn check(metadata: &Metadata) -> Vec<String> {
    let mut findings = Vec::new();
    for package in metadata.packages() {
        let name = format!("{} {}", package.name, package.version);
        match &package.licence {
            None => findings.push(format!("{name}: names no licence")),
            Some(expression) if !allowed(expression) => {
                findings.push(format!("{name}: licence `{expression}` is not on the list"));
            }
            Some(_) => {}
        }
    }
    findings
}

/// Evaluates an SPDX expression: `AND` binds closer than `OR`; an older spelling of `OR` is `/`.
fn allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    alternatives(&mut rest) == Some(true) && rest.is_empty()
}

fn alternatives(rest: &mut &[&str]) -> Option<bool> {
    let mut any = conjunction(rest)?;
    while let Some(after) = rest.strip_prefix(&["OR"]) {
        *rest = after;
        any |= conjunction(rest)?;
    }
    Some(any)
}

fn conjunction(rest: &mut &[&str]) -> Option<bool> {
    let mut all = term(rest)?;
    while let Some(after) = rest.strip_prefix(&["AND"]) {
        *rest = after;
        all &= term(rest)?;
    }
    Some(all)
}

fn term(rest: &mut &[&str]) -> Option<bool> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    if *first == "(" {
        let inner = alternatives(rest)?;
        *rest = rest.strip_prefix(&[")"])?;
        return Some(inner);
    }
    if let Some(after) = rest.strip_prefix(&["WITH"]) {
        let (exception, after) = after.split_first()?;
        *rest = after;
        return Some(ALLOWED.contains(&format!("{first} WITH {exception}").as_str()));
    }
    Some(ALLOWED.contains(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_evaluated() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-2.0 OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        ] {
            assert!(allowed(good), "{good}");
        }
        for bad in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT",
            "MIT Apache-2.0",
            "MIT OR",
        ] {
            assert!(!allowed(bad), "{bad}");
        }
    }
}
