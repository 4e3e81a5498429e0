//! Numbers and kinds of the fields of every message, read from the data file when first used.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};

/// The table; its format is described in `engine/schema/README.md`.
const TABLE: &str = include_str!("../../../schema/protobuf.txt");

/// A message.
#[derive(Debug, Default)]
pub struct Message(Vec<(u64, Field)>);

/// A field of a message.
#[derive(Debug)]
pub struct Field {
    /// Where its value goes.
    pub place: Place,
    /// What it holds.
    pub kind: Kind,
    /// Whether zero (an empty text, `false`, …) is a value and not the absence of one.
    pub keeps_zero: bool,
}

/// Where a field's value goes.
#[derive(Debug)]
pub enum Place {
    /// Into the field of this name.
    At(String),
    /// Its fields are the object's own.
    Within,
}

/// What a field holds.
#[derive(Debug)]
pub enum Kind {
    Text,
    Bytes,
    Integer,
    Boolean,
    Double,
    Quantity,
    Time,
    MicroTime,
    IntOrString,
    /// Text that is JSON itself.
    Json,
    Message(String),
    /// Values of one field number, as often as it occurs.
    List(Box<Kind>),
    /// By text.
    Map(Box<Kind>),
    /// A list inside a message of its own.
    Wrapped(Box<Kind>),
}

impl Message {
    /// The field of this number.
    pub fn field(&self, number: u64) -> Option<&Field> {
        self.0.iter().find(|(known, _)| *known == number).map(|(_, field)| field)
    }

    /// All fields.
    #[cfg(test)]
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.iter().map(|(_, field)| field)
    }
}

struct Entry {
    package: &'static str,
    text: &'static str,
    parsed: OnceLock<Arc<Message>>,
}

/// Every message by its name.
static MESSAGES: LazyLock<HashMap<&'static str, Entry>> = LazyLock::new(|| {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let entries = lines.filter_map(|line| {
        let (name, text) = line.split_once(':')?;
        let (package, _) = name.rsplit_once('.')?;
        Some((name, Entry { package, text, parsed: OnceLock::new() }))
    });
    entries.collect()
});

/// The message `core.v1.Pod`.
pub fn message(name: &str) -> Option<Arc<Message>> {
    let Entry { package, text, parsed } = MESSAGES.get(name)?;
    Some(parsed.get_or_init(|| Arc::new(parse(package, text))).clone())
}

/// Name of the message that encodes an object of this `apiVersion` and `kind`.
pub fn root(api_version: &str, kind: &str) -> Option<&'static str> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("core", api_version));
    let package = match group {
        "rbac.authorization.k8s.io" => "rbac",
        group => group.split('.').next().unwrap_or_default(),
    };
    // Options are sent in the version of whatever they are options of.
    let shared = matches!(kind, "DeleteOptions").then(|| format!("meta.v1.{kind}"));
    let name = shared.unwrap_or_else(|| format!("{package}.{version}.{kind}"));
    MESSAGES.get_key_value(name.as_str()).map(|(name, _)| *name)
}

/// All names.
#[cfg(test)]
pub fn names() -> impl Iterator<Item = &'static str> {
    MESSAGES.keys().copied()
}

fn parse(package: &str, text: &str) -> Message {
    let fields = text.split(',').filter_map(|field| {
        let (number, field) = field.trim().split_once(' ')?;
        let field = match field.strip_prefix('^') {
            Some(inner) => Field { place: Place::Within, kind: kind(package, inner), keeps_zero: true },
            None => {
                let (name, ty) = field.split_once(' ')?;
                let (name, keeps_zero) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
                Field { place: Place::At(name.to_owned()), kind: kind(package, ty), keeps_zero }
            }
        };
        Some((number.parse().ok()?, field))
    });
    Message(fields.collect())
}

fn kind(package: &str, text: &str) -> Kind {
    let inside = |open: char, close: char| {
        let inner = text.strip_prefix(open).and_then(|text| text.strip_suffix(close))?;
        Some(Box::new(kind(package, inner)))
    };
    if let Some(inner) = inside('[', ']') {
        return Kind::List(inner);
    }
    if let Some(inner) = inside('{', '}') {
        return Kind::Map(inner);
    }
    if let Some(inner) = inside('<', '>') {
        return Kind::Wrapped(inner);
    }
    match text {
        "string" => Kind::Text,
        "bytes" => Kind::Bytes,
        "int" => Kind::Integer,
        "bool" => Kind::Boolean,
        "double" => Kind::Double,
        "quantity" => Kind::Quantity,
        "time" => Kind::Time,
        "micro-time" => Kind::MicroTime,
        "int-or-string" => Kind::IntOrString,
        "raw" => Kind::Json,
        name if name.contains('.') => Kind::Message(name.to_owned()),
        name => Kind::Message(format!("{package}.{name}")),
    }
}
