//! Programs that tests need and cargo cannot bring.

use std::path::Path;

use agentd_model::Chain;

/// The D-Bus daemon: where it lies, installed first if it is missing and may be installed.
///
/// # Panics
/// If it is missing and may not be: the message is the line to type.
pub fn dbus_daemon() -> &'static Path {
    let file = Path::new("/usr/bin/dbus-daemon");
    images::provide("dbus-daemon", file).unwrap_or_else(|err| panic!("{}", Chain(&err)));
    file
}
