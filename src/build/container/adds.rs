//! What of a Dockerfile would have Docker itself fetch something: `ADD` of an address. It does so
//! on the host, past the rules of the network that builds are in, and so it is refused.

use super::instructions::{self, Instruction, after};

/// The line and the fault of the first instruction that can't be done here.
pub fn refused(dockerfile: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(dockerfile);
    let fault =
        |Instruction { line, text }: &Instruction| Some(format!("Line {line}: {}", fault(text)?));
    instructions::readings(&text).iter().find_map(|all| all.iter().find_map(fault))
}

/// Whether an instruction may have Docker fetch something.
fn is_remote_add(instruction: &str) -> bool {
    let Some(rest) = after(instruction, "ADD") else { return false };
    // Flags end at the first word that is none. Quotes in them would have to be read as Docker
    // does it.
    let mut rest = rest.trim_start();
    while rest.starts_with("--") {
        let (flag, more) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if flag.contains(['"', '\'', '\\', '`']) {
            return true;
        }
        rest = more.trim_start();
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    let all_but_last = words.split_last().map_or(&[][..], |(_, sources)| sources);
    all_but_last.iter().any(|source| may_be_remote(source)) || list_is_remote(rest)
}

fn fault(instruction: &str) -> Option<&'static str> {
    let inner = after(instruction, "ONBUILD").unwrap_or(instruction);
    if is_remote_add(inner) {
        return Some(
            "ADD of an address, or of a variable that may hold one, is not done here, since \
             Docker would fetch it outside of the build's network: fetch it with RUN curl, or \
             write ./ before a path in the source",
        );
    }
    let takes_documents = ["RUN", "COPY", "ADD"].iter().any(|name| after(inner, name).is_some());
    (takes_documents && inner.split_whitespace().any(is_here_document)).then_some(
        "here-documents (<<) are not known to this builder: write a file in the source instead",
    )
}

/// `<<EOF` and not `<<<text`.
fn is_here_document(word: &str) -> bool {
    let word = word.trim_start_matches(|c: char| c.is_ascii_digit());
    word.strip_prefix("<<").is_some_and(|name| !name.is_empty() && !name.contains('<'))
}

/// The form `["SOURCE", "DESTINATION"]`, after which Docker takes no notice of the rest.
fn list_is_remote(text: &str) -> bool {
    if !text.starts_with('[') {
        return false;
    }
    let mut lists = serde_json::Deserializer::from_str(text).into_iter::<Vec<String>>();
    match lists.next() {
        Some(Ok(list)) => list.iter().rev().skip(1).any(|source| may_be_remote(source)),
        // Half a character is nothing to us and may be something to Docker.
        _ => text.contains("\\u"),
    }
}

/// Docker takes quotes and escapes away before it looks, and puts variables in.
fn may_be_remote(source: &str) -> bool {
    let bare: String = source.chars().filter(|c| !matches!(c, '"' | '\'' | '\\' | '`')).collect();
    let bare = bare.to_ascii_lowercase();
    let literal = bare.split('$').next().unwrap_or_default();
    let becomes = |start: &str| bare.contains('$') && start.starts_with(literal);
    bare.contains("://")
        || bare.starts_with("git@")
        || becomes("http://")
        || becomes("https://")
        || becomes("git@")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_would_fetch_itself_is_refused_however_it_is_written() {
        for dockerfile in [
            "FROM x\nADD http://169.254.169.254/latest /x",
            "FROM x\n  add --chown=1:1 https://x/y /x",
            "FROM x\nAD\\\nD ht\\\n# between\n\ntp://127.0.0.1/ /x",
            "FROM x\nADD a http://x/ b /x/",
            "FROM x\nADD [\"http:\\/\\/x\", \"/y\"] and more",
            "FROM x\nADD --chown=\"a b\" [\"http:\\/\\/x\",\"/y\"]",
            "FROM x\nADD [\"\\u0068ttp:\\u002f\\u002fx\", \"/y\"]",
            "FROM x\nADD [\"http:\\u002f\\u002fx\\ud800\", \"/y\"]",
            "FROM x\nADD ht\"tp\":/\\/x /y",
            "FROM x\nARG A=http://x\nADD $A /y",
            "FROM x\nARG A=tp://x\nADD ht${A} /y",
            "FROM x\nADD git@github.com:a/b.git /y",
            "FROM x\nONBUILD ADD https://x /y",
            "\u{feff}ADD http://x /y",
            "# escape=`\nFROM x\nRUN dir c:\\\nADD http://x `\n /y",
            "# escape=`\nFROM x\nAD`\nD http://x /y",
            // Docker's versions differ in where these instructions end.
            "FROM x\nRUN a \\\n  # b\nADD http://x /y",
            "FROM x\nRUN a \\\\\nADD http://x /y",
        ] {
            let fault = refused(dockerfile.as_bytes());
            assert!(fault.is_some_and(|fault| fault.contains("ADD of an address")), "{dockerfile}");
        }
        let fault = refused(b"FROM x\n\nRUN a\nADD http://x /y\n").unwrap();
        assert!(fault.starts_with("Line 4: ADD of an address"), "{fault}");
        // Docker's newer versions would read the second line as the document's end.
        let fault = refused(b"FROM x\nRUN <<'E\\'\nE\\\nADD http://x /y").unwrap();
        assert!(fault.starts_with("Line 2: here-documents"), "{fault}");
    }

    #[test]
    fn what_comes_from_the_source_is_not() {
        for dockerfile in [
            "FROM x\nADD . /app\nCOPY a b",
            "FROM x\nADD --chown=$USER app.tar.gz $HOME",
            "FROM x\nADD target/${VERSION}.jar ./$JAR /app/",
            "FROM x\nADD [\"a b\", \"$HOME\"]",
            "FROM x\n# ADD http://x /y\nRUN echo \\\n  ADD http://x /y",
            "FROM x\nRUN cat <<<text && echo $((1<<2))\nENV ADD http://x",
            "FROM x\nRUN apk \\\n# why\n\n   add http://x /y",
            "",
        ] {
            assert_eq!(refused(dockerfile.as_bytes()), None, "{dockerfile}");
        }
    }
}
