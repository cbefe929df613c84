//! A wire between a client and its server that loses one message of the client's when it is told to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub(crate) struct Proxy {
    port: u16,
    wanted: Arc<Wanted>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Wanted {
    /// The beginning of the subject of the next message that is lost.
    subject: Mutex<Option<&'static str>>,
    swallowed: AtomicUsize,
}

impl Wanted {
    fn takes(&self, subject: &str) -> bool {
        let mut wanted = self.subject.lock().expect("not poisoned");
        let takes = wanted.is_some_and(|wanted| subject.starts_with(wanted));
        if takes {
            *wanted = None;
            self.swallowed.fetch_add(1, Ordering::SeqCst);
        }
        takes
    }
}

impl Proxy {
    /// A wire to the server at `address`.
    pub(crate) async fn start(address: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let wanted = Arc::new(Wanted::default());
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&wanted);
        tasks.spawn(async move {
            let mut wires = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&address).await else {
                    continue;
                };
                wires.spawn(wire(client, server, Arc::clone(&shared)));
            }
        });
        Ok(Self {
            port,
            wanted,
            _tasks: tasks,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The next message to a subject that begins like this is lost.
    pub(crate) fn swallow(&self, subject: &'static str) {
        *self.wanted.subject.lock().expect("not poisoned") = Some(subject);
    }

    pub(crate) fn swallowed(&self) -> usize {
        self.wanted.swallowed.load(Ordering::SeqCst)
    }
}

/// Carries both directions until one of them ends.
async fn wire(client: TcpStream, server: TcpStream, wanted: Arc<Wanted>) {
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    tokio::select! {
        _ended = copy(&mut from_server, &mut to_client) => {}
        _ended = carry(BufReader::new(from_client), to_server, &wanted) => {}
    }
}

/// Reads the client's protocol: lines, of which `PUB` and `HPUB` are followed by a payload whose length
/// is their last word.
async fn carry(
    mut client: impl AsyncBufReadExt + Unpin,
    mut server: impl AsyncWriteExt + Unpin,
    wanted: &Wanted,
) -> Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if client.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut lost = false;
        if let ["PUB" | "HPUB", subject, .., length] = words[..] {
            let length: usize = length.parse()?;
            let begin = line.len();
            // And the end of the line behind it.
            line.resize(begin + length + 2, 0);
            client.read_exact(&mut line[begin..]).await?;
            lost = wanted.takes(subject);
        }
        if !lost {
            server.write_all(&line).await?;
        }
    }
}
