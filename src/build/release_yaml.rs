//! What `bin/release` prints: default process types, and for an app's first deploy config vars and
//! add-ons. Of a key that is there twice the last holds, as in the YAML of Ruby, which Heroku is.

use super::container::yaml::{self, Key, Node, Placed};
use crate::model::{ProcessType, Procfile};
use std::collections::BTreeMap;

/// What the last buildpack says of a release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BinRelease {
    pub process_types: Procfile,
    pub first: FirstDeploy,
}

/// What a buildpack wants an app to have from its first deploy on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FirstDeploy {
    /// Set unless the app has them.
    pub config_vars: BTreeMap<String, String>,
    pub addons: Vec<String>,
}

impl BinRelease {
    /// The error says which line is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        let mut types = BTreeMap::new();
        for document in yaml::documents(text)? {
            for (key, value) in entries(document)? {
                // Ruby's own writer begins keys that are symbols with a colon.
                match key.name.trim_start_matches(':') {
                    "default_process_types" => {
                        for (process, command) in entries(value)? {
                            let name = process.name.trim_start_matches(':');
                            let parsed = ProcessType::parse(name)
                                .map_err(|_| unclear(process.line, name))?;
                            types.insert(parsed, text_of(name, &command)?);
                        }
                    }
                    "config_vars" => {
                        for (key, value) in entries(value)? {
                            if let Node::Text(value) = value.node {
                                read.first.config_vars.insert(key.name, value);
                            }
                        }
                    }
                    "addons" => read.first.addons = list(value),
                    _ => {}
                }
            }
        }
        read.process_types = Procfile::from_map(types);
        Ok(read)
    }
}

/// Of a mapping, or of what stands for an empty one; each key once.
fn entries(value: Placed) -> Result<Vec<(Key, Placed)>, String> {
    match value.node {
        Node::Map(entries) => {
            let named = entries.into_iter().map(|entry| (entry.0.name.clone(), entry));
            let last: BTreeMap<String, (Key, Placed)> = named.collect();
            Ok(last.into_values().collect())
        }
        Node::Null => Ok(Vec::new()),
        Node::List(items) if items.is_empty() => Ok(Vec::new()),
        Node::List(_) => Err(unclear(value.line, "a list where names and values should be")),
        Node::Text(text) => Err(unclear(value.line, &text)),
    }
}

fn text_of(name: &str, value: &Placed) -> Result<String, String> {
    match &value.node {
        Node::Text(text) if !text.trim().is_empty() && !text.contains('\0') => {
            Ok(text.trim_end().to_string())
        }
        _ => Err(unclear(value.line, &format!("{name} has no command"))),
    }
}

fn list(value: Placed) -> Vec<String> {
    let Node::List(items) = value.node else { return Vec::new() };
    let text = |item: Placed| match item.node {
        Node::Text(text) => Some(text.chars().filter(|c| !c.is_control()).take(100).collect()),
        _ => None,
    };
    items.into_iter().filter_map(text).collect()
}

fn unclear(line: u64, what: &str) -> String {
    let shown: String = what.trim().chars().filter(|c| !c.is_control()).take(80).collect();
    format!("line {line} of its output is not understood: {shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(text: &str) -> Vec<(String, String)> {
        let types = BinRelease::parse(text).unwrap().process_types;
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
            // As programs that write JSON do, and as shell scripts that are indented.
            "{\"default_process_types\": {\"web\": \"npm start\"}}",
            "{\"addons\":[],\"default_process_types\":{\"web\":\"npm start\"}}\n",
            "  config_vars:\n    A: b\n  default_process_types:\n    web: npm start\n",
        ] {
            assert_eq!(types(text), web("npm start"), "{text}");
        }
        for text in ["--- {}", "", "default_process_types: {}", "default_process_types:", "\n"] {
            assert_eq!(types(text), [], "{text}");
        }
        assert_eq!(types("default_process_types:\n  web: 'a ''b'' \"c\"'"), web("a 'b' \"c\""));
        assert_eq!(types("default_process_types:\n  web: |\n    a\n    b\n"), web("a\nb"));
        assert_eq!(types("default_process_types: {web: \"a, b\", x: 'c'}").len(), 2);
    }

    #[test]
    fn of_a_key_that_is_there_twice_the_last_holds() {
        for text in [
            "default_process_types:\n  web: old\n  web: npm start\n",
            "default_process_types:\n  web:\n  web: npm start\n",
            "default_process_types:\n  job: old\ndefault_process_types:\n  web: npm start\n",
        ] {
            assert_eq!(types(text), web("npm start"), "{text}");
        }
        let first = BinRelease::parse("config_vars:\n  A: 1\n  B: 2\n  B:\n").unwrap().first;
        assert_eq!(first.config_vars.into_iter().collect::<Vec<_>>(), [("A".into(), "1".into())]);
    }

    #[test]
    fn the_first_deploy_has_config_vars_and_add_ons() {
        let text = "addons:\n  - db:small\nconfig_vars:\n  LANG: en_US.UTF-8\n  N: 5\n  no:\n";
        let first = BinRelease::parse(text).unwrap().first;
        let vars: Vec<_> =
            first.config_vars.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(vars, [("LANG", "en_US.UTF-8"), ("N", "5")]);
        assert_eq!(first.addons, ["db:small"]);
        assert_eq!(BinRelease::parse("--- {}").unwrap().first, FirstDeploy::default());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, line) in [
            ("nonsense", 1),
            ("---\ndefault_process_types:\n  web: *alias", 3),
            ("default_process_types:\n  w e b: x", 2),
            ("default_process_types: [web]", 1),
            ("default_process_types:\n  web:\n", 2),
        ] {
            let error = BinRelease::parse(text).unwrap_err();
            assert!(error.contains(&format!("line {line}")), "{text}: {error}");
        }
    }
}
