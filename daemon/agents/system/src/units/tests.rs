//! The check against a fake systemd on a real private bus.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentd_kit::{Host, InForce};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use zbus::ObjectPath;
use zbus::fdo;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// Units that have failed, by name, with their result.
type Units = Arc<Mutex<BTreeMap<String, String>>>;

struct Manager(Units);

fn path_of(name: &str) -> OwnedObjectPath {
    let safe: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    ObjectPath::try_from(format!("/org/freedesktop/systemd1/unit/{safe}")).unwrap().into()
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn list_units_filtered(&self, states: Vec<String>) -> Vec<Listed> {
        assert_eq!(states, ["failed"]);
        let word = |text: &str| text.to_owned();
        let units = self.0.lock().unwrap();
        units
            .keys()
            .map(|name| {
                let (path, job) = (path_of(name), path_of("job"));
                let about = format!("the {name}");
                let state = (word("loaded"), word("failed"), word("failed"), word(""));
                let (load, active, sub, follows) = state;
                (name.clone(), about, load, active, sub, follows, path, 0, word(""), job)
            })
            .collect()
    }
}

/// A unit's properties, the same for every one.
struct Unit;

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn state_change_timestamp(&self) -> u64 {
        1_700_000_000_123_456
    }
}

/// A service's, by its name.
struct Service {
    units: Units,
    name: String,
}

#[zbus::interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property)]
    fn result(&self) -> fdo::Result<String> {
        let units = self.units.lock().unwrap();
        if self.name == "secret.service" {
            return Err(fdo::Error::AccessDenied("not for you".into()));
        }
        units.get(&self.name).cloned().ok_or_else(|| fdo::Error::UnknownObject("gone".into()))
    }
}

/// A bus in a scratch directory, and a fake systemd on it.
struct Machine {
    dir: tempfile::TempDir,
    units: Units,
    _bus: Child,
    systemd: Connection,
}

impl Machine {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::under(dir.path());
        let socket = host.path(SOCKET);
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let bus = start_bus(dir.path(), &socket).await;
        let units = Units::default();
        let address = format!("unix:path={}", socket.display());
        let systemd = connection::Builder::address(address.as_str())
            .name(SYSTEMD)
            .serve_at("/org/freedesktop/systemd1", Manager(Arc::clone(&units)))
            .build();
        let systemd = tokio::time::timeout(LIMIT, systemd).await.unwrap().unwrap();
        Self { dir, units, _bus: bus, systemd }
    }

    async fn fail(&self, name: &str, result: &str) {
        self.units.lock().unwrap().insert(name.to_owned(), result.to_owned());
        let server = self.systemd.object_server();
        let service = Service { units: Arc::clone(&self.units), name: name.to_owned() };
        server.at(path_of(name), Unit).await.unwrap();
        server.at(path_of(name), service).await.unwrap();
    }

    fn ctx(&self, allow: &[&str]) -> Context {
        let mut settings = InForce::from(&DEFAULTS);
        settings.allow = allow.iter().map(|name| (*name).to_owned()).collect();
        Context::new(Host::under(self.dir.path()), settings, clock::now())
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that starts a program in this test")]
async fn start_bus(dir: &std::path::Path, socket: &std::path::Path) -> Child {
    let config = dir.join("bus.conf");
    let text = format!(
        "<busconfig><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
         <policy context=\"default\"><allow own=\"*\"/><allow send_destination=\"*\"/>\
         <allow receive_sender=\"*\"/></policy>\
         </busconfig>",
        socket.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut bus = Command::new(harness::dbus_daemon())
        .arg(format!("--config-file={}", config.display()))
        .args(["--nofork", "--print-address"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("dbus-daemon can be started");
    let stdout = BufReader::new(bus.stdout.take().unwrap());
    let said = tokio::time::timeout(LIMIT, stdout.lines().next_line()).await;
    said.expect("the bus says its address").unwrap().expect("the bus runs");
    bus
}

fn keys(readings: &Readings) -> Vec<&str> {
    readings.readings().iter().map(|reading| reading.key()).collect()
}

#[tokio::test]
async fn failed_units_are_found_with_their_details_and_gone_when_they_recover() {
    let machine = Machine::new().await;
    let ctx = machine.ctx(&[]);
    let mut kept = None;
    assert!(keys(&look(&ctx, &mut kept).await.unwrap()).is_empty());

    machine.fail("foo.service", "exit-code").await;
    let readings = look(&ctx, &mut kept).await.unwrap();
    assert_eq!(keys(&readings), ["unit-failed:foo.service"]);
    let reading = &readings.readings()[0];
    assert_eq!(reading.summary(), "foo.service has failed (exit-code)");
    assert_eq!(reading.severity(), Some(Severity::Warning));
    for (name, value) in [
        ("description", "the foo.service"),
        ("sub_state", "failed"),
        ("result", "exit-code"),
        ("since_unix", "1700000000"),
    ] {
        assert_eq!(reading.evidence_of(name), Some(value));
    }

    machine.units.lock().unwrap().clear();
    assert!(keys(&look(&ctx, &mut kept).await.unwrap()).is_empty());
}

#[tokio::test]
async fn units_that_may_be_failed_are_left_out() {
    let machine = Machine::new().await;
    machine.fail("foo.service", "exit-code").await;
    machine.fail("bar.service", "timeout").await;
    let ctx = machine.ctx(&["foo.service"]);
    assert_eq!(keys(&look(&ctx, &mut None).await.unwrap()), ["unit-failed:bar.service"]);
}

#[tokio::test]
async fn a_unit_that_is_unloaded_while_it_is_asked_about_is_left_out() {
    let machine = Machine::new().await;
    machine.fail("foo.service", "exit-code").await;
    // Listed, but its object is gone.
    machine.units.lock().unwrap().insert("gone.service".to_owned(), String::new());
    let ctx = machine.ctx(&[]);
    assert_eq!(keys(&look(&ctx, &mut None).await.unwrap()), ["unit-failed:foo.service"]);
}

#[tokio::test]
async fn an_answer_that_is_refused_is_unknown_and_not_gone() {
    let machine = Machine::new().await;
    machine.fail("secret.service", "exit-code").await;
    let err = look(&machine.ctx(&[]), &mut None).await.unwrap_err().to_string();
    assert!(
        err.contains("cannot ask systemd for Result of") && err.contains("not for you"),
        "{err}"
    );
}

#[tokio::test]
async fn more_failed_units_than_anyone_reads_are_named_all_the_same() {
    let machine = Machine::new().await;
    for n in 0..MAX_DETAILS + 5 {
        machine.fail(&format!("u{n:02}.service"), "exit-code").await;
    }
    let readings = look(&machine.ctx(&[]), &mut None).await.unwrap();
    assert_eq!(readings.readings().len(), MAX_DETAILS + 5);
    let has_details = |at: usize| readings.readings()[at].evidence_of("result").is_some();
    assert!(has_details(MAX_DETAILS - 1) && !has_details(MAX_DETAILS));
}

#[tokio::test]
async fn a_bus_that_comes_back_is_found_again() {
    let mut machine = Machine::new().await;
    let ctx = machine.ctx(&[]);
    let mut kept = None;
    look(&ctx, &mut kept).await.unwrap();
    machine._bus.kill().await.unwrap();
    assert!(look(&ctx, &mut kept).await.is_err());
    assert!(kept.is_none(), "a connection that failed is not used again");
    let err = look(&ctx, &mut kept).await.unwrap_err().to_string();
    assert!(err.starts_with("cannot connect to the system bus"), "{err}");

    let socket = ctx.host().path(SOCKET);
    std::fs::remove_file(&socket).ok();
    machine._bus = start_bus(machine.dir.path(), &socket).await;
    // Nobody answers for systemd yet: an error, and none about the connection.
    let err = look(&ctx, &mut kept).await.unwrap_err().to_string();
    assert!(err.starts_with("cannot ask systemd for its failed units"), "{err}");
}

#[test]
fn a_unit_without_details_is_still_a_finding() {
    let unit = Failed { name: "x.device".to_owned(), ..Failed::default() };
    assert_eq!(interface_with_result("x.device"), None);
    let readings = readings(&[unit]);
    assert_eq!(readings.readings()[0].summary(), "x.device has failed");
    assert_eq!(readings.readings()[0].evidence_of("result"), None);
}
