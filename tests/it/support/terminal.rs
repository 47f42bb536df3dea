//! A program in a terminal of its own: keys go in, the screen's bytes come out, and its window can
//! be resized.

use super::wait::until;
use nix::pty::{Winsize, openpty};
use rustix::termios::{LocalModes, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// No program takes longer to show what it is asked for.
const LIMIT: Duration = Duration::from_secs(30);

pub struct Terminal {
    master: File,
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    /// What has been looked at already.
    seen: usize,
}

impl Terminal {
    /// Starts a command in a window of that many columns and rows.
    pub fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let slave = File::from(pty.slave);
        // It makes the terminal the controlling one, without which nobody hears of a resize.
        let mut wrapped = Command::new("setsid");
        wrapped.args(["--ctty", "--"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        wrapped.env("TERM", "xterm-256color");
        wrapped.current_dir(command.get_current_dir().unwrap());
        wrapped.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let child = wrapped.spawn().unwrap();
        drop(wrapped);
        let master = File::from(pty.master);
        let shown: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (mut reader, sink) = (master.try_clone().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The last one to close the terminal ends this with an error.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Self { master, child, shown, seen: 0 }
    }

    pub fn types(&mut self, keys: &str) {
        // A program that has ended takes no more.
        let _ = self.master.write_all(keys.as_bytes());
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        let size =
            rustix::termios::Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
    }

    /// Waits for words that have not been looked at yet, and looks no further than to their end.
    #[track_caller]
    pub fn shows(&mut self, words: &str) {
        self.shows_when(words, |_| {});
    }

    /// Presses keys again and again until the words are there: for a program that may not listen
    /// yet.
    #[track_caller]
    pub fn shows_after(&mut self, keys: &str, words: &str) {
        self.shows_when(words, |terminal| terminal.types(keys));
    }

    #[track_caller]
    fn shows_when(&mut self, words: &str, mut again: impl FnMut(&mut Self)) {
        let deadline = std::time::Instant::now() + LIMIT;
        loop {
            again(self);
            super::wait::pause();
            let bytes = self.shown.lock().unwrap().clone();
            let mut rest = bytes[self.seen..].windows(words.len());
            if let Some(at) = rest.position(|at| at == words.as_bytes()) {
                self.seen += at + words.len();
                return;
            }
            let all = String::from_utf8_lossy(&bytes);
            assert!(std::time::Instant::now() < deadline, "{words:?} is not in:\n{all}");
        }
    }

    /// Whether keys are shown as they are typed: not while a program has the terminal raw.
    pub fn echoes(&self) -> bool {
        tcgetattr(&self.master).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Its exit status, if it has ended.
    pub fn has_ended(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1))
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Waits for its end: the exit status.
    #[track_caller]
    pub fn ended(&mut self) -> i32 {
        let child = &mut self.child;
        until("the program in the terminal ends", LIMIT, || child.try_wait().unwrap())
            .code()
            .unwrap_or(-1)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
