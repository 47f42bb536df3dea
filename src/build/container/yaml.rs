//! A YAML document as it stands, with the line of each key and value: errors are about lines.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::DuplicateKeyPolicy;
use std::fmt;

#[derive(Debug, Clone)]
pub enum Node {
    Null,
    /// Any scalar: what `3000` and `true` mean is not YAML's business here.
    Text(String),
    List(Vec<Placed>),
    Map(Vec<(Key, Placed)>),
}

/// A value and its line, from 1.
#[derive(Debug, Clone)]
pub struct Placed {
    pub node: Node,
    pub line: u64,
}

#[derive(Debug, Clone)]
pub struct Key {
    pub name: String,
    pub line: u64,
}

/// The document, each key of a mapping once; the error is one sentence that names the line.
pub fn parse(text: &str) -> Result<Placed, String> {
    serde_saphyr::from_str::<Spanned<Node>>(text).map(placed).map_err(sentence)
}

/// All documents of a text, but for empty ones. A key may be there more than once.
pub fn documents(text: &str) -> Result<Vec<Placed>, String> {
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::PassThrough };
    let nodes = serde_saphyr::from_multiple_with_options::<Spanned<Node>>(text, options);
    let nodes = nodes.map_err(sentence)?;
    Ok(nodes.into_iter().map(placed).collect())
}

fn sentence(error: serde_saphyr::Error) -> String {
    let line = error.location().map(|at| format!("line {}: ", at.line()));
    if let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } = error.without_snippet()
    {
        return format!("{}{key} is there twice", line.unwrap_or_default());
    }
    let error = error.without_snippet().to_string();
    let error = error.lines().next().unwrap_or_default().trim();
    format!("{}{error}", line.unwrap_or_default())
}

fn placed(node: Spanned<Node>) -> Placed {
    Placed { line: node.referenced.line(), node: node.value }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

macro_rules! scalars {
    ($($visit:ident: $kind:ty),+) => {$(
        fn $visit<E>(self, value: $kind) -> Result<Node, E> {
            Ok(Node::Text(value.to_string()))
        }
    )+};
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a list or a mapping")
    }

    scalars!(visit_str: &str, visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Spanned<Node>>()? {
            items.push(placed(item));
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = map.next_value::<Spanned<Node>>()?;
            let line = key.referenced.line();
            items.push((Key { name: key.value, line }, placed(value)));
        }
        Ok(Node::Map(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_value_has_its_line() {
        let Node::Map(items) = parse("a: 1\n\nb:\n  - x\n  - c: true\nd:\n").unwrap().node else {
            panic!("no mapping");
        };
        let lines: Vec<_> = items.iter().map(|(key, _)| (key.name.as_str(), key.line)).collect();
        assert_eq!(lines, [("a", 1), ("b", 3), ("d", 6)]);
        assert!(matches!(&items[0].1.node, Node::Text(text) if text == "1"));
        let Node::List(list) = &items[1].1.node else { panic!("no list") };
        assert_eq!((list[0].line, list[1].line), (4, 5));
        assert!(matches!(items[2].1.node, Node::Null));
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_line() {
        for text in ["a: 1\nb: [1, 2\n", "a: 1\n\tb: 2\n", "a: b: c\n"] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("line "), "{error}");
        }
    }
}
