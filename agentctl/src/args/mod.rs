//! What can be typed. The doc comments here are the help text, examples included.

mod exit;
mod time;

use std::path::PathBuf;
use std::time::Duration;

use agentd_model::AgentName;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use time::{OutOfRange, Since};

/// Looks after the agents of this machine.
///
/// agentctl talks to agentd, the supervisor of an agentos appliance: it shows what the agents do
/// and what they found, and starts and stops them. Members of group `agentos` may look; root may
/// do everything.
#[derive(Debug, Parser)]
#[command(
    name = "agentctl",
    version,
    max_term_width = 100,
    after_help = "`agentctl VERB --help` shows examples; `agentctl --help` the exit statuses.",
    after_long_help = exit::footer(),
    disable_help_subcommand = true,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    args_override_self = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Speak to the agentd that was started with the same --root
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "socket")]
    pub(crate) root: Option<PathBuf>,
    /// Speak to the agentd behind this socket
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Longest wait for an answer of agentd, 30s if not given
    #[arg(long, global = true, value_name = "SPAN", default_value = "30s",
          hide_default_value = true, value_parser = time::duration)]
    pub(crate) timeout: Duration,
    /// Colour: always, never or auto (on a terminal, unless NO_COLOR is set)
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Color::Auto,
          hide_possible_values = true, hide_default_value = true)]
    pub(crate) color: Color,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    List(List),
    Show(Show),
    /// Start agents; one that runs already is left alone
    #[command(after_help = "Examples:
  agentctl start network
  agentctl start --wait network storage     until both run, at most 2min
  agentctl start --wait=10s network")]
    Start(Request),
    /// Stop agents
    ///
    /// They stay down until they are started, or until agentd is and they are enabled.
    #[command(after_help = "Examples:
  agentctl stop monitor
  agentctl stop --wait monitor              until its process has ended, at most 2min")]
    Stop(Request),
    /// Stop agents and start them again
    #[command(after_help = "Examples:
  agentctl restart network
  agentctl restart --wait=30s network       until its next process runs")]
    Restart(Request),
    Enable(Enable),
    Disable(Disable),
    Logs(Logs),
    Events(Events),
    Findings(Findings),
    Metrics(Metrics),
    Explain(Explain),
    Reload(Reload),
    Doctor(Doctor),
    Version(Version),
    Completion(Completion),
}

/// What every reading verb takes.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Json {
    /// Print JSON for a program; times are milliseconds since 1970
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show every agent, a line each
///
/// Below the table stands why an agent is not well.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agentctl list
  agentctl list --wait          until every enabled agent runs and was measured, at most 2min
  agentctl list --wait=30s      the same, at most 30s; then exit status 7 and which are missing
  agentctl list --json | jq -r '.agents[] | select(.health != \"ok\") | .name'")]
pub(crate) struct List {
    /// Wait until every enabled agent runs and its health is known
    #[arg(long, value_name = "SPAN", num_args = 0..=1, require_equals = true,
          default_missing_value = "2min", value_parser = time::duration)]
    pub(crate) wait: Option<Duration>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Show all about one agent
///
/// Its process, health, checks, open findings and last events, as a page.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agentctl show network
  agentctl show network --json | jq .agent.pid")]
pub(crate) struct Show {
    /// The agent
    pub(crate) name: AgentName,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// What start, stop and restart take.
#[derive(Debug, Args)]
pub(crate) struct Request {
    /// The agents
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<AgentName>,
    /// Wait until it is so, by default at most 2min
    #[arg(long, value_name = "SPAN", num_args = 0..=1, require_equals = true,
          default_missing_value = "2min", value_parser = time::duration)]
    pub(crate) wait: Option<Duration>,
}

/// Have agents started whenever agentd starts
///
/// Does not start them now, unless --now is given. Survives a reboot.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agentctl enable security
  agentctl enable --now security      and start it")]
pub(crate) struct Enable {
    /// The agents
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<AgentName>,
    /// Start them too
    #[arg(long)]
    pub(crate) now: bool,
}

/// Have agents no longer started when agentd starts
///
/// Does not stop them now, unless --now is given. Survives a reboot.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agentctl disable monitor
  agentctl disable --now monitor      and stop it")]
pub(crate) struct Disable {
    /// The agents
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<AgentName>,
    /// Stop them too
    #[arg(long)]
    pub(crate) now: bool,
}

/// Show the log of an agent, or of agentd
///
/// On an appliance this is the journal (journalctl -t agent-NAME), and works without agentd too.
/// Below a scratch directory it is the agent's log file; agentd's own log is its standard error.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agentctl logs                       agentd's own
  agentctl logs network -n 20
  agentctl logs network -f            and what comes
  agentctl logs network --since 1h --json | jq -r .MESSAGE")]
pub(crate) struct Logs {
    /// The agent; agentd itself when absent
    pub(crate) name: Option<AgentName>,
    /// Go on with what comes
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// At most so many lines, the newest; 100 when neither this nor --since is given
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<u32>,
    /// Only what is newer: 10min, 08:00, '2026-11-20 08:00', ISO 8601
    #[arg(long, value_name = "WHEN", value_parser = time::since)]
    pub(crate) since: Option<Since>,
    /// Print a JSON object for each entry, with the journal's names of fields
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show what happened: phases, health, requests, findings, configuration
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agentctl events                     the last 20
  agentctl events network --since 1h
  agentctl events -f                  and what comes, until it is interrupted
  agentctl events -f --json | jq -r 'select(.kind == \"finding.opened\") | .message'

With --json each event is one object on a line of its own.")]
pub(crate) struct Events {
    /// Only of this agent
    pub(crate) name: Option<AgentName>,
    /// Go on with what comes
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// At most so many, the newest; 20 when neither this nor --since is given
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) lines: Option<u32>,
    /// Only from then on: 10min, 08:00, '2026-11-20 08:00', ISO 8601
    #[arg(long, value_name = "WHEN", value_parser = time::since)]
    pub(crate) since: Option<Since>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Show what the agents found, the worst first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agentctl findings
  agentctl findings storage
  agentctl findings --all             resolved ones too
  agentctl findings --json | jq '[.findings[] | select(.severity == \"critical\")] | length'")]
pub(crate) struct Findings {
    /// Only of this agent
    pub(crate) name: Option<AgentName>,
    /// Resolved ones too
    #[arg(short, long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Show the readings that are kept
///
/// Without a name the series there are; with one its least, mean and greatest readings, and a
/// chart. Readings are kept for seven days, a point a minute.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agentctl metrics
  agentctl metrics cpu.busy                   the last hour
  agentctl metrics cpu.busy --since 2d
  agentctl metrics cpu.busy --json | jq '[.points[].max] | max'")]
pub(crate) struct Metrics {
    /// The series
    pub(crate) name: Option<String>,
    /// From then on: 10min, 08:00, '2026-11-20 08:00', ISO 8601; an hour when absent
    #[arg(long, value_name = "WHEN", requires = "name", value_parser = time::since)]
    pub(crate) since: Option<Since>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Show how an agent is confined
///
/// Each operation of its cell in order, and what its spec asks and this machine cannot give.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agentctl explain network
  agentctl explain network --json | jq -r '.missing[]'")]
pub(crate) struct Explain {
    /// The agent
    pub(crate) name: AgentName,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Read the configuration again
///
/// It is put in force as a whole or not at all.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agentctl reload --dry-run           only say what would change
  agentctl reload

Configuration with problems is refused with exit status 2, and the last good one stays in force.")]
pub(crate) struct Reload {
    /// Only say what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Say what is wrong with agentd and the agents
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agentctl doctor
  agentctl doctor >/dev/null && echo well
  agentctl doctor --json | jq '.status.problems'

The exit status is 0 if nothing is wrong and 1 if something is. Limits of the machine are shown
and are not counted as wrong.")]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Show the versions of agentctl and of agentd
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agentctl version
  agentctl version --json | jq -r .agentd.version

If agentd does not answer, agentctl's own is shown all the same, and the exit status says why.")]
pub(crate) struct Version {
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Print the completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agentctl completion bash > /usr/share/bash-completion/completions/agentctl
  agentctl completion zsh  > /usr/share/zsh/site-functions/_agentctl
  agentctl completion fish > ~/.config/fish/completions/agentctl.fish")]
pub(crate) struct Completion {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}
