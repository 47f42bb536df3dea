//! A Dockerfile as instructions. Docker's versions read one in different ways, and so do we.

/// One instruction, on one line.
pub struct Instruction {
    /// Where it begins, from 1.
    pub line: usize,
    pub text: String,
}

/// All instructions, once for each way to read them.
pub fn readings(text: &str) -> Vec<Vec<Instruction>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let chosen = |line: &str| line.trim_start().starts_with('#') && line.contains('`');
    let other = text.lines().any(chosen).then_some('`');
    let mut all = Vec::new();
    for escape in std::iter::once('\\').chain(other) {
        for (doubled, indented) in [(true, true), (true, false), (false, true), (false, false)] {
            all.push(Reading { escape, doubled, indented }.instructions(text));
        }
    }
    all
}

/// What follows an instruction's name.
pub fn after<'a>(instruction: &'a str, name: &str) -> Option<&'a str> {
    let instruction = instruction.trim();
    let (word, rest) = instruction.split_once(char::is_whitespace).unwrap_or((instruction, ""));
    word.eq_ignore_ascii_case(name).then_some(rest)
}

/// As Docker reads a Dockerfile. Its versions differ in two details, and a file is refused if
/// any of them would fetch something.
#[derive(Clone, Copy)]
struct Reading {
    /// Continues a line; the file may choose the other one.
    escape: char,
    /// Whether two of them at a line's end continue it too.
    doubled: bool,
    /// Whether an indented comment between continued lines is one.
    indented: bool,
}

impl Reading {
    fn instructions(self, text: &str) -> Vec<Instruction> {
        let mut lines = text.lines().enumerate();
        let mut all = Vec::new();
        while let Some((at, line)) = lines.next() {
            let mut part = line.trim_start();
            if part.is_empty() || part.starts_with('#') {
                continue;
            }
            let mut joined = String::new();
            while let Some(piece) = self.continued(part) {
                joined.push_str(piece);
                let next = lines.find(|(_, line)| !self.is_skipped(line));
                part = next.map_or("", |(_, line)| line);
            }
            joined.push_str(part);
            all.push(Instruction { line: at + 1, text: joined });
        }
        all
    }

    /// The line without what says that it goes on; `None` if it does not.
    fn continued(self, line: &str) -> Option<&str> {
        let line = line.trim_end_matches([' ', '\t', '\r']).strip_suffix(self.escape)?;
        (self.doubled || !line.ends_with(self.escape)).then_some(line)
    }

    fn is_skipped(self, line: &str) -> bool {
        let bare = line.trim();
        bare.is_empty() || line.starts_with('#') || (self.indented && bare.starts_with('#'))
    }
}
