//! A reader of varlink's interface language, strict where systemd's is: enough to hold the Rust
//! types of this crate against the interface files. It panics on what it cannot read, with the
//! text that follows.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A type of the interface language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    Int,
    Float,
    String,
    Object,
    Named(String),
    Optional(Box<Type>),
    Array(Box<Type>),
    Map(Box<Type>),
    Struct(BTreeMap<String, Type>),
    Enum(Vec<String>),
}

/// One interface file.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) types: BTreeMap<String, Type>,
    /// Parameters and reply of each method.
    pub(crate) methods: BTreeMap<String, (Type, Type)>,
    pub(crate) errors: BTreeMap<String, Type>,
}

/// Reads an interface file.
pub(crate) fn parse(text: &str) -> Interface {
    let mut rest = Reader { rest: text };
    rest.expect("interface");
    let name = rest.word(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    let mut all = Interface {
        name,
        types: BTreeMap::new(),
        methods: BTreeMap::new(),
        errors: BTreeMap::new(),
    };
    while !rest.at_end() {
        let member = rest.word(|c| c.is_ascii_lowercase());
        let name = rest.word(|c| c.is_ascii_alphanumeric());
        assert!(name.starts_with(|c: char| c.is_ascii_uppercase()), "{name} is no member name");
        let first = rest.parenthesised();
        let is_new = match member.as_str() {
            "type" => all.types.insert(name.clone(), first).is_none(),
            "error" => all.errors.insert(name.clone(), first).is_none(),
            "method" => {
                rest.expect("->");
                let reply = rest.parenthesised();
                all.methods.insert(name.clone(), (first, reply)).is_none()
            }
            other => panic!("{other} {name}: neither type, method nor error"),
        };
        assert!(is_new, "{name} is declared twice");
    }
    all
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
        while let Some(comment) = self.rest.strip_prefix('#') {
            self.rest = comment.split_once('\n').map_or("", |(_, after)| after).trim_start();
        }
    }

    fn at_end(&mut self) -> bool {
        self.skip();
        self.rest.is_empty()
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip();
        let after = self.rest.strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn expect(&mut self, token: &str) {
        assert!(self.take(token), "{token} wanted at {:.60}", self.rest);
    }

    fn word(&mut self, is_part: impl Fn(char) -> bool) -> String {
        self.skip();
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        assert!(end > 0, "a word wanted at {:.60}", self.rest);
        let (word, after) = self.rest.split_at(end);
        self.rest = after;
        word.to_owned()
    }

    /// A struct or an enum. Empty parentheses are a struct.
    fn parenthesised(&mut self) -> Type {
        self.expect("(");
        let mut fields = BTreeMap::new();
        let mut words = Vec::new();
        while !self.take(")") {
            let name = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
            assert!(is_field_name(&name), "{name} is no field name");
            if self.take(":") {
                assert!(fields.insert(name.clone(), self.a_type()).is_none(), "{name} twice");
            } else {
                words.push(name);
            }
            if !self.take(",") {
                self.expect(")");
                break;
            }
        }
        match (fields.is_empty(), words.is_empty()) {
            (_, true) => Type::Struct(fields),
            (true, false) => Type::Enum(words),
            (false, false) => panic!("fields and enum words in one type: {fields:?} {words:?}"),
        }
    }

    fn a_type(&mut self) -> Type {
        if self.take("?") {
            Type::Optional(Box::new(self.a_type()))
        } else if self.take("[]") {
            Type::Array(Box::new(self.a_type()))
        } else if self.take("[string]") {
            Type::Map(Box::new(self.a_type()))
        } else if self.rest.trim_start().starts_with('(') {
            self.parenthesised()
        } else {
            let word = self.word(|c| c.is_ascii_alphanumeric());
            match word.as_str() {
                "bool" => Type::Bool,
                "int" => Type::Int,
                "float" => Type::Float,
                "string" => Type::String,
                "object" => Type::Object,
                _ => Type::Named(word),
            }
        }
    }
}

/// `[A-Za-z](_?[A-Za-z0-9])*`, of varlink.org, "Interface Definition".
fn is_field_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !name.ends_with('_')
        && !name.contains("__")
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Interface {
    /// What a name stands for; any other type as it is.
    pub(crate) fn resolve<'a>(&'a self, of: &'a Type) -> &'a Type {
        match of {
            Type::Named(name) => match self.types.get(name) {
                Some(found) => found,
                None => panic!("{} declares no type {name}", self.name),
            },
            other => other,
        }
    }

    /// Fails unless `value` is of the type: every field there, none besides, each of its own type.
    pub(crate) fn check(&self, at: &str, value: &Value, of: &Type) {
        match (self.resolve(of), value) {
            (Type::Optional(_), Value::Null)
            | (Type::Bool, Value::Bool(_))
            | (Type::String, Value::String(_))
            | (Type::Float, Value::Number(_))
            | (Type::Object, Value::Object(_)) => {}
            (Type::Optional(inner), some) => self.check(at, some, inner),
            (Type::Int, Value::Number(number)) => {
                assert!(number.is_i64(), "{at}: {number} is not an int of 64 bits");
            }
            (Type::Array(of), Value::Array(values)) => {
                for (index, value) in values.iter().enumerate() {
                    self.check(&format!("{at}[{index}]"), value, of);
                }
            }
            (Type::Map(of), Value::Object(values)) => {
                for (key, value) in values {
                    self.check(&format!("{at}.{key}"), value, of);
                }
            }
            (Type::Struct(fields), Value::Object(values)) => {
                for key in values.keys() {
                    assert!(fields.contains_key(key), "{at}.{key} is not in {}", self.name);
                }
                for (key, of) in fields {
                    match (values.get(key), of) {
                        (Some(value), of) => self.check(&format!("{at}.{key}"), value, of),
                        (None, Type::Optional(_)) => {}
                        (None, _) => panic!("{at}.{key} is missing"),
                    }
                }
            }
            (Type::Enum(words), Value::String(word)) => {
                assert!(words.contains(word), "{at}: {word} is none of {words:?}");
            }
            (of, value) => panic!("{at}: {value} is not {of:?}"),
        }
    }

    /// The value with every optional field null, and with every optional field absent, however
    /// deep. Whoever reads the type must take both.
    pub(crate) fn emptied(&self, value: &Value, of: &Type) -> [Value; 2] {
        match (self.resolve(of), value) {
            (Type::Struct(fields), Value::Object(values)) => {
                let mut null = serde_json::Map::new();
                let mut absent = serde_json::Map::new();
                for (key, value) in values {
                    if let Type::Optional(_) = fields[key] {
                        null.insert(key.clone(), Value::Null);
                    } else {
                        let [with_null, without] = self.emptied(value, &fields[key]);
                        null.insert(key.clone(), with_null);
                        absent.insert(key.clone(), without);
                    }
                }
                [Value::Object(null), Value::Object(absent)]
            }
            (Type::Array(of), Value::Array(values)) => {
                let [mut null, mut absent] = [Vec::new(), Vec::new()];
                for value in values {
                    let [with_null, without] = self.emptied(value, of);
                    null.push(with_null);
                    absent.push(without);
                }
                [Value::Array(null), Value::Array(absent)]
            }
            (_, other) => [other.clone(), other.clone()],
        }
    }
}

/// Holds two samples of a message against its type: one with everything set, one with nothing.
pub(crate) fn holds<T>(of: (&Interface, &Type), full: &T, bare: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let (interface, of) = of;
    let at = std::any::type_name::<T>();
    let full_json = serde_json::to_value(full).unwrap();
    interface.check(at, &full_json, of);
    if let (Type::Struct(fields), Value::Object(values)) = (interface.resolve(of), &full_json) {
        let [declared, sent] = [fields.keys().collect::<Vec<_>>(), values.keys().collect()];
        assert_eq!(declared, sent, "{at}");
    }
    interface.check(at, &serde_json::to_value(bare).unwrap(), of);
    for emptied in interface.emptied(&full_json, of) {
        let read: T = serde_json::from_value(emptied.clone())
            .unwrap_or_else(|err| panic!("{at} does not take {emptied}: {err}"));
        interface.check(at, &serde_json::to_value(&read).unwrap(), of);
    }
    assert_eq!(&serde_json::from_value::<T>(full_json).unwrap(), full);
}
