//! What an agent is written with.
//!
//! An agent is a name and a list of checks. The kit does the rest: the channel to agentd, readiness
//! and heartbeat, settings, when each check runs and for how long it may, hysteresis, the limits of
//! what may be reported, the log, a clean end on SIGTERM.
//!
//! ```no_run
//! use agentd_kit::{Agent, Check, CheckError, Context, Defaults, Readings, Severity, clock};
//!
//! const LINKS: Defaults = Defaults::every(clock::seconds(10)).raise_after(2);
//!
//! async fn links(ctx: &Context, _state: &mut ()) -> Result<Readings, CheckError> {
//!     let mut readings = Readings::new();
//!     let carrier = ctx.host().read_text("/sys/class/net/eth0/carrier")?;
//!     if carrier.trim() != "1" {
//!         readings.raise("link-down:eth0", Severity::Warning, "eth0 has no carrier");
//!     }
//!     Ok(readings)
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     agentd_kit::run(
//!         Agent::new("network", env!("CARGO_PKG_VERSION"))
//!             .check(Check::new("links", "links and carrier", LINKS, links)),
//!     )
//! }
//! ```
//!
//! What must hold: a check that fails, panics or hangs is `unknown`, never `ok`, and stops no other;
//! the heartbeat comes from the loop that runs the checks, so that a blocked loop misses it. What an
//! agent looks at, and restarting it, are left to the agent and to agentd.
#![forbid(unsafe_code)]

mod agent;
mod channel;
mod check;
pub mod clock;
mod host;
mod hysteresis;
mod inherited;
pub mod journal;
mod limits;
mod log;
pub mod pressure;
mod reading;
mod recent;
mod runner;
mod session;
mod settings;
pub mod tool;

pub use agent::{Agent, run};
pub use agentd_model::{Finding, Severity};
pub use check::{Check, CheckError, Context};
pub use host::{Host, ReadError, WriteError};
pub use reading::{Reading, Readings};
pub use recent::Recent;
pub use settings::{Defaults, InForce, Thresholds};
