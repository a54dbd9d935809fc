//! Where a test runs: a bus, an agentd on it, users to call as.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::{Agentd, LIMIT, Scratch, Spec, dbus_daemon, wait_for};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::peer::{Peer, connect_as};

/// A user to call as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) name: &'static str,
    pub(crate) uid: u32,
    pub(crate) groups: &'static [u32],
}

/// The group `agentos` in these tests.
const GROUP: u32 = 60100;
/// A user without any right.
pub(crate) const STRANGER: Who = Who { name: "stranger", uid: 60001, groups: &[] };
/// A member of the group.
pub(crate) const READER: Who = Who { name: "reader", uid: 60002, groups: &[GROUP] };

/// The rules for agentd on the system bus, as they are in the image.
const RULES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../units/dbus-1/system.d/org.agentos.Agentd1.conf");
const PASSWD: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";
const NOTHING: Option<&str> = None;

/// A bus and an agentd in a directory of their own.
#[derive(Debug)]
pub(crate) struct Bed {
    /// Ends before the bus and the directory.
    agentd: Option<Agentd>,
    pub(crate) bus: Bus,
    pub(crate) scratch: Scratch,
    pub(crate) runtime: Runtime,
}

impl Bed {
    /// With agents named so, which do nothing; as whoever runs the test.
    pub(crate) fn with(agents: &[&str]) -> Self {
        let mut bed = Self::without_agentd(agents);
        bed.bus.start();
        bed.start();
        bed.wait_name();
        bed
    }

    /// The same, for a test that calls as other users; `None` where that cannot be.
    pub(crate) fn as_root(test: &str, agents: &[&str]) -> Option<Self> {
        has_others(test).then(|| Self::with(agents))
    }

    /// Neither the bus nor agentd runs yet.
    pub(crate) fn without_agentd(agents: &[&str]) -> Self {
        let bus = Bus::new();
        let scratch = Scratch::new();
        agents.iter().for_each(|name| scratch.add(&idler(name)));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        Self { agentd: None, bus, scratch, runtime }
    }

    /// Starts agentd and waits until it answers on its socket.
    pub(crate) fn start(&mut self) {
        let mut agentd = Agentd::spawn(&self.scratch, &["--bus", &self.bus.address()]);
        agentd.wait_answer();
        self.agentd = Some(agentd);
    }

    /// Waits until agentd is on the bus.
    pub(crate) fn wait_name(&self) {
        let root = self.root();
        wait_for("agentd to be on the bus", LIMIT, || {
            root.version().map_err(|err| err.to_string()).map(drop)
        });
    }

    pub(crate) fn agentd(&self) -> &Agentd {
        self.agentd.as_ref().expect("agentd was started")
    }

    /// root, or whoever runs the test.
    pub(crate) fn root(&self) -> Peer {
        let stream = UnixStream::connect(self.bus.socket()).expect("the bus listens");
        Peer::new(&self.runtime, stream, geteuid().as_raw())
    }

    /// Another user, or a second connection of the same.
    pub(crate) fn peer(&self, who: Who) -> Peer {
        Peer::new(&self.runtime, connect_as(who, &self.bus.socket()), who.uid)
    }
}

/// An agent that runs and does nothing.
pub(crate) fn idler(name: &str) -> Spec {
    Spec::new(name, &["/bin/sleep", "1000"]).agent("kit = false")
}

/// The real dbus-daemon.
#[derive(Debug)]
pub(crate) struct Bus {
    dir: TempDir,
    /// Whether files in `dir` are mounted.
    has_users: bool,
    daemon: Option<Child>,
}

impl Bus {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("agentos-bus-").tempdir().unwrap();
        // For the other users.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let has_users = may_be_others();
        if has_users {
            own_users(dir.path());
        }
        let bus = Self { dir, has_users, daemon: None };
        fs::create_dir(bus.services()).unwrap();
        fs::write(bus.configuration(), bus.rules()).unwrap();
        bus
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    /// Where files of services lie that the bus may start.
    pub(crate) fn services(&self) -> PathBuf {
        self.dir.path().join("services")
    }

    fn configuration(&self) -> PathBuf {
        self.dir.path().join("bus.conf")
    }

    /// A system bus: what stands in the system.conf of dbus, and agentd's own rules on top. Where
    /// whoever runs the test is not root, they stand where root stands in those rules.
    fn rules(&self) -> String {
        let user = geteuid();
        let mut ours = PathBuf::from(RULES);
        if !user.is_root() {
            let text = fs::read_to_string(RULES).unwrap();
            ours = self.dir.path().join("rules.conf");
            fs::write(&ours, text.replace("\"root\"", &format!("\"{user}\""))).unwrap();
        }
        let [socket, services] =
            [self.socket(), self.services()].map(|it| it.display().to_string());
        let ours = ours.display();
        format!(
            r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <auth>EXTERNAL</auth>
  <listen>unix:path={socket}</listen>
  <servicedir>{services}</servicedir>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <policy user="{user}">
    <allow own="org.freedesktop.PolicyKit1"/>
  </policy>
  <include>{ours}</include>
</busconfig>
"#
        )
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(&mut self) {
        let log = File::create(self.dir.path().join("bus.log")).unwrap();
        let configuration = format!("--config-file={}", self.configuration().display());
        let daemon = command(dbus_daemon())
            .args(["--nofork", "--nopidfile", &configuration])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("dbus-daemon can be started");
        self.daemon = Some(daemon);
        wait_for("the bus to listen", LIMIT, || UnixStream::connect(self.socket()).map(drop));
    }

    /// Takes it away, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
            fs::remove_file(self.socket()).unwrap();
        }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        if self.has_users {
            // What is mounted upon cannot be removed, and the next test may run in this thread.
            for file in [PASSWD, GROUPS] {
                umount2(file, MntFlags::MNT_DETACH).ok();
            }
        }
        if let Some(daemon) = &mut self.daemon {
            daemon.kill().ok();
            daemon.wait().ok();
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.path().join("bus.log")).unwrap_or_default();
            std::io::stderr().write_all(format!("--- the bus\n{log}").as_bytes()).ok();
        }
    }
}

/// Whether `test` can call as other users. Where it cannot it says so, past its captured output.
pub(crate) fn has_others(test: &str) -> bool {
    let has_others = may_be_others();
    if !has_others {
        let text = format!("bus-tests: {test} needs root and was NOT run: run the tests as root\n");
        std::io::stderr().write_all(text.as_bytes()).unwrap();
    }
    has_others
}

/// Whether this process may call as others, and give them names.
fn may_be_others() -> bool {
    geteuid().is_root() && unshare(CloneFlags::CLONE_NEWNS).is_ok()
}

/// Gives this thread, and what it starts, users and a group that the machine does not have: in a
/// mount namespace of its own (mount_namespaces(7)), so that nobody else sees them.
fn own_users(dir: &Path) {
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING).unwrap();
    let users = [STRANGER, READER];
    let passwd: String = users
        .iter()
        .map(|Who { name, uid, .. }| format!("{name}:x:{uid}:{uid}::/nonexistent:/bin/false\n"))
        .collect();
    let members: Vec<&str> =
        users.iter().filter(|who| who.groups.contains(&GROUP)).map(|who| who.name).collect();
    let group = format!("agentos:x:{GROUP}:{}\n", members.join(","));
    for (file, lines) in [(PASSWD, passwd), (GROUPS, group)] {
        let names: Vec<&str> =
            lines.lines().filter_map(|line| line.split_once(':').map(|(name, _)| name)).collect();
        let host = fs::read_to_string(file).unwrap();
        let others = host
            .lines()
            .filter(|line| line.split_once(':').is_none_or(|(name, _)| !names.contains(&name)));
        let text: String = others.flat_map(|line| [line, "\n"]).chain([lines.as_str()]).collect();
        let with = dir.join(Path::new(file).file_name().unwrap());
        fs::write(&with, text).unwrap();
        mount(Some(&with), file, NOTHING, MsFlags::MS_BIND, NOTHING).unwrap();
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place where these tests start programs")]
pub(crate) fn command(program: &Path) -> Command {
    Command::new(program)
}
