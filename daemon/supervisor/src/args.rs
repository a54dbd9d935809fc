//! agentd's command line.

use std::path::PathBuf;

use clap::Parser;

/// Supervises the agents of this machine.
///
/// On an appliance systemd starts it (agentd.service). With --root it runs anywhere, without root
/// and without systemd: it then reads DIR/usr/lib/agentos and DIR/etc/agentos, listens on
/// DIR/run/agentos/control.sock, and says what it cannot do there.
#[derive(Debug, Parser)]
#[command(name = "agentd", version)]
pub(crate) struct Args {
    /// Run in this directory instead of on the machine itself.
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,

    /// Serve D-Bus at this address. The default is the system bus on an appliance, none with
    /// --root.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bus: Option<String>,

    /// Read the configuration, print what is wrong with it, and exit: 0 if nothing is, else 2.
    #[arg(long)]
    pub(crate) check: bool,

    /// Log more.
    #[arg(long)]
    pub(crate) debug: bool,
}
