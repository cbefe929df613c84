//! Objects, references, contents, comparisons.

use super::*;

#[tokio::test]
async fn equal_input_has_equal_ids_and_they_are_those_of_git() {
    let github = Github::demo().await;
    let blobs = format!("{REPO}/git/blobs");
    let empty = github
        .post(&blobs, json!({"content": "", "encoding": "utf-8"}))
        .await
        .json();
    assert_eq!(empty["sha"], "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    let text = github
        .post(
            &blobs,
            json!({"content": "aGVs\nbG8K\n", "encoding": "base64"}),
        )
        .await;
    assert_eq!(
        text.json()["sha"],
        "ce013625030ba8dba906f756967f9e9ca394464a"
    );

    let main = github.tip("main").await;
    let first = github.commit(&main, "a/b.txt", "x").await;
    let second = github.commit(&main, "a/b.txt", "x").await;
    assert_eq!(first, second);
    let repeated: Vec<bool> = github
        .handle()
        .effects()
        .into_iter()
        .filter(|effect| effect.kind == EffectKind::CreateCommit)
        .map(|effect| effect.repeated)
        .collect();
    assert_eq!(repeated, [false, true]);
}

#[tokio::test]
async fn a_commit_has_the_id_that_git_gives_it() {
    let github = Github::demo().await;
    let tree = github
        .post(
            &format!("{REPO}/git/trees"),
            json!({"tree": [{"path": "hello", "mode": "100644", "type": "blob", "content": "hello\n"}]}),
        )
        .await
        .json();
    // printf 'hello\n' > hello; git add hello; git write-tree
    assert_eq!(tree["sha"], "b4d01e9b0c4a9356736dfddf8830ba9a54f5271c");
    let person = json!({"name": "A", "email": "a@b", "date": "2026-01-01T01:00:00+01:00"});
    let body = json!({"message": "m\n", "tree": tree["sha"], "author": person, "parents": []});
    let commit = github
        .post(&format!("{REPO}/git/commits"), body)
        .await
        .json();
    assert_eq!(commit["sha"], COMMIT_OF_GIT);
    assert_eq!(commit["author"]["date"], "2026-01-01T00:00:00Z");
}

/// `git commit-tree b4d01e9b… -m m` with author and committer `A <a@b> 1767225600 +0100`.
const COMMIT_OF_GIT: &str = "44b8eb3b40b79ea3ae3399d79ade2e5e7074f9e6";

#[tokio::test]
async fn references_follow_the_rules() {
    let github = Github::demo().await;
    let refs = format!("{REPO}/git/refs");
    let main = github.tip("main").await;
    let name = |name: &str, sha: &str| json!({"ref": name, "sha": sha});
    let why = |status: u16, message: &str| (status, message.to_owned());

    let created = github
        .post(&refs, name("refs/heads/feature/x", &main))
        .await;
    assert_eq!(
        (created.status.as_u16(), &created.json()["object"]["sha"]),
        (201, &json!(main))
    );
    let again = github
        .post(&refs, name("refs/heads/feature/x", &main))
        .await;
    assert_eq!(again.why(), why(422, "Reference already exists"));
    let unknown = github
        .post(&refs, name("refs/heads/y", &"0".repeat(40)))
        .await;
    assert_eq!(unknown.why(), why(422, "Object does not exist"));
    assert_eq!(github.post(&refs, name("heads/y", &main)).await.status, 422);
    assert_eq!(
        github
            .post(&refs, name("refs/heads/a..b", &main))
            .await
            .status,
        422
    );
    assert_eq!(
        github
            .post(&refs, name("refs/heads/feature", &main))
            .await
            .status,
        422
    );
    assert_eq!(
        github
            .post(&refs, json!({"ref": "refs/heads/y"}))
            .await
            .why()
            .1,
        "Invalid request.\n\n\"sha\" wasn't supplied."
    );

    assert_eq!(
        github
            .get(&format!("{REPO}/git/ref/heads/none"))
            .await
            .status,
        404
    );
    assert_eq!(
        github
            .get(&format!("{REPO}/git/ref/heads/feature%2Fx"))
            .await
            .status,
        200
    );
    assert_eq!(
        github
            .get(&format!("{REPO}/branches/feature/x"))
            .await
            .json()["name"],
        "feature/x"
    );
    let matching = github
        .get(&format!("{REPO}/git/matching-refs/heads/fea"))
        .await
        .json();
    assert_eq!(matching[0]["ref"], "refs/heads/feature/x");

    let left = github.commit(&main, "l", "l").await;
    let right = github.commit(&main, "r", "r").await;
    let path = format!("{refs}/heads/feature/x");
    let update = |sha: &str, force: bool| {
        github.with_body(Method::PATCH, &path, json!({"sha": sha, "force": force}))
    };
    assert_eq!(update(&left, false).await.status, 200);
    assert_eq!(
        update(&right, false).await.why(),
        why(422, "Update is not a fast forward")
    );
    assert_eq!(update(&right, true).await.status, 200);
    let absent = format!("{refs}/heads/none");
    let answer = github
        .with_body(Method::PATCH, &absent, json!({"sha": left}))
        .await;
    assert_eq!(answer.why(), why(422, "Reference does not exist"));

    assert_eq!(
        github
            .send(github.request(Method::DELETE, &path))
            .await
            .status,
        204
    );
    let answer = github.send(github.request(Method::DELETE, &path)).await;
    assert_eq!(answer.why(), why(422, "Reference does not exist"));
}

#[tokio::test]
async fn trees_are_edited_and_listed() {
    let github = Github::demo().await;
    let tree = github
        .get(&format!("{REPO}/git/trees/main?recursive=1"))
        .await
        .json();
    let paths: Vec<&str> = tree["tree"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|e| e["path"].as_str())
        .collect();
    assert_eq!(paths, ["README.md", "src", "src/lib.rs"]);

    let trees = format!("{REPO}/git/trees");
    let remove = json!({"path": "src/lib.rs", "mode": "100644", "type": "blob", "sha": null});
    let body = json!({"base_tree": tree["sha"], "tree": [remove]});
    let less = github.post(&trees, body).await.json();
    assert_eq!(less["tree"].as_array().map(Vec::len), Some(1));
    let both = json!({"path": "a", "mode": "100644", "sha": "x", "content": "y"});
    assert_eq!(
        github.post(&trees, json!({"tree": [both]})).await.status,
        422
    );
    let unknown = json!({"path": "a", "mode": "100644", "sha": "0".repeat(40)});
    assert_eq!(
        github.post(&trees, json!({"tree": [unknown]})).await.status,
        422
    );
}

#[tokio::test]
async fn contents_are_read_and_written() {
    let github = Github::demo().await;
    let path = format!("{REPO}/contents/src/lib.rs");
    let file = github.get(&path).await.json();
    assert_eq!(
        (&file["encoding"], &file["type"]),
        (&json!("base64"), &json!("file"))
    );
    let raw = github
        .request(Method::GET, &path)
        .header("accept", "application/vnd.github.raw+json");
    assert!(github.send(raw).await.text.contains("may_log_in"));
    assert_eq!(
        github.get(&format!("{REPO}/contents/src")).await.json()[0]["path"],
        "src/lib.rs"
    );
    assert_eq!(
        github.get(&format!("{REPO}/contents")).await.json()[0]["path"],
        "README.md"
    );
    assert_eq!(
        github.get(&format!("{REPO}/contents/none")).await.status,
        404
    );
    assert_eq!(github.get(&format!("{path}?ref=none")).await.status, 404);

    let put = |sha: Value| {
        let body = json!({"message": "m", "content": "eA==", "sha": sha, "branch": "main"});
        github.with_body(Method::PUT, &path, body)
    };
    assert_eq!(put(Value::Null).await.status, 422);
    assert_eq!(put(json!("0".repeat(40))).await.status, 409);
    let written = put(file["sha"].clone()).await;
    assert_eq!(written.status, 200);
    assert_eq!(written.json()["commit"]["sha"], github.tip("main").await);
    assert_eq!(github.get(&path).await.json()["content"], "eA==\n");
}

#[tokio::test]
async fn comparisons_and_logs() {
    let github = Github::demo().await;
    github.branch("x", "x.txt", "x\n").await;
    let compare = async |range: &str| github.get(&format!("{REPO}/compare/{range}")).await.json();
    assert_eq!(compare("main...main").await["status"], "identical");
    let ahead = compare("main...octo:x").await;
    assert_eq!(
        (&ahead["status"], &ahead["ahead_by"]),
        (&json!("ahead"), &json!(1))
    );
    assert_eq!(ahead["files"][0]["patch"], "@@ -0,0 +1 @@\n+x");
    assert_eq!(compare("x...main").await["status"], "behind");
    github
        .handle()
        .push("octo/factory", "main", &[("m", "m")], "other")
        .expect("a push");
    assert_eq!(compare("main...x").await["status"], "diverged");

    let log = github
        .get(&format!("{REPO}/commits?sha=x&per_page=1"))
        .await;
    assert_eq!(log.json()[0]["commit"]["message"], "change x.txt");
    assert!(log.header("link").contains("page=2>; rel=\"next\""));
    let one = github.get(&format!("{REPO}/commits/x")).await.json();
    assert_eq!(
        (&one["files"][0]["filename"], &one["stats"]["total"]),
        (&json!("x.txt"), &json!(1))
    );
    assert_eq!(
        github.get(&format!("{REPO}/commits/none")).await.status,
        422
    );
}
