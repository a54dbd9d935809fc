//! Putting agentd together: where it runs, what it may do there, what it goes on from.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentd::archive::{Archive, Setup};
use agentd::caller::Rights;
use agentd::control::{About, Control, History, Parts};
use agentd::front;
use agentd::launcher::{self, Launcher};
use agentd::news::News;
use agentd::owner::{Beginning, Inboxes, Owner};
use agentd::record::Recorder;
use agentd::{clock, config};
use agentd_cell::{HostFacts, Mode};
use agentd_model::{Chain, Paths};
use agentd_store::Store;
use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Group;
use tokio::sync::{mpsc, watch};

use crate::args::Args;

/// News that wait for the owner; beyond that whoever tells waits.
const NEWS: usize = 1024;
/// Requests that wait for the owner.
const REQUESTS: usize = 256;

/// Where this agentd runs.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) paths: Paths,
    mode: Mode,
}

impl Place {
    /// The machine itself, for root only, or the directory that was named.
    pub(crate) fn new(args: &Args) -> anyhow::Result<Self> {
        match &args.root {
            Some(root) => {
                let root = fs::canonicalize(root)
                    .with_context(|| format!("--root: cannot use {}", root.display()))?;
                Ok(Self { paths: Paths::under(root), mode: Mode::Scratch })
            }
            None if args.check || nix::unistd::geteuid().is_root() => {
                Ok(Self { paths: Paths::system(), mode: Mode::Appliance })
            }
            None => bail!("the machine is root's: run agentd as root, or with --root DIR"),
        }
    }
}

/// agentd, ready to run.
pub(crate) struct Ready<F> {
    pub(crate) owner: Owner,
    pub(crate) fronts: F,
    /// What this agentd cannot do where it runs.
    pub(crate) limits: Vec<String>,
}

/// Makes everything; agents are started by `owner.run`.
pub(crate) fn start(
    args: &Args,
    place: Place,
) -> anyhow::Result<Ready<impl Future<Output = ()> + Send + 'static>> {
    let Place { paths, mode } = place;
    let started_ms = clock::wall_ms();
    for dir in [paths.runtime(), paths.state()] {
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let lock = lock(&paths.runtime())?;
    let facts = HostFacts::gather().context("cannot look at this machine")?;
    if !launcher::has_pidfd() {
        bail!("this kernel has no pidfd_open(2): Linux 5.3 or newer is needed");
    }
    let limits = limits(&facts, mode, &paths);
    let launcher = Arc::new(Launcher::new(program()?, mode, paths.clone(), facts));
    match launcher.clear_leftovers() {
        Ok(0) => {}
        Ok(count) => tracing::warn!(count, "agents of an agentd that is gone were killed"),
        Err(err) => tracing::error!(%err, "leftovers of an earlier agentd were not cleared"),
    }

    let loaded = config::load(&paths);
    let opened = Opened::open(&paths);
    let (news_in, news) = mpsc::channel(NEWS);
    let (requests_in, requests) = mpsc::channel(REQUESTS);
    let (config_in, config) = watch::channel(loaded.agentd);
    let tell = {
        let inbox = news_in.clone();
        Box::new(move |what| inbox.try_send(News::Store(what)).is_ok())
    };
    let setup = Setup { dir: paths.state(), config: config.clone(), tell };
    let archive = Archive::start(opened.store, setup).context("cannot start the archive")?;
    let recorder = Recorder::new(opened.last_seq, archive);
    let events = recorder.events();
    let beginning = Beginning {
        loaded,
        enabled: opened.enabled,
        findings: opened.findings,
        store_error: opened.error,
        set_aside: opened.set_aside,
        paths: paths.clone(),
        config: config_in,
    };
    let inboxes = Inboxes { requests, news, inbox: news_in };
    let (owner, snapshot) = Owner::new(beginning, recorder, Arc::clone(&launcher), inboxes);

    let group = Group::from_name(Rights::GROUP).ok().flatten().map(|group| group.gid.as_raw());
    let control = Control::new(Parts {
        rights: Rights::new(nix::unistd::geteuid().as_raw(), group),
        about: About { paths: paths.clone(), started_ms, limits: limits.clone() },
        requests: requests_in,
        snapshot,
        events,
        history: History::new(paths.state()),
        launcher,
    });
    let listener = front::varlink::listen(&paths.control_socket(), group)?;
    let bus = match (&args.bus, mode) {
        (Some(address), _) => Some(front::bus::Address::At(address.clone())),
        (None, Mode::Appliance) => Some(front::bus::Address::System),
        (None, Mode::Scratch) => None,
    };
    let fronts = async move {
        // Held for as long as anyone is served.
        let _lock = lock;
        let varlink = front::varlink::serve(listener, control.clone(), config);
        match bus {
            Some(address) => {
                tokio::join!(varlink, front::bus::serve(address, control));
            }
            None => varlink.await,
        }
    };
    Ok(Ready { owner, fronts, limits })
}

/// Two agentds in one place would fight over agents and store.
fn lock(runtime: &Path) -> anyhow::Result<Flock<fs::File>> {
    let path = runtime.join("agentd.lock");
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, err)| {
        anyhow::anyhow!("another agentd runs here ({} is locked: {err})", path.display())
    })
}

/// agentd-launch lies beside agentd.
fn program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find agentd's own program")?;
    let program = own.with_file_name("agentd-launch");
    if !program.is_file() {
        bail!("{} is missing: agents cannot be started without it", program.display());
    }
    Ok(program)
}

/// What a store gives to begin with, or why there is none.
#[derive(Default)]
struct Opened {
    /// The store, and the number of the last event that it has.
    store: Option<(Store, u64)>,
    /// The number after which numbers go on.
    last_seq: u64,
    enabled: std::collections::BTreeMap<agentd_model::AgentName, bool>,
    findings: Vec<agentd_store::FindingRow>,
    set_aside: Vec<PathBuf>,
    error: Option<String>,
}

impl Opened {
    fn open(paths: &Paths) -> Self {
        let opened = Store::open(&paths.state()).and_then(|(store, opened)| {
            if let Some(err) = &opened.metrics_failed {
                tracing::warn!(err = %Chain(err), "readings are not kept until their file opens");
            }
            let (enabled, findings) = (store.enabled()?, store.open_findings()?);
            let is_new = opened.set_aside.iter().any(|file| is_aside_of(file, &paths.database()));
            let last_seq = if is_new { beyond_all() } else { opened.last_seq };
            Ok(Self {
                store: Some((store, opened.last_seq)),
                last_seq,
                enabled,
                findings,
                set_aside: opened.set_aside,
                error: None,
            })
        });
        opened.unwrap_or_else(|err| Self {
            last_seq: beyond_all(),
            error: Some(Chain(&err).to_string()),
            ..Self::default()
        })
    }
}

/// Whether `file` is what became of the damaged `database`.
fn is_aside_of(file: &Path, database: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    name(file).zip(name(database)).is_some_and(|(file, database)| file.starts_with(&database))
}

/// A number above every one that was given out before: nobody makes a thousand events a second for
/// long. For where it is not known what was given out: a client that follows from the last number
/// it knows must not be deaf until the new ones have caught up.
fn beyond_all() -> u64 {
    u64::try_from(clock::wall_ms()).unwrap_or(0)
}

fn limits(facts: &HostFacts, mode: Mode, paths: &Paths) -> Vec<String> {
    let mut limits = Vec::new();
    if mode == Mode::Scratch {
        let user = facts.euid;
        limits.push(format!("agents run as uid {user} and see the whole file system"));
        limits.push(format!("agents log to {}, not to the journal", paths.logs().display()));
    }
    if facts.cgroup.is_none() {
        limits.push(
            "no delegated control group (cgroup v2): agents have no limits, and a process that \
             leaves its session outlives a stop"
                .into(),
        );
    }
    limits
}
