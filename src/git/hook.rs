//! `senryu git-hook pre-receive`, which git runs while the new objects are in quarantine: it tells
//! the server which push it is, shows what the server says, and exits as the server decides.

use super::process::{HOOK_SOCKET, PUSH_ID};
use crate::limits;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// What a frame carries; each is this byte, four bytes of length, the payload.
pub(super) mod frame {
    /// Hook to server: the push's id.
    pub const PUSH: u8 = b'p';
    /// `pre-receive`.
    pub const PHASE: u8 = b'h';
    /// `GIT_OBJECT_DIRECTORY`.
    pub const OBJECTS: u8 = b'o';
    /// `GIT_ALTERNATE_OBJECT_DIRECTORIES`.
    pub const ALTERNATES: u8 = b'a';
    /// Everything is said.
    pub const GO: u8 = b'g';
    /// Server to hook: to be shown.
    pub const TEXT: u8 = b'e';
    /// One byte, the exit status.
    pub const EXIT: u8 = b'x';
}

/// The longest payload of a frame: a piece of output, or a path.
pub(super) const MAX_FRAME: usize = limits::GIT_CHUNK_BYTES;

/// A frame in bytes.
pub(super) fn encode(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 5);
    out.push(kind);
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// The hook's whole life.
pub fn run(phase: &str) -> ExitCode {
    ExitCode::from(status(phase))
}

/// The exit status; 1 refuses the push.
pub(super) fn status(phase: &str) -> u8 {
    talk(phase).unwrap_or_else(|sentence| {
        show(format!(" !     {sentence}\n").as_bytes());
        1
    })
}

/// The error is a sentence for whoever pushed.
fn talk(phase: &str) -> Result<u8, String> {
    let (Some(socket), Some(push)) = (std::env::var_os(HOOK_SOCKET), std::env::var_os(PUSH_ID))
    else {
        return Err("This repository is Senryu's: push to it through Senryu.".to_string());
    };
    let stopped = |_| "The server stopped; push again.".to_string();
    let mut server = UnixStream::connect(&socket).map_err(stopped)?;
    let mut hello = encode(frame::PUSH, push.as_bytes());
    hello.extend(encode(frame::PHASE, phase.as_bytes()));
    if let Some(objects) = std::env::var_os("GIT_OBJECT_DIRECTORY") {
        hello.extend(encode(frame::OBJECTS, absolute(&objects).as_bytes()));
    }
    if let Some(list) = std::env::var_os("GIT_ALTERNATE_OBJECT_DIRECTORIES") {
        hello.extend(encode(frame::ALTERNATES, absolute_list(&list).as_bytes()));
    }
    hello.extend(encode(frame::GO, b""));
    server.write_all(&hello).map_err(stopped)?;
    loop {
        let mut head = [0; 5];
        server.read_exact(&mut head).map_err(stopped)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_FRAME {
            return Err("The server said what this hook does not know.".to_string());
        }
        let mut payload = vec![0; length];
        server.read_exact(&mut payload).map_err(stopped)?;
        match kind {
            frame::TEXT => show(&payload),
            frame::EXIT => return Ok(payload.first().copied().unwrap_or(1)),
            _ => {}
        }
    }
}

/// Git shows standard error as `remote:` lines. That it may be closed is no reason to stop.
fn show(bytes: &[u8]) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// The hook runs inside the repository, the server does not.
fn absolute(path: &OsString) -> OsString {
    std::path::absolute(path).map_or_else(|_| path.clone(), OsString::from)
}

/// A list is separated by colons; paths that hold one are quoted, and absolute already.
fn absolute_list(list: &OsString) -> OsString {
    if list.as_bytes().contains(&b'"') {
        return list.clone();
    }
    let paths = list.as_bytes().split(|b| *b == b':').filter(|path| !path.is_empty());
    let paths: Vec<Vec<u8>> =
        paths.map(|path| absolute(&OsString::from_vec(path.to_vec())).into_vec()).collect();
    OsString::from_vec(paths.join(&b':'))
}
