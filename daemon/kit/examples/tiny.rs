//! The smallest agent with something to test: one check that is fine and one that hangs for ever.
//! `tests/process.rs` runs it as agentd would.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use agentd_kit::{Agent, Check, CheckError, Context, Defaults, Readings, clock};

const FINE: Defaults = Defaults::every(clock::seconds(1));
const HANGS: Defaults = Defaults::every(clock::seconds(1)).timeout(clock::seconds(2));

async fn fine(_: &Context, _: &mut ()) -> Result<Readings, CheckError> {
    Ok(Readings::new())
}

fn hangs(_: &Context, _: &mut ()) -> Result<Readings, CheckError> {
    loop {
        std::thread::park();
    }
}

fn main() -> ExitCode {
    agentd_kit::run(
        Agent::new("tiny", env!("CARGO_PKG_VERSION"))
            .check(Check::new("fine", "nothing", FINE, fine))
            .check(Check::blocking("hangs", "never ends", HANGS, hangs))
            .at_stop(|_| {
                writeln!(std::io::stderr(), "last words").ok();
            }),
    )
}
