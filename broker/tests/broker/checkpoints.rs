//! Checkpoints: complete or not there, and a stale owner changes nothing.

use afu9_broker::Broker;
use afu9_broker::kv::{CheckpointHead, Mark, Place, Poison, SegmentRef, Swap, WorkSeen};
use afu9_schemas::{InstanceId, Partition, Timestamp, codec};
use anyhow::Result;
use bytes::Bytes;

use crate::world::{World, kind};

const A: Partition = Partition::new(1);

fn head(epoch: u64, segments: Vec<SegmentRef>) -> CheckpointHead {
    CheckpointHead {
        owner: InstanceId::new(),
        epoch,
        floor: 7,
        floor_at: Some(Timestamp::from_micros(1)),
        segments,
        server: "server".to_owned(),
        work: vec![WorkSeen {
            kind: kind(),
            sequence: 3,
        }],
        claims: 0,
        mark: Some(mark(8, Some(2))),
        poison: vec![Poison {
            place: mark(9, None).place,
            times: 1,
        }],
    }
}

fn mark(sequence: u64, input: Option<u32>) -> Mark {
    let place = Place { sequence, input };
    Mark { place, tries: 1 }
}

fn content(bytes: usize) -> Bytes {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

async fn stored(broker: &Broker, head: &CheckpointHead, expected: u64) -> Result<Swap> {
    Ok(broker
        .checkpoints(A)
        .await?
        .put_head(head, expected)
        .await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_read_as_it_was_written() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let store = broker.checkpoints(A).await?;
    assert!(store.load_head().await?.is_none());
    // Several pieces, one piece exactly, none at all.
    let contents = [1_300_000, 512 * 1024, 0].map(content);
    let mut segments = Vec::new();
    for (number, content) in contents.iter().enumerate() {
        segments.push(
            store
                .put_segment(&number.to_string(), content.clone())
                .await?,
        );
    }
    let pieces: Vec<u32> = segments.iter().map(|segment| segment.pieces).collect();
    assert_eq!(pieces, [3, 1, 0]);
    let unnamed = store.load_head().await?;
    assert!(
        unnamed.is_none(),
        "segments count only once a head names them"
    );
    let written = head(1, segments);
    let swap = stored(&broker, &written, 0).await?;
    let (found, revision) = store.load_head().await?.expect("there is a head");
    assert_eq!((swap, &found), (Swap::Stored(revision), &written));
    assert!(store.segments(&found).await? == contents, "another content");
    let other = broker.checkpoints(Partition::new(2)).await?;
    assert!(other.load_head().await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_owner_loses() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let (mine, theirs) = (head(1, Vec::new()), head(2, Vec::new()));
    let Swap::Stored(first) = stored(&broker, &mine, 0).await? else {
        panic!("lost a race without a rival");
    };
    assert_eq!(stored(&broker, &theirs, 0).await?, Swap::Lost);
    assert!(matches!(
        stored(&broker, &theirs, first).await?,
        Swap::Stored(_)
    ));
    assert_eq!(stored(&broker, &mine, first).await?, Swap::Lost);
    let (found, _) = broker
        .checkpoints(A)
        .await?
        .load_head()
        .await?
        .expect("a head");
    assert_eq!(found, theirs);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_removes_what_no_head_names() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let store = broker.checkpoints(A).await?;
    let kept = store.put_segment("k", content(600_000)).await?;
    // Its name begins like the kept one's.
    let leftover = store.put_segment("k2", content(600_000)).await?;
    let removed = store.put_segment("r", content(10)).await?;
    // The number of its partition begins like the other's.
    let neighbour = broker.checkpoints(Partition::new(11)).await?;
    neighbour.put_segment("n", content(10)).await?;
    store.remove(&[removed]).await?;
    let head = head(1, vec![kept]);
    assert!(matches!(stored(&broker, &head, 0).await?, Swap::Stored(_)));
    assert_eq!(store.sweep(&head).await?, usize::try_from(leftover.pieces)?);
    assert_eq!(store.sweep(&head).await?, 0);
    assert!(
        store.segments(&head).await? == [content(600_000)],
        "another content"
    );
    let empty = CheckpointHead {
        segments: Vec::new(),
        ..head
    };
    assert_eq!(neighbour.sweep(&empty).await?, 1);
    // A head and the two pieces it names: no mark is left of what was removed.
    let state = world.stream_state("KV_AFU9_CHECKPOINTS").await?;
    assert_eq!(state.messages, 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_with_a_missing_segment_is_no_checkpoint() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let store = broker.checkpoints(A).await?;
    let segment = store.put_segment("s", content(10)).await?;
    let head = head(1, vec![segment.clone()]);
    assert!(matches!(stored(&broker, &head, 0).await?, Swap::Stored(_)));
    store.remove(&[segment]).await?;
    assert!(store.segments(&head).await.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_keeps_the_checkpoint_and_ends_its_former_owner() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let store = broker.checkpoints(A).await?;
    let (first, second) = (InstanceId::new(), InstanceId::new());
    let (fresh, mine) = store.claim(first, 1).await?;
    assert_eq!((fresh.owner, fresh.epoch, fresh.floor), (first, 1, 0));
    let written = CheckpointHead {
        owner: first,
        ..head(1, vec![store.put_segment("s", content(10)).await?])
    };
    let Swap::Stored(mine) = store.put_head(&written, mine).await? else {
        panic!("lost a race without a rival");
    };
    let (claimed, theirs) = store.claim(second, 2).await?;
    let expected = CheckpointHead {
        owner: second,
        epoch: 2,
        claims: 1,
        ..written.clone()
    };
    assert_eq!(claimed, expected);
    assert!(
        store.segments(&claimed).await? == [content(10)],
        "another content"
    );
    assert_eq!(store.put_head(&written, mine).await?, Swap::Lost);
    let mut passed = claimed.clone();
    passed.floor = 8;
    passed.prune();
    assert_eq!((passed.mark, &passed.poison), (None, &claimed.poison));
    assert!(matches!(
        store.put_head(&claimed, theirs).await?,
        Swap::Stored(_)
    ));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_a_newer_version_is_refused_and_left_as_it_is() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let store = broker.checkpoints(A).await?;
    let mut newer = codec::encode(&head(1, Vec::new()))?.to_vec();
    newer[0] = codec::WIRE_VERSION + 1;
    let bucket = world
        .jetstream()
        .await?
        .get_key_value("AFU9_CHECKPOINTS")
        .await?;
    let key = format!("{A}.head");
    let revision = bucket.put(&key, newer.clone().into()).await?;
    let refused = store.claim(InstanceId::new(), 2).await.expect_err("newer");
    let text = afu9_broker::error::chain(&refused);
    assert!(text.contains("wire version 3"), "{text}");
    let found = bucket.entry(&key).await?.expect("still there");
    assert_eq!((found.revision, &found.value[..]), (revision, &newer[..]));
    Ok(())
}
