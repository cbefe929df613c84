//! HTTP/1.1 over connections that stay open, written by hand: the load generator shares the machine
//! with what it measures, and a general client takes several times as much of it for each request.
//!
//! What it can do is what a gateway answers: a status, and a body of known length.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than the gateway takes to give up on an unacknowledged submission.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);

/// Longest answer: an acceptance or a problem is some hundred bytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Room for a whole answer at the first read.
const READ_BYTES: usize = 4096;

/// A status and a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// For messages.
    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

/// The connections to one address. The one used last is used next, so that there are no more of them
/// than requests were ever under way at once.
#[derive(Debug)]
pub(crate) struct Connections {
    address: String,
    idle: Mutex<Vec<TcpStream>>,
}

impl Connections {
    /// To `address`, which is `host:port`.
    pub(crate) fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            idle: Mutex::default(),
        }
    }

    /// Sends a request, which is bytes as they go over the wire, and waits for its answer.
    pub(crate) async fn exchange(&self, request: &[u8]) -> Result<Answer> {
        let mut stream = match self.take_idle() {
            Some(stream) => stream,
            None => self.open().await?,
        };
        let answered = tokio::time::timeout(ANSWER_WITHIN, exchange(&mut stream, request));
        let (answer, stays) = answered.await.context("no answer in time")??;
        if stays {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(stream);
        }
        Ok(answer)
    }

    /// A connection that the gateway has not closed meanwhile.
    fn take_idle(&self) -> Option<TcpStream> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(stream) = idle.pop() {
            let read = stream.try_read(&mut [0; 1]);
            if read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock) {
                return Some(stream);
            }
        }
        None
    }

    async fn open(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(&self.address)
            .await
            .with_context(|| format!("connect to {}", self.address))?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        Ok(stream)
    }
}

/// The answer, and whether the connection may be used again.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<(Answer, bool)> {
    stream.write_all(request).await.context("send a request")?;
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        let read = stream
            .read_buf(&mut buffer)
            .await
            .context("read an answer")?;
        ensure!(read > 0, "the connection was closed before an answer");
        if let Some(head) = Head::read(&buffer)? {
            let whole = head.bytes + head.body_bytes;
            ensure!(whole <= MAX_ANSWER_BYTES, "an answer of {whole} bytes");
            while buffer.len() < whole {
                let read = stream.read_buf(&mut buffer).await.context("read a body")?;
                ensure!(read > 0, "the connection was closed within an answer");
            }
            let answer = Answer {
                status: head.status,
                body: buffer[head.bytes..whole].to_vec(),
            };
            return Ok((answer, head.stays));
        }
        ensure!(buffer.len() <= MAX_ANSWER_BYTES, "an answer without an end");
    }
}

/// What stands before a body.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Its own length, the empty line included.
    bytes: usize,
    body_bytes: usize,
    /// The connection may be used again.
    stays: bool,
}

impl Head {
    /// `None` until it is there as a whole.
    fn read(buffer: &[u8]) -> Result<Option<Self>> {
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&buffer[..end]).context("a head that is no text")?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|code| code.parse().ok());
        let mut head = Self {
            status: status.with_context(|| format!("no HTTP answer: {text}"))?,
            bytes: end + 4,
            body_bytes: 0,
            stays: true,
        };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.body_bytes = value.parse().context("a length that is no number")?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                bail!("a body of unknown length, which this client cannot read");
            } else if name.eq_ignore_ascii_case("connection") {
                head.stays = !value.eq_ignore_ascii_case("close");
            }
        }
        Ok(Some(head))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}";
        for cut in 0..text.len() - 2 {
            assert_eq!(Head::read(&text[..cut]).expect("no mistake"), None);
        }
        let head = Head::read(text).expect("a head").expect("whole");
        let (status, body_bytes) = (head.status, head.body_bytes);
        assert_eq!((status, body_bytes, head.stays), (202, 2, true));
        assert_eq!(&text[head.bytes..], b"{}");
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(Head::read(chunked).is_err());
    }

    #[tokio::test]
    async fn a_connection_is_used_again_until_it_is_closed() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let connections = Connections::new(listener.local_addr()?.to_string());
        let serve = async {
            // Two answers on the first connection, the second of which is its last; one on another.
            let (mut first, _) = listener.accept().await?;
            for extra in ["", "connection: close\r\n"] {
                let mut request = [0; 4];
                first.read_exact(&mut request).await?;
                let answer = format!("HTTP/1.1 200 OK\r\n{extra}content-length: 1\r\n\r\na");
                first.write_all(answer.as_bytes()).await?;
            }
            let (mut second, _) = listener.accept().await?;
            second.read_exact(&mut [0; 4]).await?;
            second
                .write_all(b"HTTP/1.1 503 No\r\ncontent-length: 1\r\n\r\nb")
                .await?;
            anyhow::Ok(())
        };
        let ask = async {
            let mut answers = Vec::new();
            for _ in 0..3 {
                answers.push(connections.exchange(b"ping").await?.text());
            }
            anyhow::Ok(answers)
        };
        let ((), answers) = tokio::try_join!(serve, ask)?;
        assert_eq!(answers, ["200 a", "200 a", "503 b"]);
        Ok(())
    }
}
