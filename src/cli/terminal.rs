//! The terminal when it is asked for a password (without echo) or lent to a dyno (raw), and as it
//! was before whatever happens, Ctrl-C included.

use super::failure::{Failure, INTERRUPTED, Result};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::fs::File;
use std::sync::{Mutex, PoisonError};

/// How the terminal was before it was changed.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

pub fn password(question: &str) -> Result<String> {
    let no_terminal = |error: std::io::Error| match error.kind() {
        // Ctrl-C, seen here before the task below could end the process.
        std::io::ErrorKind::Interrupted => Failure::Exit(INTERRUPTED),
        _ => Failure::with_hint(
            format!("Can't ask for the password: {error}"),
            "Without a terminal: senryu login --token-stdin < FILE",
        ),
    };
    let tty = File::options().read(true).write(true).open("/dev/tty").map_err(no_terminal)?;
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = tcgetattr(&tty).ok();
    let password = rpassword::prompt_password(question).map_err(no_terminal);
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = None;
    password
}

/// Puts the terminal back when it is dropped.
pub struct Raw;

/// Every key goes to the dyno as it is pressed, Ctrl-C and Ctrl-Z too. `None` without a terminal.
pub fn raw() -> Option<Raw> {
    let before = tcgetattr(std::io::stdin()).ok()?;
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    raw_again();
    Some(Raw)
}

/// Makes the terminal raw again after somebody else has changed it.
pub fn raw_again() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(mut settings) = before {
        cfmakeraw(&mut settings);
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &settings);
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &before);
        }
    }
}

/// Ends the process on Ctrl-C with the status that a shell expects. It is a task of its own, since
/// the command itself may be waiting for an answer.
pub async fn end_on_interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take()
        && let Ok(tty) = File::options().read(true).write(true).open("/dev/tty")
    {
        let _ = tcsetattr(&tty, SetArg::TCSANOW, &before);
    }
    eprintln!();
    std::process::exit(i32::from(INTERRUPTED));
}
