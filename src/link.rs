//! What server and router say to each other: the snapshot one way, notices and log lines the
//! other, and the public listeners as descriptors, which both keep open so that neither ever has
//! to close and reopen one. Frames on a Unix stream: length, then JSON or a batch of log lines.

use crate::limits;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use uuid::Uuid;

/// Goes up when a frame changes its meaning.
pub const PROTOCOL: u32 = 1;

/// The router's socket in its directory.
pub fn socket(router_dir: &Path) -> PathBuf {
    router_dir.join("link.sock")
}

/// Where requests go: all the router knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Chosen by the server; [`ToServer::Applied`] names it.
    pub version: u64,
    pub apps: Vec<RoutedApp>,
    /// Host names in lower case without port, to the app's id. `*.example.com` stands for every
    /// name below `example.com` that has no entry of its own.
    pub hosts: BTreeMap<String, Uuid>,
    /// What the names of all apps end in. No wildcard from above it reaches below it: a name there
    /// that no app has is nobody's.
    #[serde(default)]
    pub apps_domain: String,
    /// Names of the server itself beside `localhost`, `127.0.0.1` and `[::1]`.
    pub control_hosts: Vec<String>,
    /// Where clients find the listener with TLS, if there is one.
    #[serde(default)]
    pub https_port: Option<u16>,
    /// Whoever comes from another machine reaches the server by TLS only.
    #[serde(default)]
    pub control_by_https: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutedApp {
    pub id: Uuid,
    pub name: String,
    pub state: RoutedState,
    /// Dynos are on their way: a request that finds no target waits for them.
    #[serde(default)]
    pub starting: bool,
    #[serde(default)]
    pub targets: Vec<WebTarget>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_page_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_page_url: Option<String>,
    /// A request without TLS is sent to the same address with it.
    #[serde(default)]
    pub https_redirect: bool,
    /// Answers by TLS tell browsers to stay with it.
    #[serde(default)]
    pub hsts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoutedState {
    /// Nothing was ever deployed: H81.
    Blank,
    /// No `web` type, or its quantity is 0: H14.
    NoWeb,
    /// Every web dyno has crashed: H10.
    Crashed,
    /// H80. Targets may be listed still; they get no request.
    Maintenance,
    /// Requests go to `targets`.
    Dynos,
}

/// A web dyno that listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebTarget {
    /// The container's id: two dynos that follow each other as `web.1` differ in it.
    pub id: String,
    /// `web.1`.
    pub dyno: String,
    pub addr: SocketAddr,
}

/// A certificate with its key, and the host names that it is served for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Whose it is; a renewed certificate keeps it.
    pub endpoint: String,
    pub names: Vec<String>,
    /// PEM, the host's own certificate first.
    pub chain: String,
    /// PEM.
    pub key: Secret,
}

/// What authorities are shown to prove that names are ours.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Proofs {
    /// Answers by token, for HTTP-01.
    pub http: BTreeMap<String, String>,
    /// For TLS-ALPN-01; the endpoint is the token.
    pub tls: Vec<Certificate>,
}

/// Text that no log may show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// The listener without TLS, and the one with it.
pub const HTTP: &str = "http";
pub const HTTPS: &str = "https";

/// A listener by name (`http`, `https`) and its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerName {
    pub name: String,
    pub addr: SocketAddr,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToRouter {
    /// The first frame. The router answers with its own.
    Hello {
        protocol: u32,
    },
    /// Their descriptors follow. One that has the name of another takes its place.
    Listeners {
        listeners: Vec<ListenerName>,
    },
    /// Listeners of these names are not wanted any more.
    Close {
        names: Vec<String>,
    },
    /// All certificates there are: those of before are forgotten.
    Certificates {
        version: u64,
        certificates: Vec<Certificate>,
    },
    /// All proofs there are.
    Proofs {
        version: u64,
        proofs: Proofs,
    },
    Snapshot {
        snapshot: Snapshot,
    },
    /// Which of these are idle? One `Drained` for each that is and that no snapshot lists.
    Query {
        targets: Vec<String>,
    },
}

/// [`ToRouter::Snapshot`] without a copy of the snapshot.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "snapshot")]
pub struct SnapshotRef<'s> {
    pub snapshot: &'s Snapshot,
}

/// [`ToRouter::Certificates`] likewise.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "certificates")]
pub struct CertificatesRef<'s> {
    pub version: u64,
    pub certificates: &'s [Certificate],
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToServer {
    /// The router has these listeners; their descriptors follow unless there are none.
    Hello {
        protocol: u32,
        pid: u32,
        listeners: Vec<ListenerName>,
        /// It takes certificates and the listener that needs them.
        #[serde(default)]
        tls: bool,
        /// It shows proofs.
        #[serde(default)]
        proofs: bool,
    },
    /// Whoever asks after this is shown the proofs of that version.
    Shows { version: u64 },
    /// Handshakes that begin after this are held with the certificates of that version.
    Certified { version: u64 },
    /// No request that begins after this goes to a target outside that snapshot.
    Applied { version: u64 },
    /// A target that left the snapshot has no ordinary request in flight any more. WebSockets
    /// may be open on it still.
    Drained { target: String },
}

/// A router log line of an app, or the number of lines that were lost for want of room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouterLog {
    Line { app: Uuid, at_micros: i64, text: String },
    Lost { app: Uuid, at_micros: i64, lines: u64 },
}

/// A frame as it arrived.
#[derive(Debug)]
pub enum Frame<T> {
    Message(T),
    Logs(Vec<RouterLog>),
}

const KIND_JSON: u8 = b'{';
const KIND_LOGS: u8 = b'L';
const RECORD_LINE: u8 = 0;
const RECORD_LOST: u8 = 1;

/// Writes a message.
pub async fn send<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), message: &T) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message).map_err(io::Error::other)?;
    finish(&mut frame)?;
    to.write_all(&frame).await
}

/// Writes log records that [`put_line`] and [`put_lost`] made.
pub async fn send_logs(to: &mut (impl AsyncWrite + Unpin), records: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(records.len() + 5);
    frame.extend_from_slice(&[0, 0, 0, 0, KIND_LOGS]);
    frame.extend_from_slice(records);
    finish(&mut frame)?;
    to.write_all(&frame).await
}

fn finish(frame: &mut [u8]) -> io::Result<()> {
    let length = frame.len() - 4;
    if length > limits::LINK_FRAME_BYTES {
        return Err(io::Error::other(format!(
            "a frame of {length} bytes is too long for the link"
        )));
    }
    frame[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    Ok(())
}

/// Reads the next frame. Never reads beyond it, since descriptors may follow.
pub async fn receive<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<Frame<T>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length == 0 || length > limits::LINK_FRAME_BYTES {
        return Err(io::Error::other(format!("a frame of {length} bytes on the link")));
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame).await?;
    match frame[0] {
        KIND_JSON => Ok(Frame::Message(serde_json::from_slice(&frame).map_err(io::Error::other)?)),
        KIND_LOGS => Ok(Frame::Logs(read_logs(&frame[1..])?)),
        kind => Err(io::Error::other(format!("a frame of unknown kind {kind} on the link"))),
    }
}

/// Appends a line's record: kind, app, time, length, and the text that `write` appends.
pub fn put_line(
    records: &mut Vec<u8>,
    app: Uuid,
    at_micros: i64,
    write: impl FnOnce(&mut Vec<u8>),
) {
    records.push(RECORD_LINE);
    records.extend_from_slice(app.as_bytes());
    records.extend_from_slice(&at_micros.to_be_bytes());
    let length_at = records.len();
    records.extend_from_slice(&[0; 4]);
    write(records);
    let length = records.len() - length_at - 4;
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    records[length_at..length_at + 4].copy_from_slice(&length);
}

/// Appends a record that counts lost lines.
pub fn put_lost(records: &mut Vec<u8>, app: Uuid, at_micros: i64, lines: u64) {
    records.push(RECORD_LOST);
    records.extend_from_slice(app.as_bytes());
    records.extend_from_slice(&at_micros.to_be_bytes());
    records.extend_from_slice(&8_u32.to_be_bytes());
    records.extend_from_slice(&lines.to_be_bytes());
}

/// Reads records back; used for counting what a ring drops, too.
pub fn read_logs(mut records: &[u8]) -> io::Result<Vec<RouterLog>> {
    const HEAD: usize = 1 + 16 + 8 + 4;
    let short = || io::Error::other("a log record on the link is cut short");
    let mut logs = Vec::new();
    while !records.is_empty() {
        let (head, rest) = records.split_at_checked(HEAD).ok_or_else(short)?;
        let app = Uuid::from_slice(&head[1..17]).map_err(io::Error::other)?;
        let at_micros = i64::from_be_bytes(head[17..25].try_into().map_err(io::Error::other)?);
        let length = u32::from_be_bytes(head[25..29].try_into().map_err(io::Error::other)?);
        let (text, rest) = rest.split_at_checked(length as usize).ok_or_else(short)?;
        logs.push(match head[0] {
            RECORD_LINE => {
                RouterLog::Line { app, at_micros, text: String::from_utf8_lossy(text).into_owned() }
            }
            _ => RouterLog::Lost {
                app,
                at_micros,
                lines: text.try_into().map(u64::from_be_bytes).unwrap_or(0),
            },
        });
        records = rest;
    }
    Ok(logs)
}

/// Sends descriptors behind the frame that announces them, carried by one byte.
pub async fn send_descriptors(to: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if descriptors.is_empty() {
        return Ok(());
    }
    to.async_io(Interest::WRITABLE, || {
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(limits::LINK_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many listeners for the link"));
        }
        let carried = [IoSlice::new(b"F")];
        rustix::net::sendmsg(to.as_fd(), &carried, &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    })
    .await
}

/// Takes `count` descriptors that were announced.
pub async fn receive_descriptors(from: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let descriptors = from
        .async_io(Interest::READABLE, || {
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(limits::LINK_DESCRIPTORS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let mut carrier = [IoSliceMut::new(&mut byte)];
            let got = rustix::net::recvmsg(from.as_fd(), &mut carrier, &mut control, flags)?;
            if got.bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut descriptors = Vec::new();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(passed) = message {
                    descriptors.extend(passed);
                }
            }
            Ok(descriptors)
        })
        .await?;
    if descriptors.len() != count {
        let got = descriptors.len();
        return Err(io::Error::other(format!("{count} listeners were announced, {got} came")));
    }
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[tokio::test]
    async fn frames_and_descriptors_arrive_in_order() {
        let (mut left, mut right) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let name = ListenerName { name: "http".into(), addr };
        send(&mut left, &ToRouter::Listeners { listeners: vec![name.clone()] }).await.unwrap();
        send_descriptors(&left, &[listener.as_fd()]).await.unwrap();
        send(&mut left, &ToRouter::Query { targets: vec!["c1".into()] }).await.unwrap();

        let Frame::Message(ToRouter::Listeners { listeners }) = receive(&mut right).await.unwrap()
        else {
            panic!("no listeners");
        };
        assert_eq!(listeners, [name]);
        let got = receive_descriptors(&right, 1).await.unwrap().pop().unwrap();
        assert_eq!(TcpListener::from(got).local_addr().unwrap(), addr);
        let Frame::Message(ToRouter::Query { targets }) = receive(&mut right).await.unwrap() else {
            panic!("no query");
        };
        assert_eq!(targets, ["c1"]);
    }

    #[tokio::test]
    async fn log_records_keep_their_text() {
        let app = Uuid::new_v4();
        let mut records = Vec::new();
        put_line(&mut records, app, 17, |text| text.extend_from_slice(b"at=info path=\"/\""));
        put_lost(&mut records, app, 18, 4);
        let (mut left, mut right) = UnixStream::pair().unwrap();
        send_logs(&mut left, &records).await.unwrap();
        let Frame::Logs(logs) = receive::<ToServer>(&mut right).await.unwrap() else {
            panic!("no logs");
        };
        let text = "at=info path=\"/\"".to_string();
        assert_eq!(logs[0], RouterLog::Line { app, at_micros: 17, text });
        assert_eq!(logs[1], RouterLog::Lost { app, at_micros: 18, lines: 4 });
    }

    #[test]
    fn a_key_shows_in_no_log() {
        let certificate = Certificate {
            endpoint: "one".into(),
            names: vec!["www.example.com".into()],
            chain: String::new(),
            key: Secret("hidden".into()),
        };
        let message = ToRouter::Certificates { version: 1, certificates: vec![certificate] };
        let shown = format!("{message:?}");
        assert!(shown.contains("www.example.com") && !shown.contains("hidden"), "{shown}");
    }

    #[tokio::test]
    async fn a_frame_longer_than_the_bound_is_refused() {
        let (mut left, mut right) = UnixStream::pair().unwrap();
        left.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        assert!(receive::<ToServer>(&mut right).await.is_err());
    }
}
