//! One labelled issue becomes one pull request.

use std::time::Duration;

use afu9_loadtest::simulated_github::Delivery;
use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::harness::Factory;
use crate::harness::database::Storage;
use crate::harness::definition::ISSUE_TO_PR;
use crate::harness::github::{REPOSITORY, assert_one_of_each, labeled};
use crate::harness::wait;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_labeled_issue_becomes_one_pull_request() -> Result<()> {
    let mut factory = Factory::start(Storage::Kept, 1).await?;
    let api = factory.api.clone();
    api.apply("issue_to_pr", ISSUE_TO_PR).await?;
    let github = factory.github.handle.clone();

    let delivery = labeled(&api, 1);
    let first = github.deliver(&delivery).await?;
    assert_eq!(first.status, 202, "{}", first.body);
    let again = Delivery {
        delivery_id: Some(first.delivery_id.clone()),
        ..delivery
    };
    let second = github.deliver(&again).await?;
    assert_eq!(second.status, 202, "{}", second.body);
    let is_duplicate = |body: &str| -> Result<Value> {
        Ok(serde_json::from_str::<Value>(body)?["duplicate"].clone())
    };
    assert_eq!(
        (is_duplicate(&first.body)?, is_duplicate(&second.body)?),
        (false.into(), true.into())
    );

    let ids = wait::until("the execution", PATIENCE, async || {
        let ids = api.executions_of("issue_to_pr").await?;
        Ok((!ids.is_empty()).then_some(ids))
    });
    let ids = ids.await?;
    api.wait_until_completed(&ids, PATIENCE).await?;
    assert_eq!(
        api.executions_of("issue_to_pr").await?,
        ids,
        "one delivery, one execution"
    );
    assert_one_of_each(&github, 1..=1)?;
    let plan = file(&factory, "plans/issue-1.md", "afu9/issue-1").await?;
    assert!(plan.starts_with("# Button 1 does nothing\n"), "{plan}");

    let shown = api.get(&format!("/api/executions/{}", ids[0])).await?.json;
    assert_eq!(shown["execution"]["repository"], REPOSITORY);
    assert_eq!(shown["execution"]["input"]["issue_number"], 1);
    let steps = shown["steps"].as_array().context("steps")?;
    let names: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["name"].as_str())
        .collect();
    let expected = [
        "fetch_issue",
        "create_branch",
        "commit_plan",
        "create_pull_request",
        "comment_on_issue",
    ];
    assert_eq!(names, expected);
    for step in steps {
        assert_eq!(
            (&step["status"], &step["retryCount"]),
            (&"completed".into(), &0.into()),
            "{step}"
        );
        let attempts = step["attempts"].as_array().context("attempts")?;
        assert_eq!(attempts.len(), 1, "{step}");
        assert!(
            attempts[0]["worker"]
                .as_str()
                .is_some_and(|w| w.starts_with("github-")),
            "{step}"
        );
        assert!(
            attempts[0]["error"].is_null() && step["output"].is_object(),
            "{step}"
        );
    }

    let database = factory.database();
    for (rows, count) in [
        ("workflow_executions WHERE status = 'completed'", 1),
        ("workflow_executions", 1),
        ("workflow_steps WHERE status = 'completed'", 5),
        ("workflow_steps", 5),
        ("mcp_tool_calls WHERE server_name = 'github'", 5),
        ("repositories WHERE full_name = 'octo/factory'", 1),
        ("workflows WHERE name = 'issue_to_pr'", 1),
    ] {
        database.wait_for_count(rows, count, PATIENCE).await?;
    }
    wait::until("the worker's own checks to arrive", PATIENCE, async || {
        let ready = api.get("/api/ready").await?;
        Ok((ready.json["checks"]["mcp-github"]["status"] == "ok").then_some(()))
    })
    .await?;
    factory.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_badly_signed_webhook_changes_nothing() -> Result<()> {
    let factory = Factory::start(Storage::Kept, 2).await?;
    let api = factory.api.clone();
    api.apply("issue_to_pr", ISSUE_TO_PR).await?;
    let github = factory.github.handle.clone();
    let counter = |result: &str| format!("afu9_gateway_webhooks_total{{result=\"{result}\"}}");

    let forged = Delivery {
        secret: "guessed".to_owned(),
        ..labeled(&api, 1)
    };
    let refused = github.deliver(&forged).await?;
    assert_eq!(refused.status, 401, "{}", refused.body);
    assert_eq!(api.metric(&counter("bad_signature")).await?, 1);
    assert_eq!(api.metric(&counter("accepted")).await?, 0);

    // The same delivery, well signed, is new: nothing of the forged one was kept. Once it and a
    // later one are through, whatever the forged one could have started would have been seen.
    let true_one = Delivery {
        delivery_id: Some(refused.delivery_id),
        ..labeled(&api, 1)
    };
    let accepted = github.deliver(&true_one).await?;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    let body: Value = serde_json::from_str(&accepted.body)?;
    assert_eq!(body["duplicate"], false);
    let other = github.deliver(&labeled(&api, 2)).await?;
    assert_eq!(other.status, 202, "{}", other.body);
    let ids = wait::until("both executions", PATIENCE, async || {
        let ids = api.executions_of("issue_to_pr").await?;
        Ok((ids.len() >= 2).then_some(ids))
    });
    let ids = ids.await?;
    api.wait_until_completed(&ids, PATIENCE).await?;
    assert_eq!(api.executions_of("issue_to_pr").await?.len(), 2);
    assert_one_of_each(&github, 1..=2)?;
    assert_eq!(api.metric(&counter("bad_signature")).await?, 1);
    assert_eq!(api.metric(&counter("accepted")).await?, 2);
    factory.finish()
}

/// The text of a file on a branch, as GitHub shows it.
async fn file(factory: &Factory, path: &str, branch: &str) -> Result<String> {
    let url = format!(
        "{}/repos/{REPOSITORY}/contents/{path}",
        factory.github.base_url
    );
    let request = reqwest::Client::builder()
        .no_proxy()
        .user_agent("e2e")
        .build()?
        .get(url);
    let request = request.query(&[("ref", branch)]).bearer_auth("sim-token");
    let response = request
        .header("accept", "application/vnd.github.raw+json")
        .send()
        .await?;
    Ok(response.error_for_status()?.text().await?)
}
