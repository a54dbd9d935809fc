//! What is refused: each with line, column, key, what stood there and what is allowed.

use super::*;

/// In `table`, `line` is refused at `column` with `message`.
fn refuses(table: &str, line: &str, column: usize, message: &str) {
    let (text, number) = with(table, line);
    assert_eq!(problems(&text), format!("f:{number}:{column}: {message}"));
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    refuses(
        "restart",
        "first-delay = \"1s\"",
        1,
        "restart.first-delay: unknown key; the nearest known key is first_delay",
    );
    refuses("agent", "nmae = 1", 1, "agent.nmae: unknown key; the nearest known key is name");
    refuses(
        "cell",
        "  memory = \"1GiB\"",
        3,
        "cell.memory: unknown key; the nearest known key is memory_max",
    );
    refuses(
        "restart",
        "budget = { start = 5 }",
        12,
        "restart.budget.start: unknown key; the nearest known key is starts",
    );
    refuses(
        "restart.budget",
        "zzz = 5",
        1,
        "restart.budget.zzz: unknown key; known here are starts, within",
    );
    refuses(
        "checks.a",
        "evry = \"1s\"",
        1,
        "checks.a.evry: unknown key; the nearest known key is every",
    );
}

#[test]
fn unknown_tables_are_refused_with_the_nearest_known_one() {
    let text = "[agent]\nname = \"x\"\nexec = [\"/bin/x\"]\n[chekcs.a]\nevery = \"1s\"\n";
    assert_eq!(problems(text), "f:4:2: chekcs: unknown key; the nearest known key is checks");
    let text = "[agent]\nname = \"x\"\nexec = [\"/bin/x\"]\n[\"a b\\n\"]\n";
    assert_eq!(
        problems(text),
        "f:4:2: \"a b\\n\": unknown key; known here are agent, restart, cell, checks"
    );
}

#[test]
fn wrong_types_are_refused_with_what_stood_there() {
    refuses(
        "agent",
        "name = 5",
        8,
        "agent.name: found 5, expected an agent name: 1 to 32 of a-z, 0-9 and '-', beginning with a \
         letter and not ending with '-'",
    );
    refuses("agent", "kit = \"yes\"", 7, "agent.kit: found \"yes\", expected true or false");
    refuses("agent", "exec = \"/bin/x\"", 8, "agent.exec: found \"/bin/x\", expected an array");
    refuses(
        "agent",
        "exec = []",
        8,
        "agent.exec: found an array, expected an array of a program and its arguments",
    );
    refuses("restart", "budget = 5", 10, "restart.budget: found 5, expected a table");
    refuses(
        "cell",
        "tasks_max = 1.5",
        13,
        "cell.tasks_max: found 1.5, expected a whole number from 1 to 4194304",
    );
    refuses("checks", "a = 1979-05-27", 5, "checks.a: found 1979-05-27, expected a table");
    refuses("checks.a", "warning = true", 11, "checks.a.warning: found true, expected a number");
    assert_eq!(problems("agent = 5\n"), "f:1:9: agent: found 5, expected a table");
}

#[test]
fn durations_and_sizes_need_a_number_and_a_unit() {
    let from = "from \"1ms\" to \"1d\", as a number with ms, s, min, h or d";
    for found in ["5", "5m", "", "5 s", "-1s", "0s", "2d", "99999999999999999999d"] {
        refuses(
            "restart",
            &format!("ready_within = \"{found}\""),
            16,
            &format!("restart.ready_within: found \"{found}\", expected a duration {from}"),
        );
    }
    refuses(
        "restart",
        "stop_grace = 5",
        14,
        &format!("restart.stop_grace: found 5, expected a duration {from}"),
    );
    for found in ["64", "64M", "64MB", "1KiB", "-1MiB", "99999999999TiB"] {
        refuses(
            "cell",
            &format!("memory_max = \"{found}\""),
            14,
            &format!(
                "cell.memory_max: found \"{found}\", expected a size of \"1MiB\" or more, as a \
                 number with B, KiB, MiB, GiB or TiB"
            ),
        );
    }
}

#[test]
fn zero_intervals_and_counts_are_refused() {
    for (table, key) in [
        ("restart", "max_delay"),
        ("restart", "stable_after"),
        ("restart", "ready_within"),
        ("restart", "heartbeat"),
        ("restart", "stop_grace"),
        ("restart.budget", "within"),
        ("checks.a", "every"),
        ("checks.a", "timeout"),
    ] {
        let (text, line) = with(table, &format!("{key} = \"0s\""));
        let found = problems(&text);
        let start =
            format!("f:{line}:{}: {table}.{key}: found \"0s\", expected a duration", key.len() + 4);
        assert!(found.starts_with(&start), "{found}");
    }
    for (table, key) in [
        ("restart.budget", "starts"),
        ("cell", "tasks_max"),
        ("cell", "cpu_weight"),
        ("cell", "files_max"),
        ("checks.a", "raise_after"),
        ("checks.a", "clear_after"),
    ] {
        for value in ["0", "-1", "4294967296", "0x1_0000_0000"] {
            let (text, line) = with(table, &format!("{key} = {value}"));
            let found = problems(&text);
            let start = format!("f:{line}:{}: {table}.{key}: found ", key.len() + 4);
            assert!(found.starts_with(&start), "{found}");
        }
    }
}

#[test]
fn programs_and_paths_are_absolute_and_normalised() {
    let rest = "without \"..\", \".\", doubled or trailing slashes and control characters";
    for found in ["x", "bin/x", "", "./x", "/", "/bin/../x", "/bin/./x", "/bin//x", "/bin/x/"] {
        refuses(
            "agent",
            &format!("exec = [\"{found}\"]"),
            9,
            &format!(
                "agent.exec[0]: found \"{found}\", expected the absolute path of a program, {rest}"
            ),
        );
    }
    refuses(
        "cell",
        "read = [\"/etc\", \"/a/..\"]",
        17,
        &format!("cell.read[1]: found \"/a/..\", expected an absolute path, {rest}"),
    );
    refuses(
        "cell",
        "write = [\"/\"]",
        10,
        &format!("cell.write[0]: found \"/\", expected an absolute path below /, {rest}"),
    );
    refuses(
        "cell",
        "write = [\"/a\\u0000\"]",
        10,
        &format!("cell.write[0]: found \"/a\\0\", expected an absolute path below /, {rest}"),
    );
    refuses(
        "agent",
        "exec = [\"/x\", \"a\\u0000b\"]",
        15,
        "agent.exec[1]: found \"a\\0b\", expected text of at most 4096 bytes without NUL",
    );
}

#[test]
fn unknown_capabilities_are_refused_and_sys_admin_always() {
    refuses(
        "cell",
        "capabilities = [\"CAP_NET_RWA\"]",
        17,
        "cell.capabilities[0]: found \"CAP_NET_RWA\", expected a capability of capabilities(7); the \
         nearest is CAP_NET_RAW",
    );
    refuses(
        "cell",
        "capabilities = [\"everything\"]",
        17,
        "cell.capabilities[0]: found \"everything\", expected a capability of capabilities(7), like \
         \"CAP_NET_RAW\"",
    );
    refuses(
        "cell",
        "capabilities = [\"CAP_SYS_ADMIN\"]",
        17,
        "cell.capabilities[0]: found \"CAP_SYS_ADMIN\", expected any other: no agent has \
         CAP_SYS_ADMIN. What needs it is asked of PID 1 over D-Bus",
    );
}

#[test]
fn root_and_what_is_no_account_are_refused() {
    let rule = "1 to 32 of a-z, 0-9, '_' and '-', beginning with a letter or '_' (useradd(8))";
    for found in ["root", "Root", "", "a b", "1a", "a:b"] {
        refuses(
            "cell",
            &format!("user = \"{found}\""),
            8,
            &format!("cell.user: found \"{found}\", expected a user other than root: {rule}"),
        );
        refuses(
            "cell",
            &format!("groups = [\"{found}\"]"),
            11,
            &format!("cell.groups[0]: found \"{found}\", expected a group other than root: {rule}"),
        );
    }
}

#[test]
fn a_name_too_long_for_its_user_needs_one_of_its_own() {
    let text = "[agent]\nname = \"abcdefghijklmnopqrstuvwxyz\"\nexec = [\"/bin/x\"]\n";
    assert_eq!(
        problems(text),
        "f:1:1: cell.user: missing, and \"agentos-abcdefghijklmnopqrstuvwxyz\" is longer than the 32 \
         bytes of useradd(8)"
    );
    parse_spec("f", &format!("{text}[cell]\nuser = \"short\"\n")).unwrap();
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    refuses(
        "checks.a",
        "warning = 95.5\ncritical = 80",
        11,
        "checks.a.warning: found 95.5, expected no more than critical, 80",
    );
    refuses(
        "checks.a",
        "timeout = \"10s\"\nevery = \"5s\"",
        11,
        "checks.a.timeout: found \"10s\", expected no more than every, \"5s\"",
    );
    refuses(
        "restart",
        "first_delay = \"1min\"",
        15,
        "restart.first_delay: \"1min\" is longer than max_delay, \"30s\"",
    );
    refuses(
        "cell",
        "read = [\"/a\"]\nwrite = [\"/a\"]",
        9,
        "cell.read: /a stands in write too, which includes it",
    );
    refuses("agent", "after = [\"a\", \"b\", \"a\"]", 20, "agent.after[2]: stands there twice");
}

#[test]
fn numbers_that_are_none_are_refused() {
    for found in ["nan", "inf", "-inf"] {
        refuses(
            "checks.a",
            &format!("critical = {found}"),
            12,
            &format!("checks.a.critical: found {found}, expected a number"),
        );
    }
    refuses(
        "checks.a",
        "margin = -0.5",
        10,
        "checks.a.margin: found -0.5, expected a number, 0 or more",
    );
}

#[test]
fn what_must_be_there_is_missed() {
    assert_eq!(problems(""), "f:1:1: agent.exec: missing\nf:1:1: agent.name: missing");
    assert_eq!(problems("\n[agent]\nname = \"x\"\n[cell]\n"), "f:2:1: agent.exec: missing",);
}

#[test]
fn check_names_are_plain_words() {
    let (text, line) = with("checks.\"a b\"", "every = \"1s\"");
    assert_eq!(
        problems(&text),
        format!(
            "f:{}:9: checks.\"a b\": not the name of a check: 1 to 64 of a-z, 0-9, '-' and '_', \
             beginning with a letter",
            line - 1
        )
    );
}

#[test]
fn all_problems_of_a_file_come_at_once_in_its_order() {
    let text = r#"
[agent]
name = "Network"
exec = ["network"]
[restart]
when = "sometimes"
hartbeat = "5s"
[cell]
capabilities = ["CAP_NET_RAW", "CAP_SYS_ADMIN"]
"#;
    let error = parse_spec("f", text).unwrap_err();
    let places: Vec<_> = error.problems.iter().map(|it| (it.line, it.column)).collect();
    assert_eq!(places, [(3, 8), (4, 9), (6, 8), (7, 1), (9, 32)], "{error}");
}

#[test]
fn bad_syntax_is_reported_alone_and_in_place() {
    let text = "[agent]\nname = \"x\nexec = [\"/bin/x\"]\nfoo = 1\n";
    let error = parse_spec("f", text).unwrap_err();
    let first = error.problems.first().unwrap();
    assert_eq!((first.line, first.message.starts_with("not TOML: ")), (2, true), "{error}");
    assert!(!error.to_string().contains("foo"), "{error}");
    let twice = problems("[agent]\nname = \"x\"\nname = \"y\"\n");
    assert_eq!(twice, "f:3:1: not TOML: duplicate key");
}

#[test]
fn columns_count_characters_and_lines_end_as_on_windows_too() {
    let text = "[agent]\r\nname = \"x\"\r\nexec = [\"/bin/é\", 5]\r\n";
    assert_eq!(
        problems(text),
        "f:3:19: agent.exec[1]: found 5, expected text of at most 4096 bytes without NUL"
    );
}

#[test]
fn what_is_quoted_is_cut_and_escaped() {
    let (text, _) = with("agent", &format!("criticality = \"\\u001b[31m{}\"", "x".repeat(1000)));
    let found = problems(&text);
    assert!(found.len() < 250 && found.contains("\\u{1b}[31m") && found.contains("..."), "{found}");
}

#[test]
fn a_file_full_of_mistakes_is_reported_in_part() {
    let text: String = (0..100_000).map(|i| format!("k{i} = 1\n")).collect();
    let error = parse_spec("f", &text).unwrap_err();
    assert_eq!(error.problems.len(), 101);
    assert_eq!(error.problems[100].to_string(), "f:100001:1: and 99902 more problems");
}
