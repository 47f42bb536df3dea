//! The connection to an attached one-off: this process's input, output and terminal are the
//! dyno's, until its command ends.

use super::failure::{Failure, INTERRUPTED, Result};
use super::terminal;
use crate::frames::{Codec, Frame, Writer};
use crate::limits;
use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::Upgraded;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::codec::FramedRead;

/// The key that interrupts, as a terminal in raw mode sends it.
const CTRL_C: u8 = 3;

/// Columns and rows of the terminal that standard output is.
pub fn window() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Ends as the dyno's command does: with its status.
pub async fn converse(connection: Upgraded, terminal: bool, dyno: &str) -> Result {
    let (reader, writer) = tokio::io::split(connection);
    let raw = if terminal { terminal::raw() } else { None };
    let end = tokio::select! {
        end = hear(reader, dyno) => end,
        failure = speak(Writer::new(writer), terminal) => Err(failure),
        status = ended() => Err(Failure::Exit(status)),
    };
    drop(raw);
    end
}

/// Writes out what the dyno says, to its end.
async fn hear(reader: ReadHalf<Upgraded>, dyno: &str) -> Result {
    let mut frames = FramedRead::with_capacity(reader, Codec, limits::ATTACH_PIECE_BYTES);
    let (mut out, mut err) = (stream(std::io::stdout())?, stream(std::io::stderr())?);
    while let Some(Ok(frame)) = frames.next().await {
        match frame {
            Frame::Data(bytes) => {
                out.write_all(&bytes).await.map_err(unwritten)?;
                out.flush().await.map_err(unwritten)?;
            }
            Frame::Stderr(bytes) => {
                // That nobody reads standard error is no reason to stop.
                let _ = err.write_all(&bytes).await;
                let _ = err.flush().await;
            }
            Frame::Exit(0) => return Ok(()),
            // As a shell's: eight bits of it.
            Frame::Exit(status) => return Err(Failure::Exit(status.to_le_bytes()[0].max(1))),
            Frame::Closed(reason) => return Err(Failure::refused(reason)),
            Frame::Alive | Frame::EndOfInput | Frame::Resize(..) => {}
        }
    }
    Err(Failure::with_hint(
        format!("The connection to {dyno} broke off."),
        "Its processes get SIGHUP, and most end of it. senryu ps shows whether it still runs.",
    ))
}

/// Sends input and window sizes. Ends only when the user hangs up.
async fn speak(mut writer: Writer<WriteHalf<Upgraded>>, terminal: bool) -> Failure {
    let mut input = match stream(std::io::stdin()) {
        Ok(input) => input,
        Err(failure) => return failure,
    };
    let mut buffer = vec![0; limits::ATTACH_PIECE_BYTES];
    let mut more = true;
    let mut interrupts: Vec<Instant> = Vec::new();
    let (resized, resumed) = (signal(SignalKind::window_change()), signal(CONTINUED));
    let (Ok(mut resized), Ok(mut resumed)) = (resized, resumed) else {
        return Failure::refused("Can't listen for signals");
    };
    loop {
        let frame = tokio::select! {
            read = input.read(&mut buffer), if more => match read {
                Ok(length) if length > 0 => {
                    if terminal && buffer[..length] == [CTRL_C] && hangs_up(&mut interrupts) {
                        return Failure::Exit(INTERRUPTED);
                    }
                    Frame::Data(Bytes::copy_from_slice(&buffer[..length]))
                }
                _ => {
                    more = false;
                    Frame::EndOfInput
                }
            },
            _ = resized.recv() => match window() {
                Some((columns, rows)) => Frame::Resize(columns, rows),
                None => continue,
            },
            _ = resumed.recv() => {
                // The shell has changed the terminal while we were stopped.
                if terminal {
                    terminal::raw_again();
                }
                continue;
            }
        };
        if writer.send(&frame).await.is_err() {
            // The other half says what became of the connection.
            std::future::pending::<()>().await;
        }
    }
}

/// SIGCONT, which tokio has no name for.
const CONTINUED: SignalKind = SignalKind::from_raw(nix::sys::signal::Signal::SIGCONT as i32);

/// Whether Ctrl-C was pressed four times within a second: a way out of a dyno that hears nothing.
fn hangs_up(interrupts: &mut Vec<Instant>) -> bool {
    let now = Instant::now();
    interrupts.retain(|at| now - *at < limits::HANG_UP_WITHIN);
    interrupts.push(now);
    interrupts.len() >= limits::HANG_UP_KEYS
}

/// Waits for a signal that ends us, so that the terminal is put back first.
async fn ended() -> u8 {
    let (Ok(mut terminate), Ok(mut hang_up)) =
        (signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => 143,
        _ = hang_up.recv() => 129,
    }
}

/// A standard stream whose reader or writer may wait without holding up the other directions.
fn stream(of: impl AsFd) -> Result<File> {
    match of.as_fd().try_clone_to_owned() {
        Ok(owned) => Ok(File::from_std(owned.into())),
        Err(error) => Err(Failure::refused(format!("Can't use a standard stream: {error}"))),
    }
}

fn unwritten(error: std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::Pipe,
        _ => Failure::refused(format!("Can't write to standard output: {error}")),
    }
}
