//! The end of `agentctl --help`: the exit statuses, which come from [`Code`], and the environment.

use agentd_protocol::Code;

const ENVIRONMENT: &str = "Environment:
  NO_COLOR  no colour, whatever the terminal
  COLUMNS   width to draw to, in place of the terminal's
  TZ        time zone of the times that are shown and of --since";

/// What stands below the options.
pub(crate) fn footer() -> String {
    let mut statuses = vec![(0, "done"), (1, "the answer is no: doctor found something wrong")];
    statuses.extend(Code::ALL.map(|code| (code.exit_status(), meaning(code))));
    statuses.sort_unstable();
    let lines: Vec<String> =
        statuses.into_iter().map(|(status, meaning)| format!("  {status}  {meaning}")).collect();
    format!("Exit statuses:\n{}\n\n{ENVIRONMENT}", lines.join("\n"))
}

fn meaning(code: Code) -> &'static str {
    match code {
        Code::NotFound => "what was named does not exist",
        Code::Invalid => "wrong usage, or configuration that was refused",
        Code::Forbidden => "a right is missing; the message names it",
        Code::Conflict => "it cannot be done as things are now",
        Code::Unavailable => "agentd, or a part that is needed, does not answer; later it may",
        Code::Timeout => "it took too long",
        Code::Exhausted => "a limit was reached",
        Code::Internal => "a fault in agentos or in the machine",
    }
}
