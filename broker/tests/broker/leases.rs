//! Leases: of two who want one, one gets it, and whoever watches knows.

use afu9_broker::Broker;
use afu9_broker::kv::{Change, Lease, LeaseWatch, Member, Swap};
use afu9_schemas::{InstanceId, Partition, codec};
use anyhow::Result;

use crate::world::{World, within};

const A: Partition = Partition::new(0);
const B: Partition = Partition::new(3);

fn lease(owner: InstanceId, renewal: u64) -> Lease {
    Lease {
        owner: Some(owner),
        epoch: 1,
        renewal,
    }
}

fn stored(swap: Swap) -> u64 {
    match swap {
        Swap::Stored(revision) => revision,
        Swap::Lost => panic!("lost a race without a rival"),
    }
}

async fn next(watch: &mut LeaseWatch) -> Result<Change> {
    Ok(within("a change", watch.next()).await??)
}

/// What a new watch tells of what is there.
async fn state(broker: &Broker) -> Result<Vec<Change>> {
    let mut watch = broker.leases().await?.watch().await?;
    let mut changes = Vec::new();
    loop {
        match next(&mut watch).await? {
            Change::UpToDate => return Ok(changes),
            change => changes.push(change),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_replaced_only_at_the_revision_that_was_seen() -> Result<()> {
    let world = World::start().await?;
    let mine = world.broker().await?.leases().await?;
    let theirs = world.broker().await?.leases().await?;
    let (me, them) = (InstanceId::new(), InstanceId::new());
    let first = stored(mine.put(A, &lease(me, 1), 0).await?);
    assert_eq!(theirs.put(A, &lease(them, 1), 0).await?, Swap::Lost);
    let second = stored(mine.put(A, &lease(me, 2), first).await?);
    assert_eq!(theirs.put(A, &lease(them, 1), first).await?, Swap::Lost);
    stored(theirs.put(A, &lease(them, 1), second).await?);
    assert_eq!(mine.put(A, &lease(me, 3), second).await?, Swap::Lost);
    stored(mine.put(B, &lease(me, 1), 0).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_gets_a_free_lease() -> Result<()> {
    let world = World::start().await?;
    let store = world.broker().await?.leases().await?;
    let attempts = (0..8).map(|_| async { store.put(A, &lease(InstanceId::new(), 1), 0).await });
    let outcomes = futures::future::try_join_all(attempts).await?;
    let winners = outcomes
        .iter()
        .filter(|swap| matches!(swap, Swap::Stored(_)));
    assert_eq!(winners.count(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_what_is_there_then_what_changes() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let store = broker.leases().await?;
    let me = InstanceId::new();
    assert_eq!(state(&broker).await?, []);
    let first = stored(store.put(A, &lease(me, 1), 0).await?);
    store
        .beat(&Member {
            instance: me,
            beat: 1,
        })
        .await?;
    let mut watch = broker.leases().await?.watch().await?;
    let change = Change::Lease {
        partition: A,
        lease: lease(me, 1),
        revision: first,
    };
    assert_eq!(next(&mut watch).await?, change);
    assert_eq!(
        next(&mut watch).await?,
        Change::Member(Member {
            instance: me,
            beat: 1
        })
    );
    assert_eq!(next(&mut watch).await?, Change::UpToDate);
    let second = stored(store.put(A, &lease(me, 2), first).await?);
    store
        .beat(&Member {
            instance: me,
            beat: 2,
        })
        .await?;
    store.forget(me).await?;
    let change = Change::Lease {
        partition: A,
        lease: lease(me, 2),
        revision: second,
    };
    assert_eq!(next(&mut watch).await?, change);
    assert_eq!(
        next(&mut watch).await?,
        Change::Member(Member {
            instance: me,
            beat: 2
        })
    );
    assert_eq!(next(&mut watch).await?, Change::MemberGone(me));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_gone_do_not_hide_what_is_there() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let store = broker.leases().await?;
    // What is left of those who are gone lies before what is there.
    for _ in 0..3 {
        let gone = InstanceId::new();
        store
            .beat(&Member {
                instance: gone,
                beat: 1,
            })
            .await?;
        store.forget(gone).await?;
    }
    let me = InstanceId::new();
    for partition in [A, B] {
        stored(store.put(partition, &lease(me, 1), 0).await?);
    }
    let leases: Vec<Partition> = state(&broker)
        .await?
        .into_iter()
        .filter_map(|change| match change {
            Change::Lease { partition, .. } => Some(partition),
            _ => None,
        })
        .collect();
    assert_eq!(leases, [A, B]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_version_wrote_is_told_and_not_taken() -> Result<()> {
    let world = World::start().await?;
    let broker = world.broker().await?;
    let store = broker.leases().await?;
    let them = InstanceId::new();
    let member = Member {
        instance: them,
        beat: 1,
    };
    let newer = |mut bytes: Vec<u8>| {
        bytes[0] = codec::WIRE_VERSION + 1;
        bytes
    };
    let bucket = world
        .jetstream()
        .await?
        .get_key_value("AFU9_OWNERS")
        .await?;
    let keys = [format!("partition.{A}"), format!("member.{them}")];
    let lease_of_theirs = newer(codec::encode(&lease(them, 1))?.to_vec());
    bucket.put(&keys[0], lease_of_theirs.clone().into()).await?;
    bucket
        .put(&keys[1], newer(codec::encode(&member)?.to_vec()).into())
        .await?;
    let told = state(&broker).await?;
    assert_eq!(told.len(), 2, "{told:?}");
    for (change, expected) in told.iter().zip(&keys) {
        let Change::Unreadable { key, error } = change else {
            panic!("{change:?}");
        };
        assert_eq!(key, expected);
        assert!(error.contains("wire version 3"), "{error}");
    }
    assert_eq!(
        store.put(A, &lease(InstanceId::new(), 1), 0).await?,
        Swap::Lost
    );
    assert_eq!(
        bucket.get(&keys[0]).await?.as_deref(),
        Some(&lease_of_theirs[..])
    );
    Ok(())
}

/// Each orchestrator that ever ran would leave one otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn the_mark_of_one_that_has_gone_is_not_kept_for_ever() -> Result<()> {
    const OWNERS: &str = "KV_AFU9_OWNERS";
    let world = World::start().await?;
    let jetstream = world.jetstream().await?;
    // As a version without bounds made it.
    let config = async_nats::jetstream::kv::Config {
        bucket: "AFU9_OWNERS".to_owned(),
        history: 1,
        ..async_nats::jetstream::kv::Config::default()
    };
    jetstream.create_key_value(config).await?;
    let old = Broker::connect(world.config()).await?.leases().await?;
    let mark = async |instance: InstanceId| {
        let stream = jetstream.get_stream(OWNERS).await?;
        let subject = format!("$KV.AFU9_OWNERS.member.{instance}");
        let last = stream.get_last_raw_message_by_subject(&subject).await?;
        let ttl = last.headers.get("Nats-TTL").map(ToString::to_string);
        anyhow::Ok((last.headers.get("KV-Operation").is_some(), ttl))
    };
    let first = InstanceId::new();
    old.forget(first).await?;
    assert_eq!(mark(first).await?, (true, None));
    let new = world.broker().await?.leases().await?;
    let second = InstanceId::new();
    new.forget(second).await?;
    assert_eq!(mark(second).await?, (true, Some("3600".to_owned())));
    Ok(())
}
