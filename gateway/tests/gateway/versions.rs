//! Earlier versions of a workflow, and what differs between two.

use serde_json::json;

use crate::controls::applied;
use crate::support::{ECHO, world};

#[tokio::test(flavor = "multi_thread")]
async fn every_version_is_listed_and_shown() {
    let world = world().await;
    let gateway = applied(&world, &[]).await;
    let version = |n: u32| ECHO.replace("${input}", &format!("v{n}"));
    for n in 1..=5 {
        assert_eq!(gateway.put("echo", &version(n)).await.body["version"], n);
    }
    let list = gateway.get("/api/workflows/echo/versions?limit=2").await;
    assert_eq!(
        (&list.body["total"], &list.body["nextBefore"]),
        (&json!(5), &json!(4)),
        "{list:?}"
    );
    let versions = list.body["versions"].as_array().expect("a list");
    let numbers: Vec<_> = versions.iter().map(|v| v["version"].clone()).collect();
    assert_eq!(numbers, [json!(5), json!(4)]);
    assert_eq!(
        (&versions[0]["newest"], &versions[1]["newest"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(versions[0]["appliedBy"], "admin");
    for member in ["hash", "appliedAt"] {
        assert!(versions[0][member].is_string(), "{member}");
    }
    let rest = gateway.get("/api/workflows/echo/versions?before=4").await;
    assert_eq!(rest.body["versions"].as_array().map(Vec::len), Some(3));
    assert_eq!(rest.body["nextBefore"], json!(null));
    let none = gateway.get("/api/workflows/echo/versions?before=1").await;
    assert_eq!(
        (&none.body["versions"], &none.body["nextBefore"]),
        (&json!([]), &json!(null))
    );

    let second = gateway.get("/api/workflows/echo/versions/2").await;
    assert_eq!(
        (&second.body["version"], &second.body["name"]),
        (&json!(2), &json!("echo"))
    );
    assert_eq!(
        second.body["definition"]["steps"][0]["params"]["value"],
        "v2"
    );
    let newest = gateway.get("/api/workflows/echo/versions/latest").await;
    assert_eq!(newest.body["version"], 5);
    let unknown = gateway.get("/api/workflows/echo/versions/6").await;
    unknown.expect_problem(404, "version.unknown", "STATE");
    let unknown = gateway.get("/api/workflows/other/versions").await;
    unknown.expect_problem(404, "workflow.unknown", "STATE");
    for bad in [
        "versions/0",
        "versions/x",
        "versions?limit=101",
        "versions?before=x",
        "versions?x=1",
    ] {
        let refused = gateway.get(&format!("/api/workflows/echo/{bad}")).await;
        refused.expect_problem(400, "request.malformed", "POLICY");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_between_two_versions_is_told() {
    let world = world().await;
    let gateway = applied(&world, &[("echo", ECHO)]).await;
    let alone = gateway.get("/api/workflows/echo/diff").await;
    assert_eq!(
        (&alone.body["identical"], &alone.body["changes"]),
        (&json!(true), &json!([]))
    );
    let more = ECHO.replace("${input}", "x") + "  - { name: more, tool: test.noop }\n";
    gateway.put("echo", &more).await;
    let diff = gateway.get("/api/workflows/echo/diff").await;
    assert_eq!(diff.status, 200, "{diff:?}");
    assert_eq!(
        (&diff.body["from"]["version"], &diff.body["to"]["version"]),
        (&json!(1), &json!(2))
    );
    let expected = json!([
        {
            "op": "changed", "path": "/steps/0/params/value", "step": "say",
            "old": "${input}", "new": "x",
        },
        {
            "op": "added", "path": "/steps/1", "step": "more",
            "new": {"name": "more", "tool": "test.noop"},
        },
    ]);
    assert_eq!(diff.body["changes"], expected);
    assert_eq!(diff.body["steps"]["added"], json!(["more"]));
    let back = gateway
        .get("/api/workflows/echo/diff?from=latest&to=1")
        .await;
    assert_eq!(back.body["steps"]["removed"], json!(["more"]));
    let unknown = gateway.get("/api/workflows/echo/diff?from=1&to=7").await;
    unknown.expect_problem(404, "version.unknown", "STATE");
    let odd = gateway.get("/api/workflows/echo/diff?from=one").await;
    odd.expect_problem(400, "request.malformed", "POLICY");
    gateway.stop().await;
}
