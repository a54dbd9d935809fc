//! Failed systemd units, asked of PID 1 over the system bus (org.freedesktop.systemd1(5)).
//!
//! The connection is kept between runs and made anew after any error, so a bus that was restarted
//! costs one run. What is known of a unit besides its name is fetched for the first
//! [`MAX_DETAILS`] only: with more failed, nobody reads each.

use agentd_kit::{Check, CheckError, Context, Defaults, Readings, Severity, clock};
use serde::de::DeserializeOwned;
use zbus::{Connection, DynamicType, OwnedObjectPath, OwnedVariant, Type, connection};

/// `allow` names units that may be failed.
const DEFAULTS: Defaults = Defaults::every(clock::seconds(10)).allow(&[]);

/// Its folder is in the cell, as the socket may be made anew.
const SOCKET: &str = "/run/dbus/system_bus_socket";

/// Failed units whose details are fetched.
const MAX_DETAILS: usize = 32;

const SYSTEMD: &str = "org.freedesktop.systemd1";

/// Failed units.
pub(crate) fn check() -> Check {
    Check::new("units", "failed systemd units", DEFAULTS, look)
}

/// systemd could not be asked.
#[derive(Debug, thiserror::Error)]
enum BusError {
    #[error("cannot connect to the system bus at {SOCKET}")]
    Connect(#[source] zbus::Error),
    #[error("cannot ask systemd for {what}")]
    Call { what: String, source: zbus::Error },
}

/// A unit as `ListUnitsFiltered` has it: name, description, load state, active state, sub-state,
/// unit it follows, object path, job number, job type, job path.
type Listed =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// A failed unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Failed {
    name: String,
    description: String,
    sub_state: String,
    /// Why: `exit-code`, `timeout`, `oom-kill`. Units without one have none.
    result: Option<String>,
    /// Since when, in microseconds since the Unix epoch.
    since_us: Option<u64>,
}

async fn look(ctx: &Context, kept: &mut Option<Connection>) -> Result<Readings, CheckError> {
    let bus = match kept.take() {
        Some(bus) => bus,
        None => connect(ctx).await?,
    };
    let failed = failed_units(&bus, |name| ctx.is_allowed(name)).await?;
    *kept = Some(bus);
    Ok(readings(&failed))
}

async fn connect(ctx: &Context) -> Result<Connection, BusError> {
    let address = format!("unix:path={}", ctx.host().path(SOCKET).display());
    connection::Builder::address(address.as_str()).build().await.map_err(BusError::Connect)
}

async fn failed_units(
    bus: &Connection,
    is_allowed: impl Fn(&str) -> bool,
) -> Result<Vec<Failed>, BusError> {
    let manager = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
    let listed: Vec<Listed> =
        call(bus, manager, "ListUnitsFiltered", &(vec!["failed"],), "its failed units").await?;
    let mut failed = Vec::new();
    for (name, description, _, _, sub_state, _, path, _, _, _) in listed {
        if is_allowed(&name) {
            continue;
        }
        let mut unit = Failed { name, description, sub_state, ..Failed::default() };
        if failed.len() < MAX_DETAILS {
            let is_gone = details(bus, &path, &mut unit).await?;
            if is_gone {
                continue;
            }
        }
        failed.push(unit);
    }
    Ok(failed)
}

/// Fetches what the list lacks. `true`: the unit was unloaded in the meantime.
async fn details(
    bus: &Connection,
    path: &OwnedObjectPath,
    unit: &mut Failed,
) -> Result<bool, BusError> {
    let since =
        property(bus, path, "org.freedesktop.systemd1.Unit", "StateChangeTimestamp").await?;
    let Some(since) = since else { return Ok(true) };
    unit.since_us = since.downcast_ref::<u64>().ok().filter(|us| *us > 0);
    if let Some(interface) = interface_with_result(&unit.name) {
        let result = property(bus, path, interface, "Result").await?;
        unit.result = result.and_then(|result| String::try_from(result).ok());
    }
    Ok(false)
}

/// A property of a unit, or `None` when there is no such unit or property any more.
async fn property(
    bus: &Connection,
    path: &OwnedObjectPath,
    interface: &str,
    name: &str,
) -> Result<Option<OwnedVariant>, BusError> {
    let properties = (path.as_str(), "org.freedesktop.DBus.Properties");
    let what = format!("{name} of {path}");
    match call(bus, properties, "Get", &(interface, name), &what).await {
        Ok(value) => Ok(Some(value)),
        Err(BusError::Call { source, .. }) if is_gone(&source) => Ok(None),
        Err(err) => Err(err),
    }
}

/// Whether the answer was that there is no such thing: unloaded between the list and here.
fn is_gone(err: &zbus::Error) -> bool {
    use zbus::fdo::Error::{UnknownInterface, UnknownMethod, UnknownObject, UnknownProperty};
    match err {
        zbus::Error::FDO(err) => matches!(
            **err,
            UnknownObject(_) | UnknownInterface(_) | UnknownMethod(_) | UnknownProperty(_)
        ),
        zbus::Error::MethodError(name, ..) => *name == "org.freedesktop.systemd1.NoSuchUnit",
        _ => false,
    }
}

async fn call<B, R>(
    bus: &Connection,
    (path, interface): (&str, &str),
    method: &str,
    body: &B,
    what: &str,
) -> Result<R, BusError>
where
    B: serde::Serialize + DynamicType,
    R: DeserializeOwned + Type,
{
    let fail = |source| BusError::Call { what: what.to_owned(), source };
    let reply =
        bus.call_method(Some(SYSTEMD), path, Some(interface), method, body).await.map_err(fail)?;
    reply.body().deserialize().map_err(fail)
}

/// Kinds of units that say how they failed.
fn interface_with_result(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "automount" => Some("org.freedesktop.systemd1.Automount"),
        "mount" => Some("org.freedesktop.systemd1.Mount"),
        "path" => Some("org.freedesktop.systemd1.Path"),
        "scope" => Some("org.freedesktop.systemd1.Scope"),
        "service" => Some("org.freedesktop.systemd1.Service"),
        "socket" => Some("org.freedesktop.systemd1.Socket"),
        "swap" => Some("org.freedesktop.systemd1.Swap"),
        "timer" => Some("org.freedesktop.systemd1.Timer"),
        _ => None,
    }
}

fn readings(failed: &[Failed]) -> Readings {
    let mut readings = Readings::new();
    for unit in failed {
        let Failed { name, description, sub_state, result, since_us } = unit;
        let why = result.as_ref().map_or_else(String::new, |result| format!(" ({result})"));
        let reading = readings.raise(
            format!("unit-failed:{name}"),
            Severity::Warning,
            format!("{name} has failed{why}"),
        );
        reading.evidence("description", description).evidence("sub_state", sub_state);
        if let Some(result) = result {
            reading.evidence("result", result);
        }
        if let Some(since) = since_us {
            reading.evidence("since_unix", since / 1_000_000);
        }
    }
    readings
}

#[cfg(test)]
mod tests;
