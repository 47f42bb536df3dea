//! An attached one-off as Heroku's own client speaks to it: bytes both ways and nothing else. The
//! router shakes hands with that client and upgrades to this; `router/rendezvous.rs` has the rest.

use crate::dynos::one_off::{Input, Said, Session};
use crate::limits;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

/// Begins the line in which Heroku's client is told the exit status: U+FFFF.
const MARK: [u8; 3] = [0xEF, 0xBF, 0xBF];

/// Carries input and output until either end closes. The exit status is not in this protocol: a
/// client that wants it has the command print it.
pub async fn converse<T: AsyncRead + AsyncWrite>(client: T, session: Session) {
    let (mut reader, mut writer) = tokio::io::split(client);
    let Session { input, mut output, closed, terminal, window: _window, gone: _gone, .. } = session;
    let said = tokio::select! {
        () = listen(&mut reader, input, terminal) => false,
        () = speak(&mut writer, &mut output) => true,
        () = closed.cancelled() => say_why(&mut writer, &mut output).await,
    };
    if said {
        // What is left unread would reset the connection, and the last output with it.
        let linger = async {
            if writer.shutdown().await.is_ok() {
                let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
            }
        };
        let _ = tokio::time::timeout(limits::ATTACH_LINGER, linger).await;
    }
}

/// Passes on what the client sends, until it leaves. It has no way to close one half: without a
/// terminal, the character that ends input there is its last. Since any piece of a binary input
/// may end in that character, it is held back until the client has sent nothing for a moment.
async fn listen<T: AsyncRead + AsyncWrite>(
    reader: &mut ReadHalf<T>,
    input: mpsc::Sender<Input>,
    terminal: bool,
) {
    let mut buffer = BytesMut::with_capacity(limits::ATTACH_PIECE_BYTES);
    loop {
        let is_held = !buffer.is_empty();
        let read = reader.read_buf(&mut buffer);
        let read = match is_held {
            true => tokio::time::timeout(limits::RENDEZVOUS_END, read).await.unwrap_or(Ok(0)),
            false => read.await,
        };
        let left = !matches!(read, Ok(length) if length > 0);
        if is_held && left {
            buffer.clear();
            drop(input.send(Input::End).await);
            continue;
        }
        if left {
            return;
        }
        let may_end = !terminal && buffer.last() == Some(&limits::END_OF_TRANSMISSION);
        let bytes = buffer.split_to(buffer.len() - usize::from(may_end)).freeze();
        // A process that has ended takes no more input; its output may still be on its way.
        if !bytes.is_empty() {
            drop(input.send(Input::Data(bytes)).await);
        }
        buffer.reserve(limits::ATTACH_PIECE_BYTES);
    }
}

/// Tells the client what the dyno says, to the end.
async fn speak<T: AsyncRead + AsyncWrite>(
    writer: &mut WriteHalf<T>,
    output: &mut mpsc::Receiver<Said>,
) {
    while let Some(said) = output.recv().await {
        let sent = match said {
            Said::Output(piece) => send(writer, piece.bytes).await,
            Said::Closed(reason) => send(writer, words(&reason)).await,
            Said::Ended(_) => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// The dyno's end has closed: the reason is the last that it said.
async fn say_why<T: AsyncRead + AsyncWrite>(
    writer: &mut WriteHalf<T>,
    output: &mut mpsc::Receiver<Said>,
) -> bool {
    while let Ok(said) = output.try_recv() {
        if let Said::Closed(reason) = said {
            return send(writer, words(&reason)).await.is_ok();
        }
    }
    false
}

fn words(reason: &str) -> Bytes {
    Bytes::from(format!(" !     {reason}\r\n"))
}

/// The client looks for the exit status in each chunk that it receives, so that its line must not
/// share one with what came before.
async fn send<T: AsyncRead + AsyncWrite>(
    writer: &mut WriteHalf<T>,
    mut bytes: Bytes,
) -> std::io::Result<()> {
    if let Some(place) = bytes.windows(MARK.len()).position(|window| window == MARK) {
        writer.write_all(&bytes.split_to(place)).await?;
        writer.flush().await?;
        tokio::time::sleep(limits::RENDEZVOUS_PAUSE).await;
    }
    writer.write_all(&bytes).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Output;
    use tokio_util::sync::CancellationToken;

    struct Bench {
        client: tokio::io::DuplexStream,
        input: mpsc::Receiver<Input>,
        output: mpsc::Sender<Said>,
        closed: CancellationToken,
    }

    fn bench(terminal: bool) -> Bench {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let (to_dyno, input) = mpsc::channel(8);
        let (output, from_dyno) = mpsc::channel(8);
        let closed = CancellationToken::new();
        let session = Session {
            app: crate::model::AppId::random(),
            user: crate::model::UserId::random(),
            input: to_dyno,
            output: from_dyno,
            window: tokio::sync::watch::channel(None).0,
            closed: closed.clone(),
            terminal,
            gone: CancellationToken::new().drop_guard(),
        };
        crate::tasks::spawn("client", converse(server, session));
        Bench { client, input, output, closed }
    }

    fn output(text: &str, stderr: bool) -> Said {
        Said::Output(Output { bytes: Bytes::copy_from_slice(text.as_bytes()), stderr })
    }

    #[tokio::test(start_paused = true)]
    async fn output_of_both_kinds_arrives_and_the_status_has_a_chunk_of_its_own() {
        let mut bench = bench(true);
        bench.output.send(output("one\r\n", false)).await.unwrap();
        bench
            .output
            .send(output("two\r\n\u{ffff} heroku-command-exit-status: 7\r\n", true))
            .await
            .unwrap();
        bench.output.send(Said::Ended(7)).await.unwrap();
        let mut chunks = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            match bench.client.read(&mut buffer).await.unwrap() {
                0 => break,
                length => chunks.push(String::from_utf8_lossy(&buffer[..length]).into_owned()),
            }
        }
        assert_eq!(chunks.concat(), "one\r\ntwo\r\n\u{ffff} heroku-command-exit-status: 7\r\n");
        assert_eq!(chunks.last().unwrap(), "\u{ffff} heroku-command-exit-status: 7\r\n");
    }

    #[tokio::test]
    async fn the_end_of_input_is_a_character_that_a_terminal_keeps() {
        for terminal in [true, false] {
            let mut bench = bench(terminal);
            bench.client.write_all(b"a line\n\x04").await.unwrap();
            let Some(Input::Data(bytes)) = bench.input.recv().await else { panic!() };
            match terminal {
                true => assert_eq!(bytes, "a line\n\x04"),
                false => {
                    assert_eq!(bytes, "a line\n");
                    assert!(matches!(bench.input.recv().await, Some(Input::End)));
                }
            }
        }
    }

    /// Whatever came in one read with such a character at its end was taken for all there is.
    #[tokio::test(start_paused = true)]
    async fn the_character_that_ends_input_is_data_when_more_follows() {
        let mut bench = bench(false);
        let pieces: [(&[u8], &[u8]); 3] =
            [(b"a\x04", b"a"), (b"b\x04", b"\x04b"), (b"\x04\x04", b"\x04\x04")];
        for (sent, expected) in pieces {
            bench.client.write_all(sent).await.unwrap();
            let Some(Input::Data(bytes)) = bench.input.recv().await else { panic!("{sent:?}") };
            assert_eq!(bytes, expected);
        }
        let began = tokio::time::Instant::now();
        assert!(matches!(bench.input.recv().await, Some(Input::End)));
        assert!(began.elapsed() >= limits::RENDEZVOUS_END);
        // A client that leaves has nothing more to say either.
        bench.client.write_all(b"c\x04").await.unwrap();
        drop(bench.client);
        assert!(matches!(bench.input.recv().await, Some(Input::Data(bytes)) if bytes == "c"));
        assert!(matches!(bench.input.recv().await, Some(Input::End)));
        assert!(bench.input.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_dyno_that_could_not_start_says_why_before_the_end() {
        let mut bench = bench(true);
        bench.output.send(Said::Closed("No room".to_string())).await.unwrap();
        bench.closed.cancel();
        drop(bench.output);
        let mut said = String::new();
        bench.client.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, " !     No room\r\n");
    }
}
