//! Artifacts: a reference leads to exactly what was stored.

use afu9_broker::artifact::MAX_ARTIFACT_BYTES;
use afu9_schemas::ArtifactRef;
use anyhow::Result;

use crate::world::{World, within};

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_is_read_as_it_was_stored() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let reader = world.broker().await?;
    for bytes in [5_000_000, 1, 0] {
        let content = content(bytes);
        let artifact = broker.put_artifact(&content).await?;
        assert_eq!(artifact.bytes, content.len() as u64);
        let read = within("the artifact", reader.get_artifact(&artifact)).await??;
        assert!(read == content, "another content of {bytes} bytes");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_is_one_artifact() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let content = content(300_000);
    let first = broker.put_artifact(&content).await?;
    let stored = world.stream_state("OBJ_AFU9_ARTIFACTS").await?;
    assert_eq!(broker.put_artifact(&content).await?, first);
    let after = world.stream_state("OBJ_AFU9_ARTIFACTS").await?;
    assert_eq!(after.messages, stored.messages);
    assert_eq!(broker.get_artifact(&first).await?, content);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn storing_an_artifact_again_does_not_disturb_its_readers() -> Result<()> {
    const ROUNDS: usize = 300;
    let world = World::start().await?;
    let (broker, reader) = (world.broker().await?, world.broker().await?);
    let content = content(200_000);
    let artifact = broker.put_artifact(&content).await?;
    let write = async {
        for _ in 0..ROUNDS {
            broker.put_artifact(&content).await?;
        }
        anyhow::Ok(())
    };
    let read = async {
        for _ in 0..ROUNDS {
            let read = within("the artifact", reader.get_artifact(&artifact)).await??;
            assert!(read == content, "another content");
        }
        anyhow::Ok(())
    };
    tokio::try_join!(write, read)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_reference_is_an_error() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let artifact = broker.put_artifact(b"content").await?;
    let other = broker.put_artifact(b"other content").await?;
    let wrong = [
        ArtifactRef {
            sha256: other.sha256.clone(),
            ..artifact.clone()
        },
        ArtifactRef {
            name: other.name.clone(),
            ..artifact.clone()
        },
        ArtifactRef {
            name: "missing".to_owned(),
            ..artifact.clone()
        },
        ArtifactRef {
            bytes: MAX_ARTIFACT_BYTES as u64 + 1,
            ..artifact.clone()
        },
    ];
    for reference in &wrong {
        let read = within("an answer", broker.get_artifact(reference)).await?;
        assert!(read.is_err(), "{reference:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_before_it_is_sent() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let content = vec![0; MAX_ARTIFACT_BYTES + 1];
    assert!(broker.put_artifact(&content).await.is_err());
    assert_eq!(
        world
            .stream_state("OBJ_AFU9_ARTIFACTS")
            .await?
            .last_sequence,
        0
    );
    Ok(())
}
