//! fake-agent: an agent that does what it is told, good or bad.
//!
//! Its arguments are steps, taken one after the other; after the last it exits with status 0. It is
//! written against the wire contract (`agentd_protocol::channel`) and not against the kit, because
//! most of what it does no kit would let it do. Each step is put out, so that the agent's log says
//! how far it came.
//!
//! SIGTERM is held back (it stays pending) until a step says what becomes of it: `live` and `silent`
//! exit with status 0, `ignore-sigterm` is deaf to it for ever, any other step that lasts lets it
//! end the process.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "part of a test harness: a panic ends it with status 101, which the test sees"
)]

mod channel;
mod flood;
mod live;
mod step;

use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sys::signal::{SigSet, Signal, raise};
use nix::unistd::{pause, setsid};

use channel::{Answer, Channel};
use step::Step;

/// What the steps so far have made of this agent.
#[derive(Debug)]
struct Fake {
    channel: Option<Channel>,
    orders: Option<UnixDatagram>,
    answer: Answer,
    is_deaf_to_sigterm: bool,
    is_deaf_to_agentd: bool,
}

fn main() -> ExitCode {
    SigSet::from_iter([Signal::SIGTERM]).thread_block().expect("a signal can be blocked");
    let mut fake = Fake {
        channel: None,
        orders: None,
        answer: Answer::Taken,
        is_deaf_to_sigterm: false,
        is_deaf_to_agentd: false,
    };
    for argument in std::env::args().skip(1) {
        if let Some(Ended(status)) = fake.take(&argument) {
            return ExitCode::from(status);
        }
    }
    ExitCode::SUCCESS
}

/// A step that ends the process: with this status.
struct Ended(u8);

impl Fake {
    /// Takes one step. `Some`: it was the last.
    fn take(&mut self, text: &str) -> Option<Ended> {
        say(&format!("step {text}"));
        let step = text.parse().unwrap_or_else(|err| panic!("{err}"));
        match step {
            Step::Orders(path) => {
                // Of an earlier process of this agent.
                fs::remove_file(&path).ok();
                self.orders = Some(UnixDatagram::bind(&path).expect("a socket can be made"));
            }
            Step::Settings(answer) => {
                self.answer = answer;
                let answer = self.answer.clone();
                self.channel().answer_settings(&answer);
            }
            Step::Ready(checks) => self.channel().ready(&checks),
            Step::Report { check, findings } => self.channel().report(&check, findings),
            Step::Unknown { check, reason } => self.channel().unknown(&check, &reason),
            Step::Sample { name, value } => self.channel().sample(&name, value),
            Step::Call { method, parameters } => self.channel().call(&method, parameters),
            Step::Raw(bytes) => self.channel().send(&bytes),
            Step::Answer(bytes) => self.channel().send_answer(&bytes),
            Step::Close => {
                self.channel();
                self.channel = Some(Channel::closed());
            }
            Step::Deaf => self.is_deaf_to_agentd = true,
            Step::IgnoreSigterm => self.is_deaf_to_sigterm = true,
            Step::Live => return Some(self.live(true)),
            Step::Silent => return Some(self.live(false)),
            Step::Hang => {
                self.let_sigterm_in();
                loop {
                    pause();
                }
            }
            Step::FloodLog(mebibytes) => flood::log(mebibytes),
            Step::Flood(what) => {
                self.let_sigterm_in();
                flood::channel(self.channel(), what);
            }
            Step::Session => drop(setsid().expect("a child leads no group")),
            Step::Child(steps) => child(&steps),
            Step::Signal(signal) => {
                SigSet::from_iter([signal]).thread_unblock().expect("a signal can be let in");
                raise(signal).expect("a signal can be raised");
            }
            Step::Exit(status) => return Some(Ended(status)),
        }
        None
    }

    fn channel(&mut self) -> &mut Channel {
        self.channel.get_or_insert_with(Channel::inherited)
    }

    fn let_sigterm_in(&self) {
        if !self.is_deaf_to_sigterm {
            let set = SigSet::from_iter([Signal::SIGTERM]);
            set.thread_unblock().expect("a signal can be let in");
        }
    }
}

/// Starts this program once more, going through `steps`. It inherits all that is open here, the
/// channel included.
#[allow(clippy::disallowed_methods, reason = "the one place where a fake agent starts a program")]
fn child(steps: &[String]) {
    let mut command = Command::new("/proc/self/exe");
    let child = command.arg0("fake-agent-child").args(steps).spawn();
    // Never waited for: what an agent leaves behind is what the test is about.
    say(&format!("child {}", child.expect("a child can be started").id()));
}

/// A line in the agent's log.
fn say(line: &str) {
    writeln!(io::stdout(), "{line}").expect("the log can be written");
}
