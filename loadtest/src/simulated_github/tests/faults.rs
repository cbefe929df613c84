//! Every kind of fault, as the client sees it.

use super::super::{Fault, FaultKind, FaultMatch, Moment};
use super::*;

const COMMENTS: &str = "/repos/octo/factory/issues/1/comments";

impl Github {
    /// Switches on a fault that strikes the next comment.
    fn strike(&self, kind: FaultKind) {
        self.handle()
            .add_fault(Fault::once("POST", "/comments", kind))
            .expect("a good fault");
    }

    async fn comment(&self) -> reqwest::Result<Answer> {
        let request = self
            .request(Method::POST, COMMENTS)
            .json(&json!({"body": "c"}));
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer {
            status,
            headers,
            text: response.text().await?,
        })
    }

    async fn comments(&self) -> usize {
        self.get(COMMENTS)
            .await
            .json()
            .as_array()
            .expect("a list")
            .len()
    }
}

#[tokio::test]
async fn a_connection_dropped_before_the_effect() {
    let github = Github::demo().await;
    github.strike(FaultKind::DropBeforeEffect);
    let error = github.comment().await.err().expect("no answer");
    assert!(error.status().is_none() && !error.is_timeout() && !error.is_body());
    assert_eq!((github.comments().await, github.kinds().len()), (0, 0));
    assert_eq!(github.handle().stats().connections_dropped, 1);
    assert!(github.comment().await.is_ok());
}

#[tokio::test]
async fn a_connection_dropped_after_the_effect() {
    let github = Github::demo().await;
    // The connection is in the client's pool when the fault strikes it.
    assert_eq!(github.comments().await, 0);
    github.strike(FaultKind::DropAfterEffect);
    let error = github.comment().await.err().expect("no answer");
    assert!(error.status().is_none() && !error.is_timeout() && !error.is_body());
    assert_eq!(github.comments().await, 1);
    assert!(github.comment().await.is_ok());
    let lost: Vec<bool> = github
        .handle()
        .effects()
        .iter()
        .map(|e| e.response_lost)
        .collect();
    assert_eq!(lost, [true, false]);
}

#[tokio::test]
async fn the_client_reads_not_one_byte_of_a_dropped_answer() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let github = Github::demo().await;
    github.strike(FaultKind::DropAfterEffect);
    let mut stream = tokio::net::TcpStream::connect(github.running.address)
        .await
        .expect("open");
    let request = format!(
        "POST {COMMENTS} HTTP/1.1\r\nhost: x\r\nuser-agent: t\r\n\
         authorization: token sim-token\r\ncontent-length: 12\r\n\r\n{{\"body\":\"c\"}}"
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut read = Vec::new();
    // The end of the stream or a reset: both are a closed connection.
    let _ = stream.read_to_end(&mut read).await;
    assert!(read.is_empty());
    assert_eq!(github.comments().await, 1);
}

#[tokio::test]
async fn error_answers_with_and_without_effect() {
    let github = Github::demo().await;
    let status = |moment| FaultKind::Status {
        status: 502,
        body: None,
        moment,
    };
    github.strike(status(Moment::BeforeEffect));
    assert_eq!(
        github.comment().await.expect("an answer").why(),
        (502, "Bad Gateway".to_owned())
    );
    assert_eq!(github.comments().await, 0);
    github.strike(status(Moment::AfterEffect));
    assert_eq!(github.comment().await.expect("an answer").status, 502);
    assert_eq!(github.comments().await, 1);
    assert!(github.handle().effects()[0].response_lost);
    let body = Some("<html>".to_owned());
    github.strike(FaultKind::Status {
        status: 503,
        body,
        moment: Moment::BeforeEffect,
    });
    assert_eq!(github.comment().await.expect("an answer").text, "<html>");
}

#[tokio::test]
async fn limits_that_are_simulated() {
    let github = Github::demo().await;
    github.strike(FaultKind::SecondaryLimit {
        retry_after_s: 7,
        status: 429,
    });
    let answer = github.comment().await.expect("an answer");
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (429, "7")
    );
    assert!(
        answer
            .why()
            .1
            .starts_with("You have exceeded a secondary rate limit")
    );
    github.strike(FaultKind::PrimaryLimit { reset_after_s: 60 });
    let answer = github.comment().await.expect("an answer");
    assert_eq!(
        (
            answer.status.as_u16(),
            answer.header("x-ratelimit-remaining")
        ),
        (403, "0")
    );
    assert!(
        answer
            .header("x-ratelimit-reset")
            .parse::<i64>()
            .expect("a number")
            > 0
    );
    assert_eq!(github.comments().await, 0);
}

#[tokio::test]
async fn slow_answers_are_complete() {
    let github = Github::demo().await;
    github.strike(FaultKind::Latency {
        ms: 20,
        jitter_ms: 5,
    });
    github.strike(FaultKind::SlowBody {
        chunk_bytes: 100,
        pause_ms: 1,
    });
    let begin = std::time::Instant::now();
    let answer = github.comment().await.expect("an answer");
    assert!(begin.elapsed() >= std::time::Duration::from_millis(20));
    assert_eq!(answer.json()["body"], "c");
}

#[tokio::test]
async fn faults_are_steered_by_http() {
    let github = Github::demo().await;
    let fault = json!({
        "match": {"path_prefix": "/repos/octo"},
        "kind": {"type": "status", "status": 500},
        "probability": 1.0,
        "count": 2,
    });
    let id = github.post("/_sim/faults", fault).await.json()["id"].clone();
    assert_eq!(github.get(REPO).await.status, 500);
    let listed = github.get("/_sim/faults").await.json();
    assert_eq!(
        (&listed[0]["count"], &listed[0]["hits"], &listed[0]["id"]),
        (&json!(1), &json!(1), &id)
    );
    let listed = github.handle().faults();
    let parsed: Vec<super::super::ActiveFault> =
        serde_json::from_value(json!(listed)).expect("what is written can be read");
    assert_eq!(parsed, listed);
    let delete = github.request(Method::DELETE, &format!("/_sim/faults/{id}"));
    assert_eq!(github.send(delete).await.status, 204);
    assert_eq!(github.get(REPO).await.status, 200);
    let bad = json!({"kind": {"type": "status", "status": 200}});
    assert_eq!(github.post("/_sim/faults", bad).await.status, 422);
    let always = Fault::always(FaultMatch::default(), FaultKind::DropBeforeEffect);
    github.handle().add_fault(always).expect("a good fault");
    assert!(github.request(Method::GET, "/zen").send().await.is_err());
    assert_eq!(
        github.get("/_sim/stats").await.json()["connections_dropped"],
        1
    );
    let delete = github.request(Method::DELETE, "/_sim/faults");
    assert_eq!(github.send(delete).await.status, 204);
    assert_eq!(github.get("/zen").await.status, 200);
}
