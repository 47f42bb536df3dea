//! Server-sent events, as far as a log needs them: data, ids and comments.

use crate::limits;

#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    pub id: Option<String>,
    pub data: String,
}

/// Takes the bytes of a stream as they come and gives whole events.
#[derive(Default)]
pub struct Parser {
    buffer: Vec<u8>,
    id: Option<String>,
    data: Option<String>,
    /// Whether the event under way has a name of its own, and so is not a log line.
    named: bool,
}

impl Parser {
    /// The events that end in these bytes. `Err` when a line is longer than any can be.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, ()> {
        let mut events = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let held = self.buffer.len() + self.data.as_ref().map_or(0, String::len);
            if held + part.len() > limits::LOG_EVENT_BYTES {
                return Err(());
            }
            self.buffer.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.buffer);
                let line = String::from_utf8_lossy(&line);
                events.extend(self.line(line.trim_end_matches(['\n', '\r'])));
            }
        }
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let data = self.data.take();
            let named = std::mem::take(&mut self.named);
            return data.filter(|_| !named).map(|data| Event { id: self.id.clone(), data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_string()),
            },
            "id" if !value.contains('\0') => self.id = Some(value.to_string()),
            "event" => self.named = !value.is_empty() && value != "message",
            // Comments have no field name; `retry` is ours to choose.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: Option<&str>, data: &str) -> Event {
        Event { id: id.map(str::to_string), data: data.to_string() }
    }

    #[test]
    fn events_come_whole_however_the_bytes_are_cut() {
        let text = "retry: 10\n: ping\n\nid: 7\ndata: a: b\n\nevent: other\ndata: x\n\n\
                    data: one\r\ndata:two\r\n\r\nid: 8\ndata: é\n\ndata: cut off";
        let expected =
            [event(Some("7"), "a: b"), event(Some("7"), "one\ntwo"), event(Some("8"), "é")];
        for size in [1, 2, 3, 7, 1000] {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for bytes in text.as_bytes().chunks(size) {
                events.extend(parser.push(bytes).unwrap());
            }
            assert_eq!(events, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; limits::LOG_EVENT_BYTES / 2 + 1];
        assert!(parser.push(&piece).is_ok());
        assert!(parser.push(&piece).is_err());
    }
}
