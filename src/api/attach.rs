//! An attached one-off over an HTTP upgrade: frames of our own, so that window size, end of input,
//! standard error and exit status all have a place. `frames.rs` has their form. What Heroku's own
//! client speaks instead is `rendezvous.rs`.

use super::auth::State;
use super::error::Result;
use super::rendezvous;
use crate::apps::access::Action;
use crate::dynos::one_off::{Input, Said, Session};
use crate::error::Error;
use crate::frames::{self, Codec, Frame, PROTOCOL, RENDEZVOUS};
use crate::model::WindowSize;
use crate::{limits, tasks};
use axum::extract::{self, Path, Request};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use futures_util::StreamExt;
use hyper_util::rt::TokioIo;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::codec::FramedRead;

/// Without a token: the address itself is the secret, as on Heroku, and it is good for one client.
pub async fn attach(
    extract::State(api): State,
    Path(secret): Path<String>,
    mut request: Request,
) -> Result {
    let asked = request.headers().get(header::UPGRADE).and_then(|asked| asked.to_str().ok());
    let known = [PROTOCOL, RENDEZVOUS].into_iter().find(|known| asked == Some(*known));
    let Some(protocol) = known else {
        return Err(Error::bad_request(format!(
            "A dyno is attached by an HTTP upgrade to {PROTOCOL}, as senryu run does"
        ))
        .into());
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let session = api.dynos.attach(&secret)?;
    tasks::spawn("attached client", async move {
        let revoked = api.access.until_revoked(session.user, session.app, Action::Run);
        let attached = async {
            match upgrade.await {
                Ok(client) if protocol == RENDEZVOUS => {
                    rendezvous::converse(TokioIo::new(client), session).await;
                }
                Ok(client) => converse(TokioIo::new(client), session).await,
                Err(error) => tracing::info!(%error, "a client left before it was attached"),
            }
        };
        // With the session that is dropped, the client is lost.
        tokio::select! {
            () = attached => {}
            () = revoked => tracing::info!("a client was detached: its user may not run commands"),
        }
    });
    let headers = [(header::CONNECTION, "Upgrade"), (header::UPGRADE, protocol)];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

type Reader<T> = FramedRead<ReadHalf<T>, Codec>;
type Writer<T> = frames::Writer<WriteHalf<T>>;

async fn converse<T: AsyncRead + AsyncWrite>(client: T, session: Session) {
    let (reader, writer) = tokio::io::split(client);
    let mut reader = FramedRead::with_capacity(reader, Codec, limits::ATTACH_PIECE_BYTES);
    let mut writer = frames::Writer::new(writer);
    let Session { input, mut output, window, closed, gone: _gone, .. } = session;
    let listen = listen(&mut reader, input, window);
    let said = tokio::select! {
        // The client has left, or does not keep to the protocol.
        () = listen => false,
        said = speak(&mut writer, &mut output) => said.is_ok(),
        () = closed.cancelled() => say_why(&mut writer, &mut output).await,
    };
    if said {
        linger(reader).await;
    }
}

/// Passes on what the client sends, until it leaves.
async fn listen<T: AsyncRead + AsyncWrite>(
    reader: &mut Reader<T>,
    input: mpsc::Sender<Input>,
    window: watch::Sender<Option<WindowSize>>,
) {
    while let Some(Ok(frame)) = reader.next().await {
        // A process that has ended takes no more input; how it ended is still to be said.
        match frame {
            Frame::Data(bytes) => drop(input.send(Input::Data(bytes)).await),
            Frame::EndOfInput => drop(input.send(Input::End).await),
            Frame::Resize(columns, rows) => drop(window.send(Some(WindowSize { columns, rows }))),
            Frame::Alive => {}
            Frame::Stderr(_) | Frame::Exit(_) | Frame::Closed(_) => return,
        }
    }
}

/// Tells the client what the dyno says, to the end.
async fn speak<T: AsyncRead + AsyncWrite>(
    writer: &mut Writer<T>,
    output: &mut mpsc::Receiver<Said>,
) -> io::Result<()> {
    loop {
        let said = match output.try_recv() {
            Ok(said) => said,
            // What is there goes out together, and now.
            Err(_) => {
                writer.flush().await?;
                match timeout(limits::ATTACH_ALIVE, output.recv()).await {
                    Ok(Some(said)) => said,
                    Ok(None) => return Err(io::ErrorKind::BrokenPipe.into()),
                    Err(_) => {
                        writer.send(&Frame::Alive).await?;
                        continue;
                    }
                }
            }
        };
        match said {
            Said::Output(piece) if piece.stderr => writer.feed(&Frame::Stderr(piece.bytes)).await?,
            Said::Output(piece) => writer.feed(&Frame::Data(piece.bytes)).await?,
            Said::Ended(code) => {
                let status = i32::try_from(code).unwrap_or(i32::MAX);
                return writer.send(&Frame::Exit(status)).await;
            }
            Said::Closed(reason) => return writer.send(&Frame::Closed(reason)).await,
        }
    }
}

/// The dyno's end has closed: the reason is the last that it said.
async fn say_why<T: AsyncRead + AsyncWrite>(
    writer: &mut Writer<T>,
    output: &mut mpsc::Receiver<Said>,
) -> bool {
    while let Ok(said) = output.try_recv() {
        if let Said::Closed(reason) = said {
            let last = Frame::Closed(reason);
            let said = timeout(limits::ATTACH_LINGER, writer.send(&last));
            return matches!(said.await, Ok(Ok(())));
        }
    }
    false
}

/// Reads and drops what the client still sends: a connection that is closed with bytes unread is
/// reset, and the client would never read the last frame.
async fn linger<T: AsyncRead + AsyncWrite>(mut reader: Reader<T>) {
    let rest = async { while let Some(Ok(_)) = reader.next().await {} };
    let _ = timeout(limits::ATTACH_LINGER, rest).await;
}
