//! Whatever a file says: an answer, and the place of what is wrong.

use proptest::prelude::*;

use super::*;

/// Every key of a spec, with its table, and a good value.
const KEYS: [(&str, &str, &str); 36] = [
    ("agent", "name", "\"x\""),
    ("agent", "summary", "\"x\""),
    ("agent", "exec", "[\"/x\"]"),
    ("agent", "after", "[\"y\"]"),
    ("agent", "needs", "[\"y\"]"),
    ("agent", "criticality", "\"optional\""),
    ("agent", "kit", "true"),
    ("agent", "enabled", "true"),
    ("restart", "when", "\"always\""),
    ("restart", "first_delay", "\"1s\""),
    ("restart", "max_delay", "\"1s\""),
    ("restart", "budget", "{}"),
    ("restart.budget", "starts", "5"),
    ("restart.budget", "within", "\"1s\""),
    ("restart", "stable_after", "\"1s\""),
    ("restart", "ready_within", "\"1s\""),
    ("restart", "heartbeat", "\"1s\""),
    ("restart", "stop_grace", "\"1s\""),
    ("cell", "user", "\"x\""),
    ("cell", "groups", "[\"x\"]"),
    ("cell", "capabilities", "[\"CAP_KILL\"]"),
    ("cell", "read", "[\"/x\"]"),
    ("cell", "write", "[\"/x\"]"),
    ("cell", "memory_max", "\"1MiB\""),
    ("cell", "tasks_max", "5"),
    ("cell", "cpu_weight", "5"),
    ("cell", "files_max", "16"),
    ("checks.a", "enabled", "true"),
    ("checks.a", "every", "\"1s\""),
    ("checks.a", "timeout", "\"1s\""),
    ("checks.a", "warning", "5"),
    ("checks.a", "critical", "5"),
    ("checks.a", "margin", "5"),
    ("checks.a", "raise_after", "5"),
    ("checks.a", "clear_after", "5"),
    ("checks.a", "allow", "[\"x\"]"),
];

#[test]
fn every_key_takes_a_good_value_and_refuses_other_types_in_place() {
    for (table, key, good) in KEYS {
        let (text, line) = with(table, &format!("{key} = {good}"));
        parse_spec("f", &text).unwrap_or_else(|error| panic!("{text}{error}"));
        for wrong in ["true", "-7", "1.5", "\"?\"", "1979-05-27", "[true]", "{ a = 1 }"] {
            let (text, wrong_line) = with(table, &format!("{key} = {wrong}"));
            assert_eq!(wrong_line, line);
            match parse_spec("f", &text) {
                // A number and a float where a quantity may stand, a word where any may, ...
                Ok(_) => assert!(
                    matches!(
                        (key, wrong),
                        ("kit" | "enabled", "true")
                            | ("summary", "\"?\"")
                            | ("warning" | "critical", "-7" | "1.5")
                            | ("margin", "1.5")
                    ),
                    "{table}.{key} took {wrong}"
                ),
                Err(error) => {
                    let first = error.problems.first().unwrap();
                    assert_eq!(first.line, line, "{error}");
                    assert!(first.column >= key.len() + 4, "{error}");
                    let path = format!("{table}.{key}");
                    assert!(first.message.starts_with(&path), "{error}");
                    assert_eq!(error.problems.len(), 1, "{error}");
                }
            }
        }
    }
}

#[test]
fn every_key_is_found_from_one_wrong_letter() {
    for (table, key, good) in KEYS {
        for at in 1..key.len() {
            let wrong = format!("{}Q{}", &key[..at], &key[at + 1..]);
            let text = with(table, &format!("{wrong} = {good}")).0;
            let found = problems(&text);
            let hint = format!("{table}.{wrong}: unknown key; the nearest known key is {key}");
            // Of three letters one wrong one leaves too little.
            assert!(found.contains(&hint) || key.len() < 4, "{found}");
        }
    }
}

/// Every problem lies within the file.
fn check_places(text: &str) {
    let Err(error) = parse_spec("f", text) else { return };
    assert!(!error.problems.is_empty());
    for problem in &error.problems {
        let lines: Vec<&str> = text.split('\n').collect();
        let line = lines.get(problem.line - 1).unwrap_or_else(|| panic!("{error}"));
        assert!((1..=line.chars().count() + 1).contains(&problem.column), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gets_an_answer(text in "\\PC*") {
        check_places(&text);
    }

    #[test]
    fn any_text_of_the_letters_of_toml_gets_an_answer(text in "[a-c\\[\\]{}=\"'.,\\\\#é\r\n 0-9-]{0,80}") {
        check_places(&text);
    }

    /// A good file with a piece cut out and another put in.
    #[test]
    fn a_damaged_file_gets_an_answer(from: prop::sample::Index, len in 0..40usize, put in "(?s).{0,8}") {
        let chars: Vec<char> = NETWORK.chars().collect();
        let from = from.index(chars.len());
        let to = (from + len).min(chars.len());
        let text: String = chars[..from].iter().chain(put.chars().collect::<Vec<_>>().iter()).chain(&chars[to..]).collect();
        check_places(&text);
    }

    /// What stands where a number, a duration or a word should is refused where it stands, or taken.
    #[test]
    fn any_word_anywhere_gets_an_answer(key in prop::sample::select(&KEYS[..]), word in "\\PC{0,12}") {
        let (table, key, _) = key;
        let line = format!("{key} = {:?}", word.replace(|c: char| !c.is_ascii_graphic(), "_"));
        check_places(&with(table, &line).0);
    }
}
