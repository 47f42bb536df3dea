//! What `bin/release` prints: the small part of YAML that buildpacks use. Only
//! `default_process_types` matters here; add-ons and config vars of the first deploy are skipped.

use crate::model::{ProcessType, Procfile};
use std::collections::BTreeMap;

/// Reads the default process types. The error says which line is not understood.
pub fn default_process_types(text: &str) -> Result<Procfile, String> {
    let mut types = BTreeMap::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_end();
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        if line.is_empty() || line.starts_with('#') || matches!(line, "{}" | "...") {
            continue;
        }
        let wanted = match key_value(line) {
            Some((key, "" | "{}" | "[]")) => key == "default_process_types",
            Some((key, value)) if key == "default_process_types" => {
                flow_map(value, &mut types).ok_or_else(|| unclear(number, line))?;
                false
            }
            Some(_) => false,
            None => return Err(unclear(number, line)),
        };
        // What belongs to this key is indented, or is a list's dash.
        while let Some((number, inner)) =
            lines.next_if(|(_, next)| next.starts_with([' ', '\t', '-']) && *next != "---")
        {
            if !wanted || inner.trim().is_empty() || inner.trim().starts_with('#') {
                continue;
            }
            let (process, value) = key_value(inner.trim()).ok_or_else(|| unclear(number, inner))?;
            let mut value = value.to_string();
            // Long commands are folded: deeper lines go on where the last one ended.
            while let Some((_, more)) =
                lines.next_if(|(_, next)| indent(next) > indent(inner) && !next.trim().is_empty())
            {
                if matches!(value.as_str(), ">" | ">-" | "|" | "|-") {
                    value.clear();
                }
                if !value.is_empty() {
                    value.push(' ');
                }
                value.push_str(more.trim());
            }
            insert(&process, &value, &mut types).ok_or_else(|| unclear(number, inner))?;
        }
    }
    Ok(Procfile::from_map(types))
}

fn unclear(number: usize, line: &str) -> String {
    let shown: String = line.trim().chars().take(80).collect();
    format!("line {} of its output is not understood: {shown}", number + 1)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn insert(process: &str, value: &str, types: &mut BTreeMap<ProcessType, String>) -> Option<()> {
    let command = scalar(value)?;
    if command.is_empty() || command.contains('\0') {
        return None;
    }
    types.insert(ProcessType::parse(process).ok()?, command);
    Some(())
}

/// `key: value`, `"key": value` or Ruby's `:key: value`.
fn key_value(line: &str) -> Option<(String, &str)> {
    let line = line.strip_prefix(':').unwrap_or(line);
    let (key, value) = match line.chars().next()? {
        quote @ ('"' | '\'') => {
            let (key, rest) = line[1..].split_once(quote)?;
            (key, rest.trim_start().strip_prefix(':')?)
        }
        _ => line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, "")))?,
    };
    Some((key.trim().to_string(), value.trim()))
}

/// `{web: npm start, worker: "a, b"}`
fn flow_map(text: &str, types: &mut BTreeMap<ProcessType, String>) -> Option<()> {
    let mut rest = text.strip_prefix('{')?.strip_suffix('}')?;
    while !rest.trim().is_empty() {
        let mut quote = None;
        let end = rest.char_indices().find(|(_, c)| {
            match (quote, c) {
                (None, '"' | '\'') => quote = Some(*c),
                (Some(open), c) if open == *c => quote = None,
                _ => {}
            }
            quote.is_none() && *c == ','
        });
        let end = end.map_or(rest.len(), |(at, _)| at);
        let (process, value) = key_value(rest[..end].trim())?;
        insert(&process, value, types)?;
        rest = rest.get(end + 1..).unwrap_or("");
    }
    Some(())
}

fn scalar(text: &str) -> Option<String> {
    let text = text.trim();
    match text.chars().next() {
        Some('\'') => Some(text[1..].strip_suffix('\'')?.replace("''", "'")),
        Some('"') => {
            let inner = text[1..].strip_suffix('"')?;
            let mut plain = String::with_capacity(inner.len());
            let mut chars = inner.chars();
            while let Some(c) = chars.next() {
                plain.push(match c {
                    '\\' => match chars.next()? {
                        'n' => '\n',
                        't' => '\t',
                        other => other,
                    },
                    c => c,
                });
            }
            Some(plain)
        }
        Some('&' | '*' | '!' | '|' | '>' | '[' | '{') => None,
        _ => Some(text.split(" #").next().unwrap_or("").trim_end().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(text: &str) -> Vec<(String, String)> {
        let types = default_process_types(text).unwrap();
        types.iter().map(|(process, command)| (process.to_string(), command.to_string())).collect()
    }

    fn web(command: &str) -> Vec<(String, String)> {
        vec![("web".to_string(), command.to_string())]
    }

    #[test]
    fn reads_what_buildpacks_print() {
        for text in [
            "---\ndefault_process_types:\n  web: npm start\n",
            "addons: []\nconfig_vars: {}\ndefault_process_types:\n  web: npm start",
            "---\naddons:\n- heroku-postgresql\nconfig_vars:\n  A: b\n\
             default_process_types:\n    'web': \"npm start\"\n",
            "--- {}\n---\ndefault_process_types: {web: npm start}\n",
            ":default_process_types:\n  web: npm\n    start\n",
            "default_process_types:\n  web: >-\n    npm\n    start\nother: x\n",
        ] {
            assert_eq!(types(text), web("npm start"), "{text}");
        }
        assert_eq!(types("--- {}"), []);
        assert_eq!(types(""), []);
        assert_eq!(types("default_process_types: {}"), []);
        assert_eq!(types("default_process_types:\n  web: 'a ''b'' \"c\"'"), web("a 'b' \"c\""));
        assert_eq!(types("default_process_types:\n  web: sh -c \"a: b\""), web("sh -c \"a: b\""));
        assert_eq!(types("default_process_types: {web: \"a, b\", x: 'c'}").len(), 2);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, line) in [
            ("nonsense", 1),
            ("---\ndefault_process_types:\n  web: *alias", 3),
            ("default_process_types:\n  w e b: x", 2),
            ("default_process_types: [web]", 1),
        ] {
            let error = default_process_types(text).unwrap_err();
            assert!(error.contains(&format!("line {line} ")), "{text}: {error}");
        }
    }
}
