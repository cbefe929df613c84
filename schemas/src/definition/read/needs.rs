//! `needs`: which steps a step begins after.

use std::collections::HashMap;

use serde_json::Value;

use super::Reader;

/// A step that another one needs, and where that is said.
struct Need {
    step: usize,
    path: String,
}

impl Reader<'_> {
    /// Reports needs that no step meets, and steps that need each other. Looks at the text itself,
    /// so that a mistake elsewhere in a step hides nothing.
    pub(super) fn check_needs(&mut self, steps: &[Value]) {
        let names: Vec<&str> = steps
            .iter()
            .map(|step| step.get("name").and_then(Value::as_str).unwrap_or(""))
            .collect();
        let mut by_name = HashMap::new();
        for (index, name) in names.iter().enumerate() {
            by_name.entry(*name).or_insert(index);
        }
        let mut needs: Vec<Vec<Need>> = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            let mut of_step = Vec::new();
            for (path, name) in needs_of(step, &format!("/steps/{index}/needs")) {
                match by_name.get(name) {
                    Some(&step) => of_step.push(Need { step, path }),
                    None => {
                        let hint = self.did_you_mean(name, &names);
                        self.mistake(&path, format!("there is no step `{name}` in `steps`{hint}"));
                    }
                }
            }
            needs.push(of_step);
        }
        for (path, cycle) in cycles(&needs) {
            let trail: Vec<&str> = cycle.iter().map(|step| names[*step]).collect();
            self.mistake(
                &path,
                format!(
                    "these steps wait for each other for ever: {} -> {}",
                    trail.join(" -> "),
                    trail[0]
                ),
            );
        }
    }
}

/// The texts of a step's `needs`, each with its path. What is no text is reported elsewhere.
fn needs_of<'v>(step: &'v Value, path: &str) -> Vec<(String, &'v str)> {
    match step.get("needs") {
        Some(Value::String(name)) => vec![(path.to_owned(), name)],
        Some(Value::Array(items)) => items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| Some((format!("{path}/{index}"), item.as_str()?)))
            .collect(),
        _ => Vec::new(),
    }
}

/// For each knot of steps that need each other one cycle, with the place that closes it.
fn cycles(needs: &[Vec<Need>]) -> Vec<(String, Vec<usize>)> {
    let mut search = Search {
        needs,
        marks: vec![Mark::New; needs.len()],
        trail: Vec::new(),
        reported: vec![false; needs.len()],
        found: Vec::new(),
    };
    for step in 0..needs.len() {
        search.visit(step);
    }
    search.found
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    OnTrail,
    Done,
}

struct Search<'a> {
    needs: &'a [Vec<Need>],
    marks: Vec<Mark>,
    /// From the step the search began at to the one it is at.
    trail: Vec<usize>,
    /// Steps of cycles that were found: a knot has many, and one of them is enough to untie it.
    reported: Vec<bool>,
    found: Vec<(String, Vec<usize>)>,
}

impl Search<'_> {
    /// Goes as deep as there are steps, which are bounded.
    fn visit(&mut self, step: usize) {
        if self.marks[step] != Mark::New {
            return;
        }
        self.marks[step] = Mark::OnTrail;
        self.trail.push(step);
        let needs = self.needs;
        for need in &needs[step] {
            match self.marks[need.step] {
                Mark::New => self.visit(need.step),
                Mark::OnTrail => self.close(need),
                Mark::Done => {}
            }
        }
        self.trail.pop();
        self.marks[step] = Mark::Done;
    }

    fn close(&mut self, need: &Need) {
        let start = self.trail.iter().position(|step| *step == need.step);
        let cycle = &self.trail[start.unwrap_or(0)..];
        if cycle.iter().any(|step| self.reported[*step]) {
            return;
        }
        for step in cycle {
            self.reported[*step] = true;
        }
        self.found.push((need.path.clone(), cycle.to_vec()));
    }
}
