//! Output that the server streams while a release command or a build runs.

use super::Cx;
use super::failure::{Failure, Result};
use crate::limits;
use tokio::time::timeout;

/// Copies a stream to stdout until it ends. `false` when there is none yet.
pub async fn copy(cx: &Cx, url: &str) -> Result<bool> {
    let mut response = cx.client.open(url, &[]).await?;
    match response.status().as_u16() {
        200 => {}
        404 => return Ok(false),
        status => {
            return Err(Failure::refused(format!("Can't read the output: HTTP {status}")));
        }
    }
    loop {
        // A command may be silent for long; its own time limit is the server's business.
        let chunk = timeout(limits::RELEASE_PHASE_TIMEOUT, response.chunk())
            .await
            .map_err(|_| Failure::Unreachable { message: "The output fell silent".into() })?
            .map_err(|error| cx.client.unreachable(&error))?;
        match chunk {
            // A zero byte stands for silence, so that nobody on the way hangs up.
            Some(chunk) if chunk.contains(&0) => {
                let kept: Vec<u8> = chunk.iter().copied().filter(|byte| *byte != 0).collect();
                cx.ui.raw(&kept)?;
            }
            Some(chunk) => cx.ui.raw(&chunk)?,
            None => return cx.ui.flush().map(|()| true),
        }
        cx.ui.flush()?;
    }
}
