//! agentd's own log: the journal with fields where there is one, else lines on standard error.

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Begins to log. `to_journal` asks for the journal; without one the lines go to standard error.
pub(crate) fn init(to_journal: bool, level: Level) -> Result<(), TryInitError> {
    let filter = LevelFilter::from_level(level);
    let registry = tracing_subscriber::registry();
    let journal = if to_journal { tracing_journald::layer().ok() } else { None };
    match journal {
        Some(layer) => {
            // Fields by their own names, `AGENT=` and not `F_AGENT=`: systemd.journal-fields(7)
            // leaves those without an underscore to us.
            let layer = layer.with_field_prefix(None).with_syslog_identifier("agentd".into());
            registry.with(layer.with_filter(filter)).try_init()
        }
        None => {
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false);
            registry.with(lines.with_filter(filter)).try_init()
        }
    }
}
