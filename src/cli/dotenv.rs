//! Config vars in a file: `.env` lines or one JSON object. Nothing is expanded, since a secret
//! with a `$` in it must arrive as it is; errors name line or key and never show a value.

use serde_json::Value;

type Pairs = Vec<(String, String)>;

pub fn parse(text: &str) -> Result<Pairs, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.trim_start().starts_with('{') {
        true => json(text),
        false => lines(text),
    }
}

/// One pair as `parse` reads it back, on one line.
pub fn line(key: &str, value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./%+~:@,=".contains(c);
    if value.chars().all(plain) {
        return format!("{key}={value}");
    }
    let mut quoted = String::new();
    for c in value.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '"' | '\\' => quoted.extend(['\\', c]),
            c => quoted.push(c),
        }
    }
    format!("{key}=\"{quoted}\"")
}

fn json(text: &str) -> Result<Pairs, String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!("no JSON at line {}, column {}", error.line(), error.column()))?;
    let Value::Object(map) = value else { return Err("not one JSON object".to_string()) };
    map.into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            Value::Number(number) => Ok((key, number.to_string())),
            Value::Bool(flag) => Ok((key, flag.to_string())),
            _ => Err(format!("the value of {key} is not a string")),
        })
        .collect()
}

fn lines(text: &str) -> Result<Pairs, String> {
    let mut pairs = Pairs::new();
    let mut rest = text;
    let mut number = 1;
    while !rest.is_empty() {
        let start = number;
        let line_end = rest.find('\n').unwrap_or(rest.len());
        let line = rest[..line_end].trim();
        if line.is_empty() || line.starts_with('#') {
            rest = rest.get(line_end + 1..).unwrap_or("");
            number += 1;
            continue;
        }
        let key_end = rest[..line_end]
            .find('=')
            .ok_or_else(|| format!("line {start} is not in the format KEY=VALUE"))?;
        let key = rest[..key_end].trim();
        let key = key.strip_prefix("export ").map_or(key, str::trim_start);
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(format!("line {start} has no key before the ="));
        }
        let (value, used) = value(&rest[key_end + 1..])
            .map_err(|problem| format!("the value of {key} (line {start}) {problem}"))?;
        pairs.push((key.to_string(), value));
        let used = key_end + 1 + used;
        number += rest[..used].matches('\n').count();
        rest = &rest[used..];
    }
    Ok(pairs)
}

/// The value at the start of `text`, and the bytes up to the end of its last line.
fn value(text: &str) -> Result<(String, usize), &'static str> {
    let blank = text.len() - text.trim_start_matches([' ', '\t']).len();
    let quote = text[blank..].chars().next().filter(|c| ['"', '\''].contains(c));
    let Some(quote) = quote else {
        let end = text.find('\n').map_or(text.len(), |at| at + 1);
        return Ok((unquoted(&text[..end]), end));
    };
    let (value, length) = quoted(&text[blank + 1..], quote)?;
    let after = blank + 1 + length;
    let end = text[after..].find('\n').map_or(text.len(), |at| after + at + 1);
    let tail = text[after..end].trim();
    match tail.is_empty() || tail.starts_with('#') {
        true => Ok((value, end)),
        false => Err("goes on after its closing quote"),
    }
}

/// Up to the end of the line or a `#` that has a blank before it.
fn unquoted(line: &str) -> String {
    let end = line
        .char_indices()
        .find(|(at, c)| *c == '#' && line[..*at].ends_with([' ', '\t']))
        .map_or(line.len(), |(at, _)| at);
    line[..end].trim().to_string()
}

/// What stands before the closing quote, and the bytes up to behind it. In double quotes `\n`,
/// `\r`, `\t`, `\"`, `\\` and `\$` are one character; in single quotes nothing is special.
fn quoted(text: &str, quote: char) -> Result<(String, usize), &'static str> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Ok((value, at + 1));
        }
        if c != '\\' || quote == '\'' {
            value.push(c);
            continue;
        }
        match chars.next() {
            Some((_, 'n')) => value.push('\n'),
            Some((_, 'r')) => value.push('\r'),
            Some((_, 't')) => value.push('\t'),
            Some((_, special @ ('"' | '\\' | '$' | '`' | '!'))) => value.push(special),
            Some((_, other)) => value.extend(['\\', other]),
            None => break,
        }
    }
    Err("has no closing quote")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> String {
        let mut pairs = parse(text).unwrap();
        assert_eq!(pairs.len(), 1, "{pairs:?}");
        pairs.remove(0).1
    }

    #[test]
    fn lines_quotes_and_comments() {
        let text = "\u{feff}# all of it\r\n\r\nA=1\r\nexport B = two words # said\n\
                    C='it''s' \n";
        assert_eq!(
            parse(text).unwrap_err(),
            "the value of C (line 5) goes on after its closing quote"
        );
        let text = "A=1\r\n  export B = two words # said\nC='$HOME \\n' # x\nD=\nE=a#b=c\nF=\"\"";
        let pairs = parse(text).unwrap();
        let pairs: Vec<(&str, &str)> =
            pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("A", "1"),
                ("B", "two words"),
                ("C", "$HOME \\n"),
                ("D", ""),
                ("E", "a#b=c"),
                ("F", "")
            ]
        );
    }

    #[test]
    fn nothing_is_expanded() {
        assert_eq!(one("A=pa$$word${X}`id`"), "pa$$word${X}`id`");
        assert_eq!(one(r#"A="pa$$\$x""#), "pa$$$x");
    }

    #[test]
    fn a_value_in_quotes_may_have_several_lines() {
        let text = "KEY=\"-----BEGIN\nabc\\n#no\n-----END\"\nB=2\n";
        let pairs = parse(text).unwrap();
        assert_eq!(pairs[0].1, "-----BEGIN\nabc\n#no\n-----END");
        assert_eq!(pairs[1], ("B".to_string(), "2".to_string()));
        let late = parse("A='x\ny'\nfoo\n").unwrap_err();
        assert_eq!(late, "line 3 is not in the format KEY=VALUE");
    }

    #[test]
    fn errors_never_show_a_value() {
        for text in [
            "hunter2\n",
            "=hunter2\n",
            "A=\"hunter2\n",
            "{\"A\": hunter2}",
            "{\"A\":[\"hunter2\"]}",
        ] {
            let message = parse(text).unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn a_json_object_of_strings() {
        let pairs = parse(" {\"A\": \"x\\ny\", \"B\": 8080, \"C\": true}").unwrap();
        assert_eq!(pairs[0].1, "x\ny");
        assert_eq!(pairs[1].1, "8080");
        assert_eq!(pairs[2].1, "true");
        assert!(parse("{\"A\": null}").unwrap_err().contains("A"));
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let values = [
            "",
            "plain",
            " two words ",
            "a#b",
            "\"q\" 'q'",
            "l1\nl2\r\n\t",
            "\\n",
            "$A `b` !",
            "é",
        ];
        for value in values {
            let line = line("KEY", value);
            assert_eq!(
                parse(&format!("{line}\n")).unwrap(),
                [("KEY".into(), value.into())],
                "{line}"
            );
            assert_eq!(line.lines().count(), 1);
        }
    }
}
