//! What `git receive-pack` says, passed on to the client: messages at once, the report of refs
//! when it is whole, with the reasons in it that only the server knows. The packet that ends the
//! side-band is kept back, since the deploy has more to say.

use super::client::Client;
use super::pktline::{self, Packet};
use crate::limits;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The words of git's report for a shallow push.
const SHALLOW: &str = "shallow update not allowed";
const HOOK_DECLINED: &str = "pre-receive hook declined";

/// What went by.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Git told the client what became of its refs.
    pub reported: bool,
}

/// Reads git's output to its end. `reason` gives other words for a ref that our hook declined;
/// it is asked once the report is there.
pub async fn relay(
    mut output: impl AsyncRead + Unpin,
    client: &mut Client,
    reason: impl Fn(&str) -> Option<&'static str>,
) -> std::io::Result<Relayed> {
    let mut buffer = BytesMut::with_capacity(limits::GIT_CHUNK_BYTES);
    let mut report = BytesMut::new();
    let mut relayed = Relayed::default();
    loop {
        buffer.reserve(limits::GIT_CHUNK_BYTES);
        if output.read_buf(&mut buffer).await? == 0 {
            break;
        }
        if client.band().is_none() {
            report.extend_from_slice(&buffer.split());
        }
        while client.band().is_some() {
            match pktline::take(&mut buffer).map_err(std::io::Error::other)? {
                Some(Packet::Data(data)) => match data.split_first() {
                    Some((1, part)) => report.extend_from_slice(part),
                    Some((_, [])) => client.keep_alive().await,
                    Some((band, part)) => {
                        let mut out = Vec::with_capacity(part.len() + 5);
                        pktline::put_band(&mut out, *band, part, part.len() + 5);
                        client.raw(out).await;
                    }
                    None => {}
                },
                Some(Packet::Flush | Packet::Mark) => {}
                None => break,
            }
        }
        if report.len() > 2 * limits::PUSH_COMMANDS_BYTES {
            return Err(std::io::Error::other("git's report of refs is too long"));
        }
        if let Some(whole) = rewrite(&report, &reason) {
            report.clear();
            relayed.reported = true;
            if whole.shallow {
                client.line(SHALLOW_HINT).await;
            }
            client.report(&whole.bytes).await;
        }
    }
    Ok(relayed)
}

/// Heroku's words.
const SHALLOW_HINT: &str = " !\tPush rejected, source repository is a shallow clone. Unshallow it \
                            with `git fetch --all --unshallow` and try pushing again.";

struct Report {
    bytes: Vec<u8>,
    shallow: bool,
}

/// The report with our reasons, if it has come to its end.
fn rewrite(report: &BytesMut, reason: impl Fn(&str) -> Option<&'static str>) -> Option<Report> {
    let mut rest = report.clone();
    let mut out = Report { bytes: Vec::with_capacity(report.len()), shallow: false };
    loop {
        match pktline::take(&mut rest) {
            Ok(Some(Packet::Data(line))) => {
                let text = String::from_utf8_lossy(&line);
                let refused = text.strip_prefix("ng ").and_then(|text| text.split_once(' '));
                out.shallow |= refused.is_some_and(|(_, why)| why.trim_end() == SHALLOW);
                let ours = refused
                    .filter(|(_, why)| why.trim_end() == HOOK_DECLINED)
                    .and_then(|(git_ref, _)| Some((git_ref, reason(git_ref)?)));
                match ours {
                    Some((git_ref, why)) => {
                        pktline::put(&mut out.bytes, format!("ng {git_ref} {why}\n").as_bytes());
                    }
                    None => pktline::put(&mut out.bytes, &line),
                }
            }
            Ok(Some(Packet::Flush)) => {
                out.bytes.extend_from_slice(pktline::FLUSH);
                return Some(out);
            }
            Ok(Some(Packet::Mark)) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}
