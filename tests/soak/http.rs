//! An HTTP/1.1 client that shows its connections: it opens one when told to, never by itself, and
//! says so when the other side closes.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One connection, and what has been read of it beyond the last reply.
pub struct Conn {
    stream: Box<dyn Stream>,
    ahead: Vec<u8>,
}

pub struct Request<'a> {
    pub method: &'static str,
    pub host: &'a str,
    pub path: &'a str,
    pub headers: &'a str,
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    pub fn get(host: &'a str, path: &'a str) -> Self {
        Self { method: "GET", host, path, headers: "", body: b"" }
    }
}

#[derive(Default)]
pub struct Reply {
    pub status: u16,
    pub release: u64,
    pub dyno: String,
    pub instance: String,
    /// The other side will close the connection.
    pub closes: bool,
    pub body: Vec<u8>,
    pub length: Option<usize>,
    pub chunked: bool,
}

impl Conn {
    pub async fn tcp(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.context("connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Box::new(stream), ahead: Vec::new() })
    }

    pub async fn unix(path: &str) -> Result<Self> {
        let stream = UnixStream::connect(path).await.context("connect")?;
        Ok(Self { stream: Box::new(stream), ahead: Vec::new() })
    }

    pub async fn send(&mut self, request: &Request<'_>) -> Result<Reply> {
        let Request { method, host, path, headers, body } = request;
        let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}");
        if !body.is_empty() {
            bytes += &format!("Content-Length: {}\r\n", body.len());
        }
        bytes += "\r\n";
        let mut bytes = bytes.into_bytes();
        bytes.extend_from_slice(body);
        self.stream.write_all(&bytes).await.context("send the request")?;
        let mut reply = self.head().await?;
        if reply.status != 101 {
            self.body(&mut reply).await?;
        }
        Ok(reply)
    }

    async fn head(&mut self) -> Result<Reply> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut response = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(end) = response.parse(&self.ahead)? {
                let mut reply = Reply { status: response.code.unwrap_or(0), ..Reply::default() };
                for header in response.headers.iter() {
                    reply.take(header.name, &String::from_utf8_lossy(header.value));
                }
                self.ahead.drain(..end);
                if reply.status == 100 {
                    continue;
                }
                return Ok(reply);
            }
            ensure!(self.more().await? > 0, "closed before the reply ({} bytes)", self.ahead.len());
        }
    }

    async fn body(&mut self, reply: &mut Reply) -> Result<()> {
        if reply.chunked {
            loop {
                let line = self.line().await?;
                let size = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16)
                    .with_context(|| format!("chunk size {line:?}"))?;
                let piece = self.exactly(size).await?;
                reply.body.extend_from_slice(&piece);
                let end = self.line().await?;
                ensure!(end.is_empty(), "chunk end {end:?}");
                if size == 0 {
                    return Ok(());
                }
            }
        }
        match reply.length {
            Some(length) => reply.body = self.exactly(length).await?,
            None if reply.status == 204 || reply.status == 304 => {}
            None => {
                while self.more().await? > 0 {}
                reply.body = std::mem::take(&mut self.ahead);
            }
        }
        Ok(())
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            ensure!(self.more().await? > 0, "closed in the body");
        }
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.ahead.len() < length {
            ensure!(self.more().await? > 0, "closed in the body");
        }
        Ok(self.ahead.drain(..length).collect())
    }

    async fn more(&mut self) -> Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let read = self.stream.read(&mut buffer).await.context("read")?;
        self.ahead.extend_from_slice(&buffer[..read]);
        Ok(read)
    }

    // --- WebSocket ------------------------------------------------------------------------------

    /// Makes this connection a WebSocket.
    pub async fn upgrade(&mut self, host: &str) -> Result<Reply> {
        let headers = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: c2Vucnl1IHNvYWsgdGVzdA==\r\n";
        let reply =
            self.send(&Request { method: "GET", host, path: "/ws", headers, body: b"" }).await?;
        if reply.status != 101 {
            bail!("{} instead of an upgrade", reply.status);
        }
        Ok(reply)
    }

    /// Sends a message and reads one back. `None`: the other side has ended the session.
    pub async fn echo(&mut self, message: &[u8]) -> Result<Option<Vec<u8>>> {
        let length = u8::try_from(message.len()).unwrap_or(0).min(125);
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(&message[..length.into()]);
        if self.stream.write_all(&frame).await.is_err() {
            return Ok(None);
        }
        loop {
            if self.ahead.len() >= 2 {
                let length = usize::from(self.ahead[1] & 127);
                if self.ahead[0] & 15 == 8 {
                    return Ok(None);
                }
                if self.ahead.len() >= 2 + length {
                    return Ok(Some(self.ahead.drain(..2 + length).skip(2).collect()));
                }
            }
            match self.more().await {
                Ok(0) | Err(_) => return Ok(None),
                Ok(_) => {}
            }
        }
    }
}

impl Reply {
    fn take(&mut self, name: &str, value: &str) {
        match name.to_ascii_lowercase().as_str() {
            "x-release" => self.release = value.trim_start_matches('v').parse().unwrap_or(0),
            "x-dyno" => self.dyno = value.to_string(),
            "x-instance" => self.instance = value.to_string(),
            "connection" => self.closes = value.eq_ignore_ascii_case("close"),
            "content-length" => self.length = value.trim().parse().ok(),
            "transfer-encoding" => self.chunked = value.eq_ignore_ascii_case("chunked"),
            _ => {}
        }
    }
}
