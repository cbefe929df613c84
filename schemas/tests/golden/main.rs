//! Golden files: the bytes of every wire message, as they were when the message was first released.
//!
//! A test that fails here means that processes of different versions would not understand each
//! other. What a released version wrote is never changed: it must be read for ever, with defaults
//! for what came later. Adding a field with a default changes what is written: then write the new
//! bytes beside the old ones, under the next version. `AFU9_GOLDEN=write cargo test -p afu9-schemas
//! --test golden` writes files that are missing, and never changes one; delete a file of a version
//! that is not released yet to have it written again.

mod v1;
mod v2;
mod values;

use std::fmt::Debug;
use std::path::PathBuf;

use afu9_schemas::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn pinned(name: &str) -> Vec<u8> {
    let file = folder().join(name);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A message as it is written now: compared with its golden file in both directions.
#[track_caller]
fn written<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, message: &T) {
    let file = folder().join(name);
    let written = codec::encode(message).expect("encodes");
    if !file.exists() && option_env!("AFU9_GOLDEN") == Some("write") {
        std::fs::write(&file, &written).expect("golden file written");
    }
    assert_eq!(
        hex::encode(&written),
        hex::encode(pinned(name)),
        "{name} is written differently than before"
    );
    still_read(name, message);
}

/// A message as a released version wrote it, or this one does: read as `message`.
#[track_caller]
fn still_read<T: DeserializeOwned + PartialEq + Debug>(name: &str, message: &T) {
    let mut bytes = pinned(name);
    let read: T = codec::decode(&bytes).expect("the pinned bytes are readable");
    assert_eq!(&read, message, "{name} is read differently than before");
    bytes[0] = 3;
    let refused = codec::decode::<T>(&bytes).expect_err("a future version");
    assert!(refused.is_from_the_future(), "{name}");
}

/// Names of the golden files of a version.
fn files(version: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .expect("golden files")
        .map(|entry| entry.expect("a file").file_name())
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.ends_with(&format!(".{version}.msgpack")))
        .collect();
    names.sort_unstable();
    names
}
