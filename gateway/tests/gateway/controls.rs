//! Wishes about one execution: what comes of them is answered, once, and is on record.

use afu9_schemas::ExecutionId;
use afu9_schemas::message::{ControlAction, InputKind};
use afu9_schemas::view::ExecutionStatus;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Running, World, answer, config, eventually, world};

/// Waits for a signal, and could be anything else.
pub(crate) const GATE: &str = "name: gate\nsteps:\n  - { name: hold, waitFor: go }\n";

/// Two steps that workers run.
pub(crate) const WORK: &str = "name: work\nsteps:\n  - { name: a, tool: test.noop }\n  \
                               - { name: b, tool: test.echo, params: { value: \"${steps.a.output}\" } }\n";

impl Running {
    /// Starts a workflow that is applied.
    pub(crate) async fn start(&self, name: &str) -> ExecutionId {
        let path = format!("/api/workflows/{name}/trigger");
        let accepted = self.post(&path, &json!({})).await;
        let id = accepted.body["executionId"].as_str();
        id.unwrap_or_else(|| panic!("{accepted:?}"))
            .parse()
            .expect("an id")
    }

    /// Expresses a wish with the token that may do everything.
    pub(crate) async fn wish(&self, id: ExecutionId, what: &str, body: &Value) -> Answer {
        self.post(&format!("/api/executions/{id}/{what}"), body)
            .await
    }

    pub(crate) async fn show(&self, id: ExecutionId) -> Value {
        let shown = self.get(&format!("/api/executions/{id}")).await;
        assert_eq!(shown.status, 200, "{shown:?}");
        shown.body
    }

    pub(crate) async fn reaches(&self, id: ExecutionId, status: ExecutionStatus) {
        eventually(status.as_str(), async || {
            self.show(id).await["execution"]["status"] == status.as_str()
        })
        .await;
    }
}

impl Answer {
    /// Checks that a wish came to this.
    pub(crate) fn expect_outcome(&self, outcome: &str) {
        let status = if outcome == "pending" { 202 } else { 200 };
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.body["outcome"], outcome, "{self:?}");
        assert!(self.body["request"].is_string(), "{self:?}");
    }
}

pub(crate) async fn applied(world: &World, definitions: &[(&str, &str)]) -> Running {
    let gateway = world.gateway(config()).await;
    for (name, definition) in definitions {
        let put = gateway.put(name, definition).await;
        assert!(put.status.is_success(), "{put:?}");
    }
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_is_paused_resumed_and_cancelled() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE)]).await;
    let id = gateway.start("gate").await;
    let paused = gateway
        .wish(id, "pause", &json!({"reason": "lunch", "pausedBy": "ada"}))
        .await;
    paused.expect_outcome("applied");
    assert_eq!(paused.body["action"], "pause");
    assert_eq!(paused.body["executionId"], json!(id));
    gateway
        .wish(id, "pause", &json!({}))
        .await
        .expect_outcome("unchanged");
    let execution = gateway.show(id).await["execution"].clone();
    assert_eq!(execution["status"], "paused");
    assert_eq!(
        execution["paused"]["by"], "admin",
        "the token, not a name in the body"
    );
    assert_eq!(execution["paused"]["reason"], "lunch");

    let resumed = gateway
        .wish(id, "resume", &json!({"resumedBy": "ada"}))
        .await;
    resumed.expect_outcome("applied");
    let refused = gateway.wish(id, "resume", &json!({})).await;
    refused.expect_problem(409, "execution.not_paused", "STATE");

    let cancel = async || {
        gateway
            .wish(id, "cancel", &json!({"reason": "enough"}))
            .await
    };
    cancel().await.expect_outcome("applied");
    gateway.reaches(id, ExecutionStatus::Cancelled).await;
    cancel().await.expect_outcome("unchanged");
    let refused = gateway.wish(id, "pause", &json!({})).await;
    refused.expect_problem(409, "execution.ended", "STATE");
    assert_eq!(refused.body["executionStatus"], "cancelled");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_cannot_be_wished_for() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[]).await;
    for what in ["cancel", "pause", "resume", "retry"] {
        let unknown = gateway.wish(ExecutionId::new(), what, &json!({})).await;
        unknown.expect_problem(404, "execution.unknown", "STATE");
        let refused = gateway
            .wish(ExecutionId::new(), what, &json!({"x": 1}))
            .await;
        refused.expect_problem(400, "request.malformed", "POLICY");
    }
    let long = "x".repeat(4097);
    let refused = gateway
        .wish(ExecutionId::new(), "cancel", &json!({"reason": long}))
        .await;
    refused.expect_problem(400, "request.malformed", "POLICY");
    for id in ["x", "00000000-0000-0000-0000-000000000000"] {
        let path = format!("/api/executions/{id}/cancel");
        let unknown = gateway.post(&path, &json!({})).await;
        unknown.expect_problem(404, "execution.unknown", "STATE");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_wish() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE)]).await;
    let id = gateway.start("gate").await;
    let keyed = async |what: &str, key: &str| {
        let path = format!("/api/executions/{id}/{what}");
        let call = gateway.admin(Method::POST, &path);
        answer(call.header("Idempotency-Key", key)).await
    };
    let first = keyed("pause", "k").await;
    first.expect_outcome("applied");
    keyed("resume", "k").await.expect_outcome("applied");
    let again = keyed("pause", "k").await;
    again.expect_outcome("unchanged");
    assert_eq!(again.body["request"], first.body["request"]);
    let running = gateway.show(id).await;
    assert_eq!(
        running["execution"]["status"], "running",
        "not paused again"
    );
    keyed("pause", "l").await.expect_outcome("applied");
    let odd = keyed("pause", "a b").await;
    odd.expect_problem(400, "request.malformed", "POLICY");
    gateway.stop().await;
}

/// What the same key said before must not hide that something else is wanted now.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_with_another_content_is_a_mistake() {
    let world = world().await;
    let owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE), ("work", WORK)]).await;
    let id = gateway.start("gate").await;
    let keyed = async |path: &str, body: &Value| {
        let call = gateway.admin(Method::POST, path);
        answer(call.header("Idempotency-Key", "k").json(body)).await
    };
    let signal = format!("/api/executions/{id}/signal/other");
    keyed(&signal, &json!({"a": 1, "b": 2}))
        .await
        .expect_outcome("applied");
    let again = keyed(&signal, &json!({"b": 2, "a": 1})).await;
    again.expect_outcome("unchanged");
    let other = keyed(&signal, &json!({"a": 2})).await;
    other.expect_problem(422, "idempotency.conflict", "STATE");
    assert_eq!(gateway.show(id).await["execution"]["signals"], 1);

    let pause = format!("/api/executions/{id}/pause");
    keyed(&pause, &json!({"reason": "lunch"}))
        .await
        .expect_outcome("applied");
    let again = keyed(&pause, &json!({"reason": "a long lunch"})).await;
    again.expect_outcome("unchanged");

    // The newest version is another one later, and the wish is the same.
    let moves = format!("/api/executions/{id}/move");
    let latest = json!({"version": "latest"});
    keyed(&moves, &latest).await.expect_outcome("unchanged");
    let newer = GATE.replace("waitFor: go", "waitFor: go, timeoutMs: 5000");
    assert_eq!(gateway.put("gate", &newer).await.body["version"], 2);
    keyed(&moves, &latest).await.expect_outcome("unchanged");
    let other = keyed(&moves, &json!({"version": 2})).await;
    other.expect_problem(422, "idempotency.conflict", "STATE");

    let hold = json!({"scope": {"workflow": "gate"}});
    keyed("/api/holds", &hold).await.expect_outcome("applied");
    let other = keyed("/api/holds", &json!({"scope": "all"})).await;
    other.expect_problem(422, "idempotency.conflict", "STATE");
    // Another path is another wish.
    for name in ["work", "gate"] {
        let paused = keyed(&format!("/api/workflows/{name}/pause"), &json!({})).await;
        paused.expect_outcome(if name == "work" {
            "applied"
        } else {
            "unchanged"
        });
    }
    let bulk = |payload: u32| {
        json!({
            "action": "signal", "filter": {"workflow": "gate"},
            "signal": {"name": "other", "payload": payload},
        })
    };
    let told = keyed("/api/executions/bulk", &bulk(1)).await;
    assert_eq!(told.body["applied"], 1, "{told:?}");
    let told = keyed("/api/executions/bulk", &bulk(2)).await;
    assert_eq!(
        told.body["failures"][0]["code"], "idempotency.conflict",
        "{told:?}"
    );

    // What was refused stays so, and says what to do.
    let work = gateway.start("work").await;
    gateway.reaches(work, ExecutionStatus::Running).await;
    let resume = format!("/api/executions/{work}/resume");
    let refused = keyed(&resume, &json!({})).await;
    refused.expect_problem(409, "execution.not_paused", "STATE");
    let again = keyed(&resume, &json!({})).await;
    again.expect_problem(409, "control.repeated", "STATE");
    let next = again.body["nextAction"].as_str().unwrap_or_default();
    assert!(next.contains("Idempotency-Key"), "{again:?}");
    owner.end().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_nobody_answers_is_stored_and_carried_out_later() {
    let world = world().await;
    let owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE)]).await;
    let id = gateway.start("gate").await;
    gateway.reaches(id, ExecutionStatus::Running).await;
    owner.end().await;
    let pending = gateway.wish(id, "pause", &json!({"reason": "wait"})).await;
    pending.expect_outcome("pending");
    let stored = world.inputs().await.into_iter().any(|input| {
        input.execution == id
            && matches!(&input.kind, InputKind::Control(control)
                if control.action == ControlAction::Pause && control.by == "admin")
    });
    assert!(stored);
    let _next = world.folding().await;
    gateway.reaches(id, ExecutionStatus::Paused).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reaches_the_step_that_waits_for_it() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE)]).await;
    let id = gateway.start("gate").await;
    let early = gateway.wish(id, "signals/other", &json!([1])).await;
    early.expect_outcome("applied");
    assert_eq!(gateway.show(id).await["execution"]["signals"], 1, "kept");
    let path = format!("/api/executions/{id}/signal/go");
    let broken = answer(gateway.admin(Method::POST, &path).body("{")).await;
    broken.expect_problem(400, "request.malformed", "POLICY");
    let large = format!("\"{}\"", "x".repeat(256 * 1024));
    let refused = answer(gateway.admin(Method::POST, &path).body(large)).await;
    refused.expect_problem(413, "request.too_large", "POLICY");

    let told = answer(gateway.admin(Method::POST, &path).body("{\"ok\": true}")).await;
    told.expect_outcome("applied");
    gateway.reaches(id, ExecutionStatus::Completed).await;
    let step = &gateway.show(id).await["steps"][0];
    assert_eq!(
        (&step["action"], &step["output"]),
        (&json!("wait_for"), &json!({"ok": true}))
    );
    let late = answer(gateway.admin(Method::POST, &path)).await;
    late.expect_problem(409, "execution.ended", "STATE");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_failed_is_retried() {
    let world = world().await;
    let owner = world.folding().await;
    let gateway = applied(&world, &[("work", WORK)]).await;
    let id = gateway.start("work").await;
    gateway.reaches(id, ExecutionStatus::Running).await;
    let early = gateway.wish(id, "retry", &json!({})).await;
    early.expect_problem(409, "execution.not_failed", "STATE");
    owner.fails(id, 0).await;
    gateway.reaches(id, ExecutionStatus::Failed).await;
    let other = gateway.wish(id, "retry", &json!({"step": "b"})).await;
    other.expect_problem(409, "retry.not_failed", "STATE");
    let odd = gateway.wish(id, "retry", &json!({"params": [1]})).await;
    odd.expect_problem(409, "retry.params", "STATE");
    let body = json!({"step": "a", "params": {}, "reason": "mended"});
    gateway
        .wish(id, "retry", &body)
        .await
        .expect_outcome("applied");
    gateway.reaches(id, ExecutionStatus::Running).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wish_is_in_the_audit_log() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE)]).await;
    let id = gateway.start("gate").await;
    gateway.wish(id, "pause", &json!({"reason": "a"})).await;
    gateway.wish(id, "pause", &json!({})).await;
    gateway.wish(id, "retry", &json!({})).await;
    let path = format!("/api/audit?execution={id}");
    eventually("history is read", async || {
        let entries = gateway.get(&path).await;
        entries.body["entries"].as_array().map(Vec::len) == Some(3)
    })
    .await;
    let entries = gateway.get(&path).await.body["entries"].clone();
    let told: Vec<_> = entries
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| (entry["action"].clone(), entry["outcome"].clone()))
        .collect();
    let expected = [
        ("retry", "refused"),
        ("pause", "unchanged"),
        ("pause", "applied"),
    ]
    .map(|(action, outcome)| (json!(action), json!(outcome)));
    assert_eq!(told, expected);
    assert_eq!(entries[0]["refusal"]["code"], "execution.not_failed");
    let first = &entries[2];
    assert_eq!(
        (&first["by"], &first["reason"]),
        (&json!("admin"), &json!("a"))
    );
    assert_eq!(first["scopes"], json!(["admin"]));
    assert_eq!(first["executionId"], json!(id));

    let page = gateway.get(&format!("{path}&limit=2")).await;
    let after = page.body["nextAfter"].as_str().expect("there is more");
    let next = gateway.get(&format!("{path}&limit=2&after={after}")).await;
    assert_eq!(next.body["entries"], json!([first]));
    assert_eq!(next.body["nextAfter"], json!(null));
    let one = gateway.get("/api/audit?action=retry").await;
    assert_eq!(one.body["entries"].as_array().map(Vec::len), Some(1));
    let applied = "/api/audit?action=apply&by=admin&outcome=applied&from=2000-01-01T00:00:00Z";
    let applied = gateway.get(applied).await.body["entries"].clone();
    assert_eq!(applied[0]["details"]["to"]["name"], "gate", "{applied}");
    assert_eq!(applied[0]["scopes"], json!(["admin"]));
    // That it is the newest version already changes nothing.
    assert_eq!(gateway.put("gate", GATE).await.status, 200);
    let count = async |query: &str| {
        let found = gateway.get(&format!("/api/audit?{query}")).await;
        found.body["entries"].as_array().map(Vec::len)
    };
    assert_eq!(count("action=apply").await, Some(1));
    assert_eq!(count("outcome=refused").await, Some(1));
    assert_eq!(count("by=nobody").await, Some(0));
    assert_eq!(count("to=2000-01-01T00:00:00Z").await, Some(0));
    for bad in [
        "action=odd",
        "after=x",
        "limit=0",
        "execution=x",
        "no=1",
        "outcome=odd",
        "from=noon",
        "to=1",
    ] {
        let refused = gateway.get(&format!("/api/audit?{bad}")).await;
        refused.expect_problem(400, "request.malformed", "POLICY");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_goes_on_with_another_version() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE)]).await;
    let id = gateway.start("gate").await;
    let longer = format!("{GATE}  - {{ name: more, waitFor: more }}\n");
    gateway.put("gate", &longer).await;
    let moved = gateway
        .wish(id, "move", &json!({"version": "latest"}))
        .await;
    moved.expect_outcome("applied");
    let shown = gateway.show(id).await;
    assert_eq!(shown["execution"]["version"], 2);
    assert_eq!(shown["steps"].as_array().map(Vec::len), Some(2));
    let again = gateway.wish(id, "move", &json!({"version": 2})).await;
    again.expect_outcome("unchanged");
    let unknown = gateway.wish(id, "move", &json!({"version": 9})).await;
    unknown.expect_problem(404, "version.unknown", "STATE");
    gateway.put("gate", &GATE.replace("hold", "other")).await;
    let misfit = gateway.wish(id, "move", &json!({"version": 3})).await;
    misfit.expect_problem(409, "version.misfit", "STATE");
    for bad in [json!({}), json!({"version": 0}), json!({"version": "new"})] {
        let refused = gateway.wish(id, "move", &bad).await;
        refused.expect_problem(400, "request.malformed", "POLICY");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_as_it_happens() {
    let world = world().await;
    let _owner = world.folding().await;
    let gateway = applied(&world, &[("gate", GATE)]).await;
    let kinds = "execution_started,status_changed,controlled";
    let call = gateway.admin(Method::GET, &format!("/api/events?kinds={kinds}"));
    let mut events = call.send().await.expect("answered");
    let mut text = String::new();
    let mut read_until = async |wanted: &str| {
        while !text.contains(wanted) {
            let chunk = events.chunk().await.expect("read").expect("goes on");
            text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
        text.clone()
    };
    read_until(": ready").await;
    let id = gateway.start("gate").await;
    let other = gateway.start("gate").await;
    gateway.reaches(other, ExecutionStatus::Running).await;
    let call = gateway.admin(Method::GET, &format!("/api/executions/{id}/events"));
    let mut of_one = call.send().await.expect("answered");
    gateway.wish(other, "cancel", &json!({})).await;
    gateway.wish(id, "pause", &json!({"reason": "lunch"})).await;
    let text = read_until("\"action\":\"pause\"").await;
    assert!(text.contains("event: execution_started"), "{text}");
    assert!(text.contains("event: status_changed"), "{text}");
    let mut told = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let last: Value = serde_json::from_str(told.next_back().expect("data")).expect("JSON");
    for (member, value) in [
        ("executionId", json!(id)),
        ("action", json!("pause")),
        ("by", json!("admin")),
        ("reason", json!("lunch")),
        ("outcome", json!("applied")),
    ] {
        assert_eq!(last[member], value, "{last}");
    }
    let mut text = String::new();
    while !text.contains("event: controlled") {
        let chunk = of_one.chunk().await.expect("read").expect("goes on");
        text.push_str(std::str::from_utf8(&chunk).expect("text"));
    }
    assert!(text.contains(&id.to_string()), "{text}");
    assert!(!text.contains(&other.to_string()), "{text}");
    let path = format!("/api/executions/{}/events", ExecutionId::new());
    let unknown = gateway.get(&path).await;
    unknown.expect_problem(404, "execution.unknown", "STATE");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_has_a_priority_within_bounds() {
    let world = world().await;
    let gateway = applied(
        &world,
        &[
            ("work", WORK),
            (
                "eager",
                &format!("{}priority: 7\n", WORK.replace("work", "eager")),
            ),
        ],
    )
    .await;
    let trigger = async |name: &str, body: Value| {
        gateway
            .post(&format!("/api/workflows/{name}/trigger"), &body)
            .await
    };
    assert_eq!(trigger("work", json!({"priority": -100})).await.status, 202);
    assert_eq!(trigger("eager", json!({})).await.status, 202);
    assert_eq!(trigger("eager", json!({"priority": 3})).await.status, 202);
    for bad in [json!(101), json!(i32::MIN), json!("high")] {
        let refused = trigger("work", json!({"priority": bad})).await;
        refused.expect_problem(400, "request.malformed", "POLICY");
    }
    let mut priorities: Vec<(String, i32)> = world
        .starts()
        .await
        .into_iter()
        .map(|(_, start)| (start.workflow.name, start.priority))
        .collect();
    priorities.sort();
    let expected = [("eager", 3), ("eager", 7), ("work", -100)]
        .map(|(name, priority)| (name.to_owned(), priority));
    assert_eq!(priorities, expected);
    gateway.stop().await;
}
