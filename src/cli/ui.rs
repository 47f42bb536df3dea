//! Where a command's words go: data to stdout, everything else to stderr, and questions to a
//! terminal. Without a terminal there is no colour and nothing moves.

use super::failure::{Failure, Result};
use crate::limits;
use std::future::Future;
use std::io::{BufRead, BufReader, ErrorKind, IsTerminal, Read, Write};
use std::sync::{Mutex, PoisonError};

pub struct Ui {
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
    input: Mutex<Box<dyn BufRead + Send>>,
    /// Columns of the terminal that stdout is; `None` when it is none.
    pub width: Option<usize>,
    pub colour: bool,
    /// Whether stderr is a terminal, on which a waiting line may move.
    pub moving: bool,
    /// Whether someone can answer questions.
    pub asks: bool,
}

impl Ui {
    pub fn of_process(colour_wanted: bool) -> Self {
        let stdout = std::io::stdout();
        let width = stdout.is_terminal().then(|| {
            rustix::termios::tcgetwinsize(&stdout)
                .map(|size| usize::from(size.ws_col))
                .ok()
                .filter(|columns| *columns > 0)
                .unwrap_or(limits::TERMINAL_COLUMNS)
        });
        Self {
            colour: width.is_some() && colour_wanted,
            width,
            moving: std::io::stderr().is_terminal(),
            asks: std::io::stdin().is_terminal(),
            out: Mutex::new(Box::new(std::io::BufWriter::new(stdout))),
            err: Mutex::new(Box::new(std::io::stderr())),
            input: Mutex::new(Box::new(BufReader::new(std::io::stdin()))),
        }
    }

    #[cfg(test)]
    pub fn for_tests(
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        input: &'static str,
    ) -> Self {
        Self {
            out: Mutex::new(out),
            err: Mutex::new(err),
            input: Mutex::new(Box::new(input.as_bytes())),
            width: None,
            colour: false,
            moving: false,
            asks: !input.is_empty(),
        }
    }

    /// A line of data.
    pub fn line(&self, text: impl AsRef<str>) -> Result {
        self.raw(text.as_ref().as_bytes())?;
        self.raw(b"\n")
    }

    /// Bytes of data as they are.
    pub fn raw(&self, bytes: &[u8]) -> Result {
        written(self.out.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes))
    }

    /// Hands what has been written so far to whoever reads it.
    pub fn flush(&self) -> Result {
        written(self.out.lock().unwrap_or_else(PoisonError::into_inner).flush())
    }

    /// `=== example Config Vars` and the empty line that follows it.
    pub fn header(&self, text: &str) -> Result {
        self.line(self.bold(&format!("=== {text}")))?;
        self.line("")
    }

    /// A value as indented JSON.
    pub fn json(&self, value: &serde_json::Value) -> Result {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::refused(format!("Can't write JSON: {error}")))?;
        self.line(text)
    }

    /// A piece of text for stderr. That stderr is closed is no reason to stop.
    pub fn say(&self, text: &str) {
        // Data that was written before comes before what is said now, also on one terminal.
        let _ = self.flush();
        let mut err = self.err.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = err.write_all(text.as_bytes());
        let _ = err.flush();
    }

    pub fn warn(&self, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let head = if index == 0 { " ›   Warning: " } else { " ›   " };
            self.say(&format!("{head}{line}\n"));
        }
    }

    /// Reads one line of an answer, without its end. `None` at the end of input.
    pub fn answer(&self, question: &str) -> Result<Option<String>> {
        self.say(question);
        let mut line = String::new();
        let read =
            self.input
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .read_line(&mut line)
                .map_err(|error| Failure::refused(format!("Can't read standard input: {error}")))?;
        Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_string()))
    }

    /// All of standard input as text, at most `limit` bytes.
    pub fn read_input(&self, limit: u64) -> Result<String> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        read_text(&mut **input, limit, "standard input")
    }

    /// `Scaling dynos... done, …` around work: the first half at once, the second when it is done.
    /// On failure the line ends with `!`, as Heroku's does.
    pub async fn action<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T>>,
        done: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        self.say(&format!("{what}... "));
        let result = self.turning(work).await;
        match &result {
            Ok(value) => self.say(&format!("{}\n", done(value))),
            Err(_) => self.say("!\n"),
        }
        result
    }

    /// Turns a mark behind the cursor while the work goes on, on a terminal.
    async fn turning<T>(&self, work: impl Future<Output = T>) -> T {
        if !self.moving {
            return work.await;
        }
        tokio::pin!(work);
        let mut tick = tokio::time::interval(limits::SPINNER_PERIOD);
        let mut marks = ["⣾", "⣷", "⣯", "⣟", "⡿", "⢿", "⣻", "⣽"].iter().cycle();
        tick.tick().await;
        let mut drawn = false;
        let value = loop {
            tokio::select! {
                value = &mut work => break value,
                _ = tick.tick() => {
                    let back = if drawn { "\u{8}" } else { "" };
                    self.say(&format!("{back}{}", marks.next().unwrap_or(&"")));
                    drawn = true;
                }
            }
        };
        if drawn {
            self.say("\u{8} \u{8}");
        }
        value
    }

    pub fn bold(&self, text: &str) -> String {
        self.painted("1", text)
    }

    pub fn dim(&self, text: &str) -> String {
        self.painted("2", text)
    }

    pub fn painted(&self, code: &str, text: &str) -> String {
        match self.colour {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_string(),
        }
    }
}

/// All of a reader as text, at most `limit` bytes; `name` is for the error.
pub fn read_text(reader: impl Read, limit: u64, name: &str) -> Result<String> {
    let mut bytes = Vec::new();
    reader
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::refused(format!("Can't read {name}: {error}")))?;
    if bytes.len() as u64 > limit {
        return Err(Failure::refused(format!("{name} is longer than {limit} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Failure::refused(format!("{name} is not UTF-8 text")))
}

fn written(result: std::io::Result<()>) -> Result {
    result.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::Pipe,
        _ => Failure::refused(format!("Can't write to standard output: {error}")),
    })
}
