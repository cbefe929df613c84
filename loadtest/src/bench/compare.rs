//! Two programs side by side: the middle of their runs, and whether their difference is more than
//! that between runs of one.

use std::fmt;

use serde_json::{Map, Value, json};

use super::measurement::{Measurement, round};

/// The runs of both programs, by mode.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    pub(super) modes: Vec<(&'static str, Sides)>,
}

/// The runs of both programs in one mode.
#[derive(Debug, Clone, Default)]
pub struct Sides {
    this: Vec<Measurement>,
    other: Vec<Measurement>,
}

/// One figure of one program.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figure {
    median: f64,
    least: f64,
    most: f64,
}

impl Figure {
    /// `None` of no values.
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self {
            median: f64::midpoint(low, high),
            least,
            most,
        })
    }

    /// What lies between its runs, as a share of the median.
    fn spread(self) -> f64 {
        (self.most - self.least) / self.median.abs().max(f64::EPSILON)
    }
}

/// One figure of both.
#[derive(Debug, Clone, Copy)]
struct Row {
    name: &'static str,
    this: Figure,
    other: Figure,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.this.median / self.other.median.abs().max(f64::EPSILON)
    }

    /// Every run of one program is on the same side of every run of the other.
    fn is_apart(&self) -> bool {
        self.this.least > self.other.most || self.this.most < self.other.least
    }
}

impl Sides {
    pub(super) fn add(&mut self, is_this: bool, measured: Measurement) {
        if is_this {
            self.this.push(measured);
        } else {
            self.other.push(measured);
        }
    }

    fn rows(&self) -> Vec<Row> {
        let first = self.this.first().map(Measurement::values);
        let names = first.unwrap_or_default().iter().map(|(name, _)| *name);
        let of = |side: &[Measurement], name: &str| {
            let values = side.iter().flat_map(Measurement::values);
            let values = values.filter(|(known, _)| *known == name);
            Figure::of(values.map(|(_, value)| *value).collect())
        };
        names
            .filter_map(|name| {
                Some(Row {
                    name,
                    this: of(&self.this, name)?,
                    other: of(&self.other, name)?,
                })
            })
            .collect()
    }
}

impl Comparison {
    /// As one JSON object with an entry for each mode.
    pub fn to_json(&self) -> Value {
        let modes = self.modes.iter().map(|(mode, sides)| {
            let rows = sides.rows().into_iter().map(|row| {
                let shown = json!({
                    "this": round(row.this.median), "other": round(row.other.median),
                    "ratio": round(row.ratio()), "apart": row.is_apart(),
                    "this_spread": round(row.this.spread()),
                    "other_spread": round(row.other.spread()),
                });
                (row.name.to_owned(), shown)
            });
            let mut shown: Map<String, Value> = rows.collect();
            shown.insert("rounds".to_owned(), sides.this.len().into());
            ((*mode).to_owned(), Value::Object(shown))
        });
        Value::Object(modes.collect())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (mode, sides) in &self.modes {
            writeln!(
                f,
                "{mode}, medians of {} runs each; spread is largest minus smallest",
                sides.this.len()
            )?;
            writeln!(
                f,
                "  {:<22} {:>12} {:>8} {:>12} {:>8} {:>7}",
                "", "this", "spread", "other", "spread", "ratio"
            )?;
            for row in sides.rows() {
                let apart = if row.is_apart() {
                    ""
                } else {
                    "  within the spread"
                };
                writeln!(
                    f,
                    "  {:<22} {:>12.2} {:>6.1} % {:>12.2} {:>6.1} % {:>7.3}{apart}",
                    row.name,
                    row.this.median,
                    row.this.spread() * 100.0,
                    row.other.median,
                    row.other.spread() * 100.0,
                    row.ratio()
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(speed: f64, p99: f64) -> Measurement {
        let mut measured = Measurement::default();
        measured.set("steps_per_s", speed);
        measured.set("idle_p99_ms", p99);
        measured
    }

    #[test]
    fn medians_are_compared_and_what_is_within_the_spread_is_said() {
        let mut sides = Sides::default();
        for (speed, p99) in [(110.0, 2.0), (130.0, 4.0), (120.0, 3.0)] {
            sides.add(true, measured(speed, p99));
        }
        for (speed, p99) in [(100.0, 3.0), (90.0, 5.0)] {
            sides.add(false, measured(speed, p99));
        }
        let comparison = Comparison {
            modes: vec![("fast", sides)],
        };
        let json = comparison.to_json();
        let speed = json!({
            "this": 120.0, "other": 95.0, "ratio": 1.263, "apart": true,
            "this_spread": 0.167, "other_spread": 0.105,
        });
        assert_eq!(json["fast"]["steps_per_s"], speed);
        assert_eq!(json["fast"]["idle_p99_ms"]["apart"], false);
        assert!(comparison.to_string().contains("within the spread"));
    }
}
