//! Varlink's two messages. Unknown top-level keys are tolerated, as the protocol asks.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A method call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Fully qualified: `org.agentos.Agents.List`.
    pub method: String,
    /// Always sent; taken as empty when absent.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// The caller wants no reply, not even an error.
    #[serde(default, skip_serializing_if = "is_false")]
    pub oneway: bool,
    /// The caller takes any number of replies.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// The caller wants to speak another protocol from here on. Never granted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub upgrade: bool,
}

/// A reply or an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Always sent; taken as empty when absent.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// More replies to the same call will come.
    #[serde(default, skip_serializing_if = "is_false")]
    pub continues: bool,
    /// Fully qualified name of an error; `parameters` then describe it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde calls it in")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A value that could not be put into a message: not a JSON object.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode the parameters of {what}")]
pub struct EncodeError {
    /// The method or reply in question.
    pub what: String,
    source: serde_json::Error,
}

/// Turns a struct into message parameters.
pub fn parameters(what: &str, value: &impl Serialize) -> Result<Map<String, Value>, EncodeError> {
    let fail = |source| EncodeError { what: what.to_owned(), source };
    match serde_json::to_value(value).map_err(fail)? {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            Err(fail(serde::ser::Error::custom(format_args!("not an object: {other}"))))
        }
    }
}

/// A message as it goes over the wire, its NUL included.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(0);
    Ok(bytes)
}
