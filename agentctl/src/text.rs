//! Text from agentd, made safe to show. An agent chooses what its findings say, so a summary may
//! hold escape sequences that move the cursor, rename the window or turn the line around; none of
//! them reaches a terminal.

use serde_json::Value;

/// Stands where a character was that may not be shown.
const PLACE: char = '\u{fffd}';

/// Whether a character controls the terminal or the order of the text rather than being seen:
/// control characters of both sets (C1 includes CSI as one character), bidirectional overrides
/// (Unicode 16, section 23.2), invisible operators, tags.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// One line that is safe to show: line ends and tabs become spaces, anything else that cannot be
/// seen a mark that something stood there.
pub(crate) fn line(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if is_unsafe(c) => PLACE,
            c => c,
        })
        .collect()
}

/// Text of several lines that is safe to show.
pub(crate) fn lines(text: &str) -> String {
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Makes every string in a message, names of fields included, safe to show.
pub(crate) fn clean(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(line(&text)),
        Value::Array(values) => values.into_iter().map(clean).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(k, v)| (line(&k), clean(v))).collect())
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}

/// The same JSON with what a terminal might obey written as escapes. JSON's own grammar escapes
/// only the first 32 control characters (RFC 8259, section 7).
pub(crate) fn escape_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        // A line end can only be layout: one inside a string is `\n` already.
        if c != '\n' && is_unsafe(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HOSTILE: &str = "a\u{1b}[2J\u{9b}31m\u{7}b\u{202e}c\nd\u{e0041}\u{0}";

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(line(HOSTILE), "a�[2J�31m�b�c d��");
        assert_eq!(lines("one\r\ntwo\u{1b}c"), "one\ntwo�c");
        assert_eq!(line("/var is 96 % full – naïve ✓ 日本"), "/var is 96 % full – naïve ✓ 日本");
    }

    #[test]
    fn names_of_fields_are_cleaned_too() {
        let hostile = json!({"findings": [{"evidence": {"k\u{1b}": "v\u{9b}"}}], "n": [1, null]});
        let clean = clean(hostile);
        assert_eq!(clean, json!({"findings": [{"evidence": {"k�": "v�"}}], "n": [1, null]}));
    }

    #[test]
    fn escaped_json_is_the_same_value() {
        let value = json!({ HOSTILE: HOSTILE });
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let escaped = escape_json(&text);
            assert!(!escaped.chars().any(|c| c != '\n' && is_unsafe(c)), "{escaped:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
        }
    }
}
