//! agentctl: the command line of an agentos appliance.
//!
//! Results go to stdout and messages to stderr; a reader that goes away is no error; the exit
//! status comes from the one list of codes. [`args`] says what can be typed, [`client`] speaks to
//! agentd, [`verbs`] do what was asked, [`render`] draws it. Single-threaded and synchronous: it
//! starts often and lives short.
#![forbid(unsafe_code)]

mod args;
mod client;
mod client_error;
mod clock;
mod failure;
mod render;
mod text;
mod verbs;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::failure::Failure;
use crate::verbs::Outcome;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = verbs::run(cli, &mut out);
    // What was drawn before a failure is still a result.
    let flushed = out.flush().map_err(Failure::Output);
    match outcome.and_then(|outcome| flushed.map(|()| outcome)) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(Failure::Said(code)) => ExitCode::from(code.exit_status()),
        Err(failure) => {
            // Where nobody can be told, the status still says it.
            writeln!(io::stderr(), "agentctl: {}", text::lines(&failure.text())).ok();
            ExitCode::from(failure.code().exit_status())
        }
    }
}
