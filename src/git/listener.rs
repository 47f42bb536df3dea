//! The server's end of the hook's socket. The deploy runs in a task of its own, so that the hook's
//! death does not end it. What it says goes to the client beside git, which would pass a hook's
//! words on in packets of 128 bytes.

use super::GitHost;
use super::hook::{self, frame};
use super::receive::{Running, Verdict};
use crate::error::{Context, Result};
use crate::{limits, tasks};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use uuid::Uuid;

impl GitHost {
    /// Binds the hook's socket and serves it from now on.
    pub async fn start_hooks_listener(self: &Arc<Self>) -> Result<()> {
        let path = self.socket();
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).context(format!("{} cannot be made", dir.display()))?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).context(format!("{} is in the way", path.display()));
            }
            _ => {}
        }
        let listener = UnixListener::bind(path)
            .context(format!("the hook's socket {} cannot be made", path.display()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .context(format!("{} cannot be closed to others", path.display()))?;
        let host = self.clone();
        tasks::spawn("git hooks", async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let host = host.clone();
                        tasks::spawn("git hook", async move { host.serve_hook(stream).await });
                    }
                    Err(error) => {
                        // Out of descriptors, for example: others will be closed meanwhile.
                        tracing::warn!(%error, "a hook could not be accepted");
                        tokio::time::sleep(limits::GIT_ACCEPT_PAUSE).await;
                    }
                }
            }
        });
        Ok(())
    }

    async fn serve_hook(self: Arc<Self>, mut stream: UnixStream) {
        let ours = nix::unistd::geteuid().as_raw();
        if !stream.peer_cred().is_ok_and(|peer| peer.uid() == ours || peer.uid() == 0) {
            tracing::warn!("a stranger called the hook's socket");
            return;
        }
        let hello = tokio::time::timeout(limits::GIT_BODY_IDLE, read_hello(&mut stream)).await;
        let Ok(Ok(hello)) = hello else { return };
        let Some((running, object_env)) = self.recognise(&hello) else {
            let text = b" !     The server has started anew since this push began; push again.\n";
            let _ = stream.write_all(&hook::encode(frame::TEXT, text)).await;
            let _ = stream.write_all(&hook::encode(frame::EXIT, &[1])).await;
            return;
        };
        let (tell, told) = oneshot::channel();
        let deploy = running.tasks.track_future({
            let (host, running) = (self.clone(), running.clone());
            async move {
                let verdict = host.pre_receive(&running, object_env, &running.progress).await;
                let _ = tell.send(verdict);
            }
        });
        // The hook is git's child, which knows nothing of who pushes.
        tasks::spawn("pre-receive", running.origin.clone().scope(deploy));
        let verdict = told.await;
        if verdict.is_err() {
            // The task panicked, which is in the log.
            let text = b" !     The server failed in the middle of this push; its log says more.\n";
            let _ = stream.write_all(&hook::encode(frame::TEXT, text)).await;
        }
        let accepted = matches!(verdict, Ok(Verdict::Built | Verdict::Nothing));
        let _ = stream.write_all(&hook::encode(frame::EXIT, &[u8::from(!accepted)])).await;
    }

    /// The push that the hook belongs to, and where its objects are.
    #[allow(clippy::type_complexity, reason = "a pair that has one reader")]
    fn recognise(&self, hello: &Hello) -> Option<(Arc<Running>, Vec<(OsString, OsString)>)> {
        if hello.get(&frame::PHASE).map(Vec::as_slice) != Some(b"pre-receive") {
            return None;
        }
        let id = Uuid::try_parse_ascii(hello.get(&frame::PUSH)?).ok()?;
        let running = self.take_expected(id)?;
        let variable = |kind, name: &str| {
            let value = OsString::from_vec(hello.get(&kind)?.clone());
            Some((OsString::from(name), value))
        };
        let env = [
            variable(frame::OBJECTS, "GIT_OBJECT_DIRECTORY"),
            variable(frame::ALTERNATES, "GIT_ALTERNATE_OBJECT_DIRECTORIES"),
        ];
        Some((running, env.into_iter().flatten().collect()))
    }
}

type Hello = HashMap<u8, Vec<u8>>;

async fn read_hello(stream: &mut UnixStream) -> std::io::Result<Hello> {
    let mut hello = Hello::new();
    loop {
        let kind = stream.read_u8().await?;
        let length = stream.read_u32().await? as usize;
        if length > hook::MAX_FRAME || hello.len() > 8 {
            return Err(std::io::Error::other("not a hook of ours"));
        }
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await?;
        if kind == frame::GO {
            return Ok(hello);
        }
        hello.insert(kind, payload);
    }
}
