//! The verbs: each asks agentd and has the answer drawn.

mod agents;
mod events;
mod findings;
mod hint;
mod logs;
mod manager;
mod metrics;
mod request;
mod wait;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use agentd_model::Paths;
use clap::CommandFactory;
use serde::Serialize;

use crate::args::{Cli, Global, Json, Verb};
use crate::client::{Client, Endpoint, Text};
use crate::client_error::ClientError;
use crate::failure::Failure;
use crate::render::Screen;
use crate::text;

/// What a verb came to, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done, or the answer is yes.
    Done,
    /// The answer is no.
    No,
}

/// What every verb needs: where agentd is, and where results and messages go.
pub(crate) struct Session<'a> {
    endpoint: Endpoint,
    screen: Screen,
    out: &'a mut dyn Write,
}

/// Does what was asked.
pub(crate) fn run(cli: Cli, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let screen = Screen::of_stdout(cli.global.color);
    let mut session = Session { endpoint: endpoint(&cli.global), screen, out };
    match cli.verb {
        Verb::List(args) => agents::list(&mut session, &args),
        Verb::Show(args) => agents::show(&mut session, &args),
        Verb::Start(args) => request::run(&mut session, request::Request::Start, &args),
        Verb::Stop(args) => request::run(&mut session, request::Request::Stop, &args),
        Verb::Restart(args) => request::run(&mut session, request::Request::Restart, &args),
        Verb::Enable(args) => request::enable(&mut session, &args.names, args.now),
        Verb::Disable(args) => request::disable(&mut session, &args.names, args.now),
        Verb::Logs(args) => logs::run(&mut session, &args),
        Verb::Events(args) => events::run(&mut session, &args),
        Verb::Findings(args) => findings::run(&mut session, &args),
        Verb::Metrics(args) => metrics::run(&mut session, &args),
        Verb::Explain(args) => agents::explain(&mut session, &args),
        Verb::Reload(args) => manager::reload(&mut session, &args),
        Verb::Doctor(args) => manager::doctor(&mut session, args.json),
        Verb::Version(args) => manager::version(&mut session, args.json),
        Verb::Completion(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "agentctl", &mut script);
            session.out.write_all(&script)?;
            Ok(Outcome::Done)
        }
    }
}

/// Where the agentd is that was asked for.
fn endpoint(global: &Global) -> Endpoint {
    let root = match (&global.root, &global.socket) {
        (Some(root), _) => Some(root.clone()),
        (None, Some(_)) => None,
        (None, None) => Some(PathBuf::from("/")),
    };
    let socket = match (&global.socket, &root) {
        (Some(socket), _) => socket.clone(),
        (None, Some(root)) => Paths::under(root).control_socket(),
        (None, None) => Paths::system().control_socket(),
    };
    Endpoint { socket, root, timeout: global.timeout, text: Text::Clean }
}

impl Session<'_> {
    fn connect(&mut self, json: Json) -> Result<Client, ClientError> {
        Client::connect(self.endpoint_for(json))
    }

    /// Text that goes to a terminal is made safe as it comes in; JSON is when it is printed.
    fn endpoint_for(&mut self, json: Json) -> &Endpoint {
        self.endpoint.text = if json.json { Text::AsSent } else { Text::Clean };
        &self.endpoint
    }

    /// Prints a result for a program, laid out where a person looks on.
    fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = if io::stdout().is_terminal() {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        writeln!(self.out, "{}", text::escape_json(&text.map_err(Failure::Encode)?))?;
        Ok(())
    }

    /// Prints one result of a stream for a program: a line each.
    fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(Failure::Encode)?;
        writeln!(self.out, "{}", text::escape_json(&text))?;
        Ok(())
    }

    /// Tells something that is no result.
    fn say(&self, message: &str) {
        // Where nobody can be told, the result is still worth having.
        writeln!(io::stderr(), "agentctl: {}", text::lines(message)).ok();
    }
}
