//! A directory that agentd takes for the machine.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use agentd_model::Paths;
use tempfile::TempDir;

use crate::process;
use crate::spec::Spec;
use crate::wait::{LIMIT, wait_for};
use crate::{is_alive, programs};

/// A directory for one test, with a whole root in it. Removed in the end, and whatever agents still
/// run then is killed.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
    paths: Paths,
}

impl Scratch {
    /// An empty one.
    pub fn new() -> Self {
        let dir =
            tempfile::Builder::new().prefix("agentos-").tempdir().expect("a directory can be made");
        let root = dir.path().join("root");
        let paths = Paths::under(&root);
        for dir in [paths.vendor().join("agents.d"), paths.site().join("agents.d")] {
            fs::create_dir_all(dir).expect("a directory can be made");
        }
        Self { dir, paths }
    }

    /// One with these agents.
    pub fn with(agents: &[Spec]) -> Self {
        let scratch = Self::new();
        agents.iter().for_each(|agent| scratch.add(agent));
        scratch
    }

    /// Where everything lies.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The folder that holds the root and whatever else the test needs.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file beside the root, which agentd does not see.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// An agent's file among the vendor's.
    pub fn vendor_file(&self, name: &str) -> PathBuf {
        self.paths.vendor().join(format!("agents.d/{name}.toml"))
    }

    /// An agent's file among the site's own.
    pub fn site_file(&self, name: &str) -> PathBuf {
        self.paths.site().join(format!("agents.d/{name}.toml"))
    }

    /// Adds an agent or changes it, as the vendor would.
    pub fn add(&self, agent: &Spec) {
        self.write(&self.vendor_file(agent.name()), &agent.text());
    }

    /// Takes an agent away.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.vendor_file(name)).expect("the agent was there");
    }

    /// Writes a file, whole.
    pub fn write(&self, file: &Path, text: &str) {
        fs::write(file, text).unwrap_or_else(|err| panic!("cannot write {file:?}: {err}"));
    }

    /// `fake-agent`, going through `steps`. See its `--help` for what there is.
    pub fn fake(&self, name: &str, steps: &[&str]) -> Spec {
        let program = programs().fake_agent.to_str().expect("the path is plain text").to_owned();
        let exec: Vec<&str> = [program.as_str()].iter().chain(steps).copied().collect();
        Spec::new(name, &exec)
    }

    /// `fake-agent` as an agent without fault, with one check named `probe`, that takes orders.
    pub fn good(&self, name: &str) -> Spec {
        let orders = format!("orders:{}", self.orders(name).display());
        self.fake(name, &[&orders, "settings", "ready:probe", "report:probe", "live"])
    }

    /// Has a [`Scratch::good`] agent take one more step, as soon as it listens.
    pub fn order(&self, name: &str, step: &str) {
        let socket = UnixDatagram::unbound().expect("a socket can be made");
        wait_for(&format!("{name} to take orders"), LIMIT, || {
            socket.send_to(step.as_bytes(), self.orders(name))
        });
    }

    fn orders(&self, name: &str) -> PathBuf {
        self.beside(&format!("{name}.orders"))
    }

    /// What an agent has put out.
    pub fn agent_log(&self, name: &str) -> String {
        let file = self.paths.log(&name.parse().expect("an agent's name"));
        String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
    }

    /// The processes of all agents and what they started, whoever's children they are.
    pub fn processes(&self) -> Vec<i32> {
        process::writing_below(self.paths.root())
    }

    /// Fails unless no process of any agent is left.
    #[track_caller]
    pub fn assert_no_process(&self) {
        let left: Vec<String> = self
            .processes()
            .into_iter()
            .filter(|pid| is_alive(*pid))
            .map(process::describe)
            .collect();
        assert!(left.is_empty(), "left behind: {left:#?}");
    }

    /// Logs of agents, the last of each, for a person who looks at a failure.
    pub(crate) fn show_agent_logs(root: &Path) {
        let paths = Paths::under(root);
        let Ok(entries) = fs::read_dir(paths.logs()) else { return };
        for file in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            show_tail(&file, 20);
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        process::kill_below(self.dir());
    }
}

/// Prints the last lines of a file.
pub(crate) fn show_tail(file: &Path, most: usize) {
    let text = fs::read(file).unwrap_or_default();
    // The end of a flooded log is enough.
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(64 * 1024)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(most)..];
    eprintln!("--- {}, last {} of {} lines", file.display(), tail.len(), lines.len());
    tail.iter().for_each(|line| eprintln!("{line}"));
}
