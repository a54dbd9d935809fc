//! What the control socket speaks: parameters and replies of each method, as Rust.
//!
//! `--json` of agentctl prints these types, so a field renamed here is an interface broken. Times
//! are milliseconds since the Unix epoch (`*_ms`), sizes bytes. `tests/control.rs` holds every type
//! against its interface file; words of enums are snake_case, as varlink has no others. Parameters that
//! a method does not have are refused: one letter too few in `dry_run` must not make a deed of a
//! question.

use std::collections::BTreeMap;

use agentd_model::Severity;
use serde::{Deserialize, Deserializer, Serialize};

/// List, get, start, stop, restart, enable, disable, explain.
pub const AGENTS: &str = "org.agentos.Agents";
/// The event stream.
pub const EVENTS: &str = "org.agentos.Events";
/// Open and past findings.
pub const FINDINGS: &str = "org.agentos.Findings";
/// Kept readings.
pub const METRICS: &str = "org.agentos.Metrics";
/// agentd itself: version, status, reload.
pub const MANAGER: &str = "org.agentos.Manager";

/// Where an agent's process is, as one word on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseName {
    /// No process, none wanted or none needed.
    Idle,
    /// Waits for what it needs.
    Waiting,
    /// Being started.
    Spawning,
    /// Started, not ready yet.
    Starting,
    /// Ready.
    Running,
    /// Told to end.
    Stopping,
    /// Waits for its next start after a failure.
    Backoff,
    /// Given up: its budget of starts is used.
    Failed,
}

impl PhaseName {
    /// The word on the wire and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Spawning => "spawning",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Backoff => "backoff",
            Self::Failed => "failed",
        }
    }
}

/// How well an agent does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Not measured: it does not run, or its first checks are not through.
    Unknown,
    /// Heard from in time, every check measured.
    Ok,
    /// Works, but a check is unknown, its settings have a problem, or it was slowed.
    Degraded,
    /// Not heard from in time.
    Stale,
}

impl Health {
    /// The word on the wire and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Stale => "stale",
        }
    }
}

/// One agent, now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentView {
    /// Its name.
    pub name: String,
    /// What it looks after.
    pub summary: String,
    /// `up` or `down`: what is wanted of it.
    pub want: String,
    /// Whether it is started when agentd starts.
    pub enabled: bool,
    /// Where its process is.
    pub phase: PhaseName,
    /// The phase in words where one word says too little: `waiting for network: not ready`.
    pub detail: Option<String>,
    /// Since when it is in that phase.
    pub since_ms: i64,
    /// Its process, where there is one.
    pub pid: Option<i32>,
    /// When that process was started.
    pub started_ms: Option<i64>,
    /// The user it runs as; in a scratch directory agentd's own.
    pub user: String,
    /// Its control group, where there is one.
    pub cgroup: Option<String>,
    /// How well it does.
    pub health: Health,
    /// Why it is not `ok`.
    pub health_reasons: Vec<String>,
    /// How often it was started again since agentd started.
    pub restarts: u64,
    /// Failures in a row.
    pub failures: u32,
    /// How its last process ended: `exit status 1`, `signal SIGKILL`.
    pub last_exit: Option<String>,
    /// `critical`, `important` or `optional`.
    pub criticality: String,
    /// Program and arguments.
    pub exec: Vec<String>,
    /// Version it said it has.
    pub version: Option<String>,
    /// Its checks.
    pub checks: Vec<CheckView>,
    /// How many of its findings are open.
    pub findings: u32,
    /// Number of its last change. Events above it came later.
    pub seq: u64,
}

/// One check of an agent, now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    /// Its name.
    pub name: String,
    /// What it looks at.
    pub summary: String,
    /// `pending`, `measured` or `unknown`.
    pub state: String,
    /// Why it is unknown.
    pub reason: Option<String>,
    /// Time from one run to the next.
    pub every_ms: u64,
    /// When it was last heard of.
    pub last_ms: Option<i64>,
    /// How long that run took.
    pub took_ms: Option<u64>,
}

/// `Agents.List` answers this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentList {
    /// The last event these show.
    pub seq: u64,
    /// All agents, by name.
    pub agents: Vec<AgentView>,
}

/// `Agents.Get` answers this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentReply {
    /// The agent.
    pub agent: AgentView,
}

/// Parameter of every verb about one agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentArg {
    /// Its name.
    pub name: String,
}

/// Answer to a request. The third possibility is the error `Conflict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// Taken; a change follows.
    Accepted,
    /// Already so, or already on its way.
    AlreadySo,
}

/// `Agents.Start` and its like answer this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestReply {
    /// What became of it.
    pub disposition: Disposition,
}

/// `Agents.Explain` answers this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The agent.
    pub name: String,
    /// The cell's plan, a line for each operation, in order.
    pub operations: Vec<String>,
    /// What the spec asks and this machine or mode cannot give.
    pub missing: Vec<String>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// Rises by one with each event, across restarts of agentd.
    pub seq: u64,
    /// When.
    pub time_ms: i64,
    /// What kind: see [`kind`].
    pub kind: String,
    /// About which agent, where it is about one.
    pub agent: Option<String>,
    /// One sentence for a person.
    pub message: String,
    /// The same as values: `from`, `to`, `pid`, `exit`, `key`, `severity`, ...
    pub fields: BTreeMap<String, String>,
}

/// The kinds of events.
pub mod kind {
    /// An agent changed phase: `from`, `to`, `pid`, `cause`, `exit`, `failures`.
    pub const PHASE: &str = "agent.phase";
    /// An agent's health changed: `from`, `to`, `reasons`.
    pub const HEALTH: &str = "agent.health";
    /// An agent broke the channel's rules or was slowed: `reason`.
    pub const CHANNEL: &str = "agent.channel";
    /// Someone asked something of an agent: `verb`, `caller_uid`, `front`, `disposition`.
    pub const REQUEST: &str = "agent.request";
    /// A finding appeared: `key`, `severity`.
    pub const FINDING_OPENED: &str = "finding.opened";
    /// Its severity changed: `key`, `severity`.
    pub const FINDING_CHANGED: &str = "finding.changed";
    /// It is gone: `key`.
    pub const FINDING_RESOLVED: &str = "finding.resolved";
    /// Configuration was loaded: `added`, `changed`, `removed`.
    pub const CONFIG_LOADED: &str = "config.loaded";
    /// Configuration was refused; the last good one is in force: `problems`.
    pub const CONFIG_REFUSED: &str = "config.refused";
    /// The database failed; supervision goes on without it: `error`.
    pub const STORE_FAILED: &str = "store.failed";
    /// The database works again, or has kept up again: `lost`.
    pub const STORE_RECOVERED: &str = "store.recovered";
    /// In the place of events that could not be kept, with the number of the last of them: `first`,
    /// `last`. Only ever read from the past.
    pub const STORE_LOST: &str = "store.lost";
    /// agentd started or stops: `version`, `pid`.
    pub const AGENTD: &str = "agentd";
}

/// Parameters of `Events.List` and `Events.Follow`. `Follow` wants `more`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Only events with a higher number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seq: Option<u64>,
    /// Only events from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<i64>,
    /// Only about this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// `List`: at most this many, the newest. 1 to 1000; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `Events.List` answers this, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventList {
    /// The events.
    pub events: Vec<EventView>,
}

/// Each reply of `Events.Follow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventReply {
    /// The event.
    pub event: EventView,
    /// How many events before this one were dropped because the reader was too slow.
    #[serde(default)]
    pub dropped: u64,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    /// Whose.
    pub agent: String,
    /// Of which check.
    pub check: String,
    /// Its stable key.
    pub key: String,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence.
    pub summary: String,
    /// What was measured.
    pub evidence: BTreeMap<String, String>,
    /// When it was opened.
    pub opened_ms: i64,
    /// When it was last confirmed.
    pub seen_ms: i64,
    /// When it was resolved; absent while it is open.
    pub resolved_ms: Option<i64>,
    /// Open, but its check or agent does not measure now.
    pub stale: bool,
}

/// Parameters of `Findings.List`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindingQuery {
    /// Only of this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Resolved ones too (the last 1000).
    #[serde(default, deserialize_with = "null_is_absent")]
    pub all: bool,
}

/// `Findings.List` answers this: open ones first, worst first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingList {
    /// The last event these show.
    pub seq: u64,
    /// The findings.
    pub findings: Vec<FindingView>,
}

/// `Metrics.List` answers this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricList {
    /// Every kept series, by name.
    pub metrics: Vec<MetricInfo>,
}

/// One kept series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricInfo {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Newest reading.
    pub last: f64,
    /// When that was.
    pub last_ms: i64,
}

/// Parameters of `Metrics.Read`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricQuery {
    /// Which series.
    pub name: String,
    /// From when on; an hour ago when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<i64>,
}

/// `Metrics.Read` answers this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricSeries {
    /// Which series.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// A point a minute, oldest first. Minutes without a reading are absent, never zero.
    pub points: Vec<MetricPoint>,
}

/// One minute of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricPoint {
    /// Start of the minute.
    pub minute_ms: i64,
    /// Readings in it.
    pub count: u32,
    /// Least.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Greatest.
    pub max: f64,
}

/// Parameters of `Manager.Reload`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadArg {
    /// Only say what would change.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub dry_run: bool,
}

/// `Manager.Reload` answers this. Configuration with problems is the error `Invalid`, and the last
/// good one stays in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Agents that are new.
    pub added: Vec<String>,
    /// Agents whose spec changed.
    pub changed: Vec<String>,
    /// Agents that are gone.
    pub removed: Vec<String>,
    /// Whether it was put in force.
    pub applied: bool,
}

/// `Manager.Version` answers this. Anyone may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Of agentd.
    pub version: String,
    /// Its process.
    pub pid: i32,
}

/// `Manager.Status` answers this: what `agentctl doctor` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Of agentd.
    pub version: String,
    /// Its process.
    pub pid: i32,
    /// When it started.
    pub started_ms: i64,
    /// Milliseconds from boot (`CLOCK_BOOTTIME`) to the first moment every wanted agent ran.
    pub all_ready_boot_ms: Option<u64>,
    /// The root directory: `/` on an appliance.
    pub root: String,
    /// `journal`, or the folder of the log files.
    pub logs: String,
    /// The last event.
    pub seq: u64,
    /// What is wrong now. Empty on a healthy machine.
    pub problems: Vec<Problem>,
    /// What this agentd cannot do where it runs: `no cgroup v2: agents are not limited`.
    pub limits: Vec<String>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `config`, `store`, `agent`, `front`.
    pub area: String,
    /// File, agent or part.
    pub subject: String,
    /// What is wrong, with line and column where there is one.
    pub message: String,
}

/// Parameters of every error of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// What went wrong, for a person, causes included.
    pub message: String,
}

/// An optional field of a varlink message may be absent or null; both mean the same.
fn null_is_absent<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
