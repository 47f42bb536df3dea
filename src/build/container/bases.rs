//! Which images a Dockerfile may begin from or copy from: those of registries, and those of the
//! machine that belong to no app. All apps share one engine, and to it a name may be any image
//! that it holds, and the beginning of an id one too.

use super::instructions::{self, Instruction, after};
use std::collections::{BTreeMap, BTreeSet};

const OURS: &str = "is an image of this platform's apps, or may be one: begin from an image of a \
                    registry, or from a stage of this file";
const UNKNOWN: &str = "depends on a variable whose value is not in this file: give the ARG before \
                       the first FROM a default, or name the image itself";

/// The images that the stages begin from, or the line and the fault of the first instruction that
/// names an image of an app. `given` are the values of ARG that the build gets.
pub fn named(dockerfile: &[u8], given: &[(String, String)]) -> Result<BTreeSet<String>, String> {
    let text = String::from_utf8_lossy(dockerfile);
    let mut bases = BTreeSet::new();
    for instructions in instructions::readings(&text) {
        let mut stages = Stages::default();
        for Instruction { line, text } in &instructions {
            if let Some(fault) = stages.fault(text, given) {
                return Err(format!("Line {line}: {fault}"));
            }
        }
        bases.append(&mut stages.bases);
    }
    Ok(bases)
}

/// What the instructions above have made.
#[derive(Default)]
struct Stages {
    /// Images that they begin from.
    bases: BTreeSet<String>,
    /// Arguments of the whole file.
    args: BTreeMap<String, String>,
    names: BTreeSet<String>,
    count: usize,
}

impl Stages {
    fn fault(&mut self, instruction: &str, given: &[(String, String)]) -> Option<String> {
        let inner = after(instruction, "ONBUILD").unwrap_or(instruction);
        if let Some(rest) = after(inner, "ARG").filter(|_| self.count == 0) {
            self.take_args(rest, given);
        } else if let Some(rest) = after(inner, "FROM") {
            let mut words = rest.split_whitespace().skip_while(|word| word.starts_with("--"));
            let name = words.next().unwrap_or_default();
            let fault = match expanded(name, &self.args) {
                Some(name) if self.is_foreign(&name) => Some(format!("FROM {name} {OURS}")),
                Some(name) => {
                    if name != "scratch" && !self.names.contains(&name.to_lowercase()) {
                        self.bases.insert(name);
                    }
                    None
                }
                None => Some(format!("FROM {name} {UNKNOWN}")),
            };
            if let (Some(_as), Some(stage)) = (words.next(), words.next()) {
                self.names.insert(stage.to_lowercase());
            }
            self.count += 1;
            return fault;
        } else if let Some(rest) = after(inner, "COPY") {
            let flags = rest.split_whitespace().take_while(|word| word.starts_with("--"));
            for flag in flags {
                let bare: String =
                    flag.chars().filter(|c| !matches!(c, '"' | '\'' | '\\' | '`')).collect();
                let Some(name) = bare.strip_prefix("--from=") else { continue };
                if name.contains('$') || self.is_foreign(name) {
                    return Some(format!("COPY --from={name} {OURS}"));
                }
            }
        }
        None
    }

    fn take_args(&mut self, text: &str, given: &[(String, String)]) {
        for word in text.split_whitespace() {
            let (name, default) = word.split_once('=').unwrap_or((word, ""));
            let given = given.iter().find(|(given, _)| given == name).map(|(_, value)| value);
            let value = given.cloned().or_else(|| expanded(default, &self.args));
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                self.args.insert(name.to_string(), value);
            }
        }
    }

    fn is_foreign(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let is_stage = self.names.contains(&name)
            || name.parse::<usize>().is_ok_and(|number| number < self.count);
        let is_id = name.starts_with("sha256:") || name.bytes().all(|b| b.is_ascii_hexdigit());
        // Whatever registry stands before it: the engine leaves out its own.
        let is_ours = name.split('/').any(|part| part == "senryu");
        let is_stack = name == "senryu/stack" || name.starts_with("senryu/stack:");
        !is_stage && (is_id || (is_ours && !is_stack))
    }
}

/// A name with its variables and without quotes; `None` where one has no value here.
fn expanded(text: &str, args: &BTreeMap<String, String>) -> Option<String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, fallback) = if let Some(braced) = rest.strip_prefix('{') {
            let (inner, after) = braced.split_once('}')?;
            rest = after;
            inner.split_once(":-").map_or((inner, None), |(name, value)| (name, Some(value)))
        } else {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            rest = after;
            (name, None)
        };
        let value = args.get(name).cloned().or_else(|| fallback.map(str::to_string))?;
        result.push_str(&value);
    }
    result.push_str(rest);
    result.retain(|c| !matches!(c, '"' | '\'' | '\\' | '`'));
    (!result.contains('$')).then_some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Option<String> {
        named(text.as_bytes(), &[("GIVEN".to_string(), "ab12".to_string())]).err()
    }

    #[test]
    fn the_images_that_a_file_begins_from_are_known_before_it_is_built() {
        let text =
            "ARG V=24\nFROM node:$V AS b\nFROM scratch\nFROM --platform=x \"alpine\"\nFROM B";
        let bases = named(text.as_bytes(), &[]).unwrap();
        assert_eq!(bases.into_iter().collect::<Vec<_>>(), ["alpine", "node:24"]);
    }

    #[test]
    fn images_of_apps_are_refused_however_they_are_named() {
        for text in [
            "FROM senryu/slug:0b6f2c4e-web",
            "FROM some.registry/senryu/slug:x",
            "FROM ab1",
            "FROM sha256:ab12",
            "FROM --platform=linux/amd64 \"ab1\" AS x",
            "ARG A=ab\nFROM ${A}1",
            "ARG A=node\nARG GIVEN=node\nFROM $GIVEN",
            "FROM ${A:-ab1}",
            "FROM x\nCOPY --from=ab1 /app /app",
            "FROM x\nCOPY --chown=1:1 --from=\"ab1\" /app /app",
            "FROM x\nONBUILD COPY --from=ab1 /app /app",
            "FROM x\nCOPY --from=1 / /",
            "FROM x AS b\nCOPY --from=$X / /",
            "FR\\\nOM ab1",
        ] {
            assert!(fault(text).is_some_and(|fault| fault.contains(OURS)), "{text}");
        }
        assert!(fault("FROM $NOWHERE").is_some_and(|fault| fault.contains(UNKNOWN)));
        assert!(fault("FROM ${A:+x}").is_some_and(|fault| fault.contains(UNKNOWN)));
        assert!(fault("FROM x\n\nFROM ab1").is_some_and(|fault| fault.starts_with("Line 3: ")));
    }

    #[test]
    fn images_of_registries_and_stages_of_the_file_are_not() {
        for text in [
            "FROM node:24-slim",
            "FROM senryu/stack:run",
            "FROM scratch",
            "ARG VERSION=24\nFROM node:${VERSION}-slim AS b\nFROM b\nCOPY --from=b / /",
            "FROM a-1 AS build\nFROM x\nCOPY --from=0 / /\nCOPY --from=BUILD / /",
            "FROM x\nARG A\nRUN echo $A\nCOPY a b",
            "FROM example/ab12:34",
        ] {
            assert_eq!(fault(text), None, "{text}");
        }
    }
}
