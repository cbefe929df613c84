//! Free loopback ports.
//!
//! They are taken from below the kernel's ephemeral range (32768 and up on Linux, 49152 on macOS)
//! instead of from port 0: a server that is restarted must get its port back, and a port of the
//! ephemeral range can meanwhile become the *source* port of any outgoing connection, even of a
//! client that keeps trying to reach that very port (a TCP self-connect).

use std::hash::{BuildHasher as _, Hasher as _};
use std::net::TcpListener;
use std::ops::Range;

use anyhow::{Result, bail};

const PORTS: Range<u16> = 15_000..32_000;

/// More tries than a machine with half of the range in use can need.
const TRIES: usize = 200;

/// A port of 127.0.0.1 that nobody listens on now. Somebody may before you do: try again then.
///
/// # Errors
/// When no free port is found.
pub fn free_port() -> Result<u16> {
    for _ in 0..TRIES {
        let offset = random() % u64::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(offset)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port among {TRIES} tried in {PORTS:?}")
}

/// A number that differs between calls and processes; not a secret.
pub(crate) fn random() -> u64 {
    // The standard library seeds every hasher from the system's randomness.
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}
