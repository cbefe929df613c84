//! What the readiness contract asks of the GitHub worker: does GitHub answer, and does it accept
//! the credential.

use std::time::{Duration, Instant};

use afu9_schemas::ErrorClass;
use afu9_schemas::message::{DependencyCheck, DependencyStatus};

use super::Github;
use super::client::Response;
use crate::ToolError;

/// A check that takes longer has failed: those who ask for readiness wait for it.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// An answer that takes longer is a warning.
const SLOW_AFTER: Duration = Duration::from_secs(2);

impl Github {
    /// The checks `github_api` and `authentication`, within three seconds. One request answers
    /// both, and it does not count against GitHub's rate limit.
    ///
    /// A refusal shows that GitHub answers: it fails `authentication` alone. A rate limit fails
    /// neither: it says nothing against the credential.
    pub async fn check(&self) -> Vec<DependencyCheck> {
        let begin = Instant::now();
        let probed = match tokio::time::timeout(CHECK_TIMEOUT, Box::pin(self.probe())).await {
            Ok(probed) => probed,
            Err(_) => Err(ToolError::retryable(
                "github.network",
                format!("GitHub did not answer within {} s", CHECK_TIMEOUT.as_secs()),
            )),
        };
        let took = begin.elapsed();
        let (api, authentication) = match probed {
            Err(error) => (Err(error.clone()), Err(error)),
            Ok(response) => (answers(&response), accepts(&response)),
        };
        vec![
            report("github_api", took, api),
            report("authentication", took, authentication),
        ]
    }

    async fn probe(&self) -> Result<Response, ToolError> {
        let (transport, authentication) = (self.client.transport(), self.client.authentication());
        let (request, header) = authentication.probe()?;
        transport
            .exchange(&request, &header, authentication.configuration_key())
            .await
    }
}

fn answers(response: &Response) -> Result<(), ToolError> {
    if response.status().is_server_error() {
        Err(response.error())
    } else {
        Ok(())
    }
}

fn accepts(response: &Response) -> Result<(), ToolError> {
    match response.accepted() {
        Err(error) if error.error.class == ErrorClass::RateLimited => Ok(()),
        result => result,
    }
}

fn report(name: &str, took: Duration, result: Result<(), ToolError>) -> DependencyCheck {
    let (status, message) = match result {
        Err(error) => (DependencyStatus::Error, Some(error.error.message)),
        Ok(()) if took > SLOW_AFTER => (
            DependencyStatus::Warning,
            Some(format!("it took {} ms to answer", took.as_millis())),
        ),
        Ok(()) => (DependencyStatus::Ok, None),
    };
    DependencyCheck {
        name: name.to_owned(),
        status,
        message,
        latency_ms: Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_is_a_warning_and_a_refusal_an_error() {
        let fast = Duration::from_millis(1999);
        let slow = Duration::from_millis(2001);
        let refused = || Err(ToolError::permanent("github.unauthorized", "no"));
        assert_eq!(report("x", fast, Ok(())).status, DependencyStatus::Ok);
        assert_eq!(report("x", slow, Ok(())).status, DependencyStatus::Warning);
        assert_eq!(report("x", fast, refused()).status, DependencyStatus::Error);
        assert_eq!(report("x", slow, refused()).latency_ms, Some(2001));
    }
}
