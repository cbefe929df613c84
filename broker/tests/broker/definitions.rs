//! Definitions and idempotency keys: whoever comes second learns what the first one did.

use std::collections::BTreeSet;
use std::time::Duration;

use afu9_broker::config::Limits;
use afu9_broker::kv::{Applied, Claim, DefinitionStore};
use afu9_broker::{Broker, Config};
use afu9_schemas::{ExecutionId, Timestamp, codec};
use anyhow::Result;
use serde_json::{Value, json};

use crate::world::{World, until};

const NAME: &str = "release";

fn definition(content: usize) -> Value {
    json!({ "name": NAME, "steps": [{ "name": "a", "tool": "test.noop", "params": { "n": content } }] })
}

async fn apply(store: &DefinitionStore, content: usize) -> Result<Applied> {
    let now = Timestamp::from_micros(1);
    Ok(store.apply(NAME, &definition(content), "test", now).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_is_the_same_version() -> Result<()> {
    let world = World::start().await?;
    let store = world.broker().await?.definitions().await?;
    assert_eq!(store.newest(NAME).await?, None);
    let first = apply(&store, 1).await?;
    assert!(first.created && first.record.workflow.version == 1);
    let again = apply(&store, 1).await?;
    assert_eq!((again.created, &again.record), (false, &first.record));
    let second = apply(&store, 2).await?;
    assert!(second.created && second.record.workflow.version == 2);
    assert_eq!(second.record.workflow.id, first.record.workflow.id);
    assert_eq!(store.newest(NAME).await?.as_ref(), Some(&second.record));
    for record in [&first.record, &second.record] {
        assert_eq!(
            store.by_hash(record.workflow.hash).await?.as_ref(),
            Some(record)
        );
    }
    store
        .apply("another", &definition(3), "test", Timestamp::from_micros(2))
        .await?;
    let names: Vec<_> = store
        .list()
        .await?
        .into_iter()
        .map(|record| record.workflow.name)
        .collect();
    assert_eq!(names, ["another", NAME]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn different_contents_at_once_are_different_versions() -> Result<()> {
    const WRITERS: usize = 6;
    let world = World::start().await?;
    let store = world.broker().await?.definitions().await?;
    let writers = (0..WRITERS).map(|content| apply(&store, content));
    let applied = futures::future::try_join_all(writers).await?;
    let versions: BTreeSet<_> = applied
        .iter()
        .map(|applied| applied.record.workflow.version)
        .collect();
    assert_eq!(versions, (1..=u32::try_from(WRITERS)?).collect());
    let ids: BTreeSet<_> = applied
        .iter()
        .map(|applied| applied.record.workflow.id)
        .collect();
    assert_eq!(ids.len(), 1);
    for Applied { record, created } in &applied {
        assert!(created);
        assert_eq!(
            store.by_hash(record.workflow.hash).await?.as_ref(),
            Some(record)
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_at_once_is_one_version() -> Result<()> {
    let world = World::start().await?;
    let store = world.broker().await?.definitions().await?;
    let applied = futures::future::try_join_all((0..6).map(|_| apply(&store, 1))).await?;
    assert_eq!(applied.iter().filter(|applied| applied.created).count(), 1);
    let newest = store.newest(NAME).await?.expect("applied");
    for Applied { record, .. } in &applied {
        assert_eq!(record, &newest);
    }
    // Whoever finds it by its content finds the same workflow.
    assert_eq!(store.by_hash(newest.workflow.hash).await?, Some(newest));
    Ok(())
}

/// Whoever applied a version may have died before it had its number, or may not have known of numbers.
#[tokio::test(flavor = "multi_thread")]
async fn no_version_loses_its_number() -> Result<()> {
    let world = World::start().await?;
    let store = world.broker().await?.definitions().await?;
    let first = apply(&store, 1).await?.record;
    let bucket = world
        .jetstream()
        .await?
        .get_key_value("AFU9_DEFINITIONS")
        .await?;
    bucket.purge(format!("version.{NAME}.1")).await?;
    let second = apply(&store, 2).await?.record;
    assert_eq!(store.version(NAME, 1).await?.as_ref(), Some(&first));
    bucket.purge(format!("version.{NAME}.2")).await?;
    assert!(!apply(&store, 2).await?.created);
    bucket
        .get(format!("version.{NAME}.2"))
        .await?
        .expect("stored again");
    let third = apply(&store, 3).await?.record;
    assert_eq!(store.versions(NAME).await?, [first, second, third]);
    assert_eq!(store.versions("unknown").await?, []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_its_first_claim() -> Result<()> {
    let world = World::start().await?;
    let store = world.broker().await?.idempotency().await?;
    let long = "x".repeat(10_000);
    let keys = [
        "plain",
        "",
        " ",
        "a.b.*.>",
        "Schlüssel/🔑",
        "line\nbreak",
        "..",
        long.as_str(),
    ];
    for key in keys {
        let first = Claim {
            execution: ExecutionId::new(),
            content: key.to_owned(),
        };
        let second = Claim {
            execution: ExecutionId::new(),
            content: "another".to_owned(),
        };
        assert_eq!(store.claim(key, &first).await?, None);
        assert_eq!(store.claim(key, &second).await?.as_ref(), Some(&first));
        assert_eq!(store.claim(key, &first).await?.as_ref(), Some(&first));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_claims_at_once_one_is_the_first() -> Result<()> {
    let world = World::start().await?;
    let store = world.broker().await?.idempotency().await?;
    let claims: Vec<Claim> = (0..8)
        .map(|number| Claim {
            execution: ExecutionId::new(),
            content: number.to_string(),
        })
        .collect();
    let answers =
        futures::future::try_join_all(claims.iter().map(|claim| store.claim("key", claim))).await?;
    let first: Vec<_> = (0..8).filter(|number| answers[*number].is_none()).collect();
    assert_eq!(first.len(), 1);
    let others = answers.iter().flatten();
    assert!(others.eq(std::iter::repeat_n(&claims[first[0]], 7)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_of_keys_refuses_new_ones_and_knows_the_old_ones() -> Result<()> {
    /// A key takes some 300 bytes.
    const MOST: usize = 1000;
    let world = World::start().await?;
    let limits = Limits {
        key_bytes: 64 * 1024,
        ..Limits::default()
    };
    let store = world.broker_with(limits).await?.idempotency().await?;
    let claim = |number: usize| Claim {
        execution: ExecutionId::derived(&number.to_string()),
        content: "c".repeat(64),
    };
    let mut claimed = 0;
    let refused = loop {
        match store.claim(&claimed.to_string(), &claim(claimed)).await {
            Ok(before) => assert_eq!(before, None),
            Err(error) => break error,
        }
        claimed += 1;
        assert!(claimed < MOST, "the bucket has no bound");
    };
    assert!(refused.is_full(), "{refused:?}");
    assert!(claimed > 100, "only {claimed} keys fit");
    let before = store.claim("0", &claim(1)).await?;
    assert_eq!(before, Some(claim(0)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_forgotten_after_their_time() -> Result<()> {
    let world = World::start().await?;
    let config = Config {
        key_age: Duration::from_secs(1),
        ..world.config()
    };
    let mut broker = Broker::connect(config).await?;
    broker.ensure_topology().await?;
    let store = broker.idempotency().await?;
    let claim = |name: &str| Claim {
        execution: ExecutionId::derived(name),
        content: String::new(),
    };
    assert_eq!(store.claim("k", &claim("first")).await?, None);
    assert_eq!(
        store.claim("k", &claim("second")).await?,
        Some(claim("first"))
    );
    until("the key to be forgotten", || async {
        let state = world.stream_state("KV_AFU9_IDEMPOTENCY").await?;
        Ok((state.messages == 0).then_some(()))
    })
    .await?;
    assert_eq!(store.claim("k", &claim("third")).await?, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_of_a_newer_version_is_refused_and_left_as_it_is() -> Result<()> {
    let world = World::start().await?;
    let store = world.broker().await?.definitions().await?;
    let hash = apply(&store, 1).await?.record.workflow.hash;
    let bucket = world
        .jetstream()
        .await?
        .get_key_value("AFU9_DEFINITIONS")
        .await?;
    let keys = [format!("name.{NAME}"), format!("hash.{hash}")];
    let mut before = Vec::new();
    for key in &keys {
        let mut newer = bucket.get(key).await?.expect("there").to_vec();
        newer[0] = codec::WIRE_VERSION + 1;
        let revision = bucket.put(key, newer.clone().into()).await?;
        before.push((revision, newer));
    }
    let refused = [
        store.newest(NAME).await.map(drop),
        store.by_hash(hash).await.map(drop),
        store.list().await.map(drop),
        // Neither the same content nor another one is stored over it.
        store
            .apply(NAME, &definition(1), "test", Timestamp::from_micros(2))
            .await
            .map(drop),
        store
            .apply(NAME, &definition(2), "test", Timestamp::from_micros(2))
            .await
            .map(drop),
    ];
    for refused in refused {
        let text = afu9_broker::error::chain(&refused.expect_err("newer"));
        assert!(text.contains("wire version 3"), "{text}");
    }
    for (key, (revision, newer)) in keys.iter().zip(before) {
        let found = bucket.entry(key).await?.expect("still there");
        assert_eq!((found.revision, &found.value[..]), (revision, &newer[..]));
    }
    Ok(())
}
