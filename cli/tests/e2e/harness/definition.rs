//! Definitions that several tests use.

/// The workflow that ships with AFU-9: five steps, four with an effect.
pub(crate) const ISSUE_TO_PR: &str = include_str!("../../../../schemas/workflows/issue_to_pr.yaml");

/// Five steps without effect.
pub(crate) const NOOP_5: &str = include_str!("../../../../schemas/workflows/noop_5.yaml");

/// Steps of [`ISSUE_TO_PR`].
pub(crate) const STEPS: u64 = 5;

/// [`ISSUE_TO_PR`] with as many attempts as there can be, soon after one another: for a GitHub that
/// fails far more often than the real one.
pub(crate) fn stubborn_issue_to_pr() -> String {
    let mut text = String::new();
    for line in ISSUE_TO_PR.lines() {
        text.push_str(line);
        text.push('\n');
        if line.trim_start().starts_with("tool: ") {
            text.push_str("    retry: { maxAttempts: 10, backoff: fixed, initialDelayMs: 100 }\n");
        }
    }
    text
}
