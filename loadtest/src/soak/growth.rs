//! Whether something grows: its slope, and its ends compared. Pure.

use std::time::Duration;

/// What may differ between the beginning and the end of what is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tolerance {
    /// Of the value at the beginning.
    pub(super) share: f64,
    /// And so much besides.
    pub(super) more: f64,
}

/// How something went.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Growth {
    /// The middle value of the first fifth of the samples.
    pub(super) from: f64,
    /// The middle value of their last fifth.
    pub(super) to: f64,
    /// By the line that fits all samples best.
    pub(super) slope_per_hour: f64,
    /// What `to` may be at most.
    pub(super) bound: f64,
}

impl Growth {
    /// Of values at their times. Middle values, because a single sample may meet a peak.
    pub(super) fn of(values: &[(Duration, f64)], tolerance: Tolerance) -> Self {
        let fifth = (values.len() / 5).max(1).min(values.len());
        let from = middle(&values[..fifth]);
        let to = middle(&values[values.len() - fifth..]);
        Self {
            from,
            to,
            slope_per_hour: slope_per_second(values) * 3600.0,
            bound: from * (1.0 + tolerance.share) + tolerance.more,
        }
    }

    /// Whether it grew more than it may.
    pub(super) fn is_beyond(&self) -> bool {
        self.to > self.bound
    }
}

fn middle(values: &[(Duration, f64)]) -> f64 {
    let mut sorted: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// Least squares.
fn slope_per_second(values: &[(Duration, f64)]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean_at = values.iter().map(|(at, _)| at.as_secs_f64()).sum::<f64>() / count;
    let mean = values.iter().map(|(_, value)| value).sum::<f64>() / count;
    let (mut above, mut below) = (0.0, 0.0);
    for (at, value) in values {
        let apart = at.as_secs_f64() - mean_at;
        above += apart * (value - mean);
        below += apart * apart;
    }
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Tolerance = Tolerance {
        share: 0.1,
        more: 5.0,
    };

    fn line(per_sample: f64) -> Vec<(Duration, f64)> {
        (0..20)
            .map(|number| {
                (
                    Duration::from_secs(number * 10),
                    100.0 + per_sample * number as f64,
                )
            })
            .collect()
    }

    #[test]
    fn what_stays_level_is_within() {
        let mut values = line(0.0);
        values[19].1 = 1000.0;
        let growth = Growth::of(&values, TOLERANCE);
        assert!(!growth.is_beyond(), "one peak is no growth: {growth:?}");
        assert_eq!((growth.from, growth.to), (100.0, 100.0));
    }

    #[test]
    fn what_grows_is_beyond() {
        let growth = Growth::of(&line(1.0), TOLERANCE);
        assert!(growth.is_beyond(), "{growth:?}");
        assert!((growth.slope_per_hour - 360.0).abs() < 0.001, "{growth:?}");
        assert!(!Growth::of(&line(-1.0), TOLERANCE).is_beyond());
    }
}
