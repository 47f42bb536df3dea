//! `Procfile`: process types and their commands, one per line.

use super::ProcessType;
use crate::limits;
use std::collections::BTreeMap;

/// Process types and commands; the last line of a type wins, as on Heroku.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Procfile(BTreeMap<ProcessType, String>);

/// Why a Procfile was refused: one sentence that names the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProcfileError(pub String);

impl Procfile {
    /// Reads Heroku's grammar, `TYPE: COMMAND` a line; blank lines and `#` comments are skipped.
    /// Heroku ignores any other line, which hides typing errors: here it is an error that names
    /// the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProcfileError> {
        if bytes.len() > limits::PROCFILE_BYTES {
            return Err(ProcfileError(format!(
                "Procfile has {} bytes; the limit is {}",
                bytes.len(),
                limits::PROCFILE_BYTES
            )));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| ProcfileError("Procfile is not UTF-8 text".to_string()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut types = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (process, command) = parse_line(line).ok_or_else(|| {
                let shown: String = line.chars().take(80).collect();
                ProcfileError(format!(
                    "Procfile line {} is not of the form \"type: command\": {shown}",
                    index + 1
                ))
            })?;
            types.insert(process, command);
        }
        if types.len() > limits::PROCESS_TYPES {
            return Err(ProcfileError(format!(
                "Procfile declares {} process types; the limit is {}",
                types.len(),
                limits::PROCESS_TYPES
            )));
        }
        Ok(Self(types))
    }

    pub fn from_map(types: BTreeMap<ProcessType, String>) -> Self {
        Self(types)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ProcessType, &str)> {
        self.0.iter().map(|(process, command)| (process, command.as_str()))
    }

    pub fn command(&self, process: &ProcessType) -> Option<&str> {
        self.0.get(process).map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The buildpack's default types under the app's own: the Procfile wins by key.
    #[must_use]
    pub fn over(&self, defaults: &Procfile) -> Procfile {
        let mut types = defaults.0.clone();
        types.extend(self.0.clone());
        Procfile(types)
    }
}

fn parse_line(line: &str) -> Option<(ProcessType, String)> {
    let (process, command) = line.split_once(':')?;
    let process = ProcessType::parse(process.trim_end()).ok()?;
    let command = command.trim();
    let plain = !command.is_empty() && !command.contains('\0');
    plain.then(|| (process, command.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str, process: &str) -> Option<String> {
        let process = ProcessType::parse(process).unwrap();
        Procfile::parse(text.as_bytes()).unwrap().command(&process).map(str::to_string)
    }

    #[test]
    fn reads_types_comments_and_colons_in_commands() {
        let text = "# x\n\nweb: node a.js --port=$PORT\r\nworker:  sh -c 'a: b'  \nweb: last";
        assert_eq!(command(text, "web").unwrap(), "last");
        assert_eq!(command(text, "worker").unwrap(), "sh -c 'a: b'");
    }

    #[test]
    fn nonsense_is_named_by_its_line() {
        for (text, line) in [("web node", 1), ("web: a\nweb:", 2), (": x", 1), ("a b: c", 1)] {
            let error = Procfile::parse(text.as_bytes()).unwrap_err();
            assert!(error.0.contains(&format!("line {line} ")), "{error}");
        }
        assert!(Procfile::parse(b"\xff\xfe").is_err());
    }
}
