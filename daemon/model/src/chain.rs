//! An error with its causes on one line, each once. Used at the edge and nowhere else.

use std::error::Error;
use std::fmt;

/// Prints an error and its sources, joined by `: `. A source that its effect ends with is not
/// printed again: some libraries' errors print theirs.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let error_text = error.to_string();
            if !text.ends_with(&error_text) {
                text.push_str(": ");
                text.push_str(&error_text);
            }
            cause = error.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Step {
        text: &'static str,
        source: Option<Box<Step>>,
    }

    #[test]
    fn an_error_is_told_with_its_causes_each_of_them_once() {
        let root = Step { text: "no such file", source: None };
        let talks = Step { text: "cannot open x: no such file", source: Some(Box::new(root)) };
        let top = Step { text: "cannot look", source: Some(Box::new(talks)) };
        assert_eq!(Chain(&top).to_string(), "cannot look: cannot open x: no such file");
    }
}
