//! What `git receive-pack` and the deploy say, passed on to the client: messages at once, the
//! report of refs when it is whole, with the reasons in it that only the server knows. The packet
//! that ends the side-band is kept back, since the deploy has more to say.

use super::client::Client;
use super::pktline::{self, Packet};
use crate::limits;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

/// The words of git's report for a shallow push.
const SHALLOW: &str = "shallow update not allowed";
const HOOK_DECLINED: &str = "pre-receive hook declined";

/// What went by.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Git told the client what became of its refs.
    pub reported: bool,
    /// By that report, the ref that was asked about has moved.
    pub moved: bool,
}

/// Reads git's output to its end, with what the deploy has `said` before it, and notes whether
/// `awaited` moved. `reason` gives other words for a ref that our hook declined; it is asked once
/// the report is there.
pub async fn relay(
    mut output: impl AsyncRead + Unpin,
    mut said: Option<mpsc::Receiver<Bytes>>,
    client: &mut Client,
    awaited: Option<&str>,
    reason: impl Fn(&str) -> Option<&'static str>,
) -> std::io::Result<Relayed> {
    let mut buffer = BytesMut::with_capacity(limits::GIT_CHUNK_BYTES);
    let mut report = BytesMut::new();
    let mut relayed = Relayed::default();
    loop {
        buffer.reserve(limits::GIT_CHUNK_BYTES);
        let deploy = async {
            match &mut said {
                Some(said) => said.recv().await,
                None => None,
            }
        };
        tokio::select! {
            // Git reports what became of its refs once the deploy has said everything.
            biased;
            Some(chunk) = deploy => {
                client.remote(&chunk).await;
                continue;
            }
            read = output.read_buf(&mut buffer) => {
                if read? == 0 {
                    break;
                }
            }
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
        if let Some(whole) = rewrite(&report, awaited, &reason) {
            report.clear();
            relayed.reported = true;
            relayed.moved |= whole.moved;
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
    moved: bool,
}

/// The report with our reasons, if it has come to its end.
fn rewrite(
    report: &BytesMut,
    awaited: Option<&str>,
    reason: impl Fn(&str) -> Option<&'static str>,
) -> Option<Report> {
    let mut rest = report.clone();
    let mut out = Report { bytes: Vec::with_capacity(report.len()), shallow: false, moved: false };
    loop {
        match pktline::take(&mut rest) {
            Ok(Some(Packet::Data(line))) => {
                let text = String::from_utf8_lossy(&line);
                let moved = text.strip_prefix("ok ").map(str::trim_end);
                out.moved |= moved.is_some() && moved == awaited;
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

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn report(lines: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines {
            pktline::put(&mut out, line.as_bytes());
        }
        out.extend_from_slice(pktline::FLUSH);
        out
    }

    /// What the client gets of git's `output`, when `main` is declined for being behind.
    async fn relayed(output: &[u8], band: Option<usize>) -> (String, std::io::Result<Relayed>) {
        let (mut client, body) = Client::new(band);
        let reason = |git_ref: &str| (git_ref == "refs/heads/main").then_some("fetch first");
        let relayed = relay(output, None, &mut client, Some("refs/heads/other"), reason).await;
        drop(client);
        let bytes = body.collect().await.unwrap().to_bytes();
        (String::from_utf8_lossy(&bytes).into_owned(), relayed)
    }

    #[tokio::test]
    async fn a_report_in_pieces_is_told_whole_and_in_our_words() {
        let report = report(&[
            "unpack ok\n",
            "ok refs/heads/other\n",
            "ng refs/heads/main pre-receive hook declined\n",
        ]);
        let (mut output, mut expected) = (Vec::new(), Vec::new());
        pktline::put_band(&mut output, 2, b"hello\n", 1000);
        for piece in report.chunks(7) {
            pktline::put_band(&mut output, 1, piece, 1000);
        }
        output.extend_from_slice(b"0005\x020000");
        let whole = self::report(&[
            "unpack ok\n",
            "ok refs/heads/other\n",
            "ng refs/heads/main fetch first\n",
        ]);
        pktline::put_band(&mut expected, 2, b"hello\n", 1000);
        expected.extend_from_slice(b"0005\x02");
        pktline::put_band(&mut expected, 1, &whole, 1000);
        let (said, relayed) = relayed(&output, Some(1000)).await;
        assert_eq!(said, String::from_utf8(expected).unwrap());
        assert_eq!(relayed.unwrap(), Relayed { reported: true, moved: true });
    }

    #[tokio::test]
    async fn what_the_deploy_has_said_comes_whole_and_before_the_report() {
        let (mut client, body) = Client::new(Some(65_520));
        let (say, said) = mpsc::channel(2);
        let words = vec![b'x'; 60_000];
        say.send(Bytes::from(words.clone())).await.unwrap();
        let report = report(&["unpack ok\n", "ok refs/heads/main\n"]);
        let (mut output, mut expected) = (Vec::new(), Vec::new());
        pktline::put_band(&mut output, 1, &report, 1000);
        let relayed = relay(&output[..], Some(said), &mut client, None, |_| None).await.unwrap();
        assert!(relayed.reported);
        drop(client);
        pktline::put_band(&mut expected, 2, &words, 65_520);
        pktline::put_band(&mut expected, 1, &report, 1000);
        assert_eq!(body.collect().await.unwrap().to_bytes(), expected);
    }

    #[tokio::test]
    async fn a_client_without_side_band_gets_the_bare_report() {
        let output = report(&["unpack ok\n", "ng refs/heads/main pre-receive hook declined\n"]);
        let (said, relayed) = relayed(&output, None).await;
        assert_eq!(said, "000eunpack ok\n0023ng refs/heads/main fetch first\n0000");
        assert_eq!(relayed.unwrap(), Relayed { reported: true, moved: false });
    }

    #[tokio::test]
    async fn output_that_breaks_off_or_is_no_packet_is_no_report() {
        let whole = report(&["unpack ok\n"]);
        let mut output = Vec::new();
        pktline::put_band(&mut output, 1, &whole[..whole.len() - 4], 1000);
        assert!(!relayed(&output, Some(1000)).await.1.unwrap().reported);
        assert!(relayed(b"fatal: what?", Some(1000)).await.1.is_err());
    }
}
