//! One check: its name, its defaults and the function that looks.
//!
//! A check looks in one of two ways. [`Check::new`] takes an async function that runs on the
//! agent's one loop: it must not block, and is simply dropped when its time is up.
//! [`Check::blocking`] takes a plain function that runs on a thread of its own: it may block in the
//! kernel for ever; then the check is `unknown` and is not started again until that run ends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use agentd_model::{Chain, Mono};

use crate::clock::{self, Now};
use crate::host::Host;
use crate::reading::Readings;
use crate::settings::{Defaults, InForce};

/// What a run of a check is given.
#[derive(Clone, Debug)]
pub struct Context {
    host: Host,
    settings: Arc<InForce>,
    now: Now,
}

impl Context {
    /// A run of a check with these settings on `host` at `now`.
    pub fn new(host: Host, settings: impl Into<Arc<InForce>>, now: Now) -> Self {
        Self { host, settings: settings.into(), now }
    }

    /// The machine to look at. Every path goes through it.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// What the check is set to.
    pub fn settings(&self) -> &InForce {
        &self.settings
    }

    /// When this run started.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Whether `item` stands in the check's `allow` list.
    pub fn is_allowed(&self, item: &str) -> bool {
        self.settings.allow.iter().any(|allowed| allowed == item)
    }
}

/// Why a run measured nothing: any error, with its causes. Made with `?`.
#[derive(Debug)]
pub struct CheckError(Box<dyn std::error::Error + Send + Sync>);

impl<E: std::error::Error + Send + Sync + 'static> From<E> for CheckError {
    fn from(err: E) -> Self {
        Self(Box::new(err))
    }
}

/// The error and its causes: `a: b: c`.
impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Chain(&*self.0).fmt(f)
    }
}

/// A check, ready to be given to an [`Agent`](crate::Agent).
pub struct Check {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) defaults: Defaults,
    pub(crate) body: Box<dyn Body>,
}

impl Check {
    /// A check that runs on the agent's loop. `summary` is one line: what it looks at.
    ///
    /// `state` is the check's own between runs. It starts as `S::default()` and does so again after
    /// a run that was cut off or panicked, as that may have left it half written.
    pub fn new<S, F>(name: &'static str, summary: &'static str, defaults: Defaults, run: F) -> Self
    where
        S: Default + 'static,
        F: AsyncFn(&Context, &mut S) -> Result<Readings, CheckError> + 'static,
    {
        Self { name, summary, defaults, body: Box::new(OnLoop { state: S::default(), run }) }
    }

    /// A check that may block and so runs on a thread. State as in [`Check::new`].
    pub fn blocking<S, F>(
        name: &'static str,
        summary: &'static str,
        defaults: Defaults,
        run: F,
    ) -> Self
    where
        S: Default + Send + 'static,
        F: Fn(&Context, &mut S) -> Result<Readings, CheckError> + Send + Sync + 'static,
    {
        let body = OnThread { state: Some(S::default()), run: Arc::new(run), stuck: None };
        Self { name, summary, defaults, body: Box::new(body) }
    }

    /// Its name: what `[checks.NAME]` in the agent's file refers to.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its own defaults.
    pub fn defaults(&self) -> &Defaults {
        &self.defaults
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .field("defaults", &self.defaults)
            .finish_non_exhaustive()
    }
}

/// A run in progress.
pub(crate) type Run<'a> = Pin<Box<dyn Future<Output = Result<Readings, Failure>> + 'a>>;

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Check(CheckError),
    #[error("panicked: {message}")]
    Panicked { message: String },
    #[error("took longer than {limit:?} and was given up")]
    TimedOut { limit: Duration },
    #[error("measured something that is not a number for {key}")]
    NotANumber { key: String },
    #[error("an earlier run has been going on for {seconds} s and cannot be ended")]
    StillRunning { seconds: u64 },
}

/// How a check is run, its state included.
pub(crate) trait Body {
    /// Starts a run. May be dropped before it is done.
    fn run<'a>(&'a mut self, ctx: &'a Context) -> Run<'a>;

    /// The last run was dropped or panicked: nothing it touched on this side is used again.
    fn reset(&mut self);
}

struct OnLoop<S, F> {
    state: S,
    run: F,
}

impl<S, F> Body for OnLoop<S, F>
where
    S: Default + 'static,
    F: AsyncFn(&Context, &mut S) -> Result<Readings, CheckError> + 'static,
{
    fn run<'a>(&'a mut self, ctx: &'a Context) -> Run<'a> {
        let Self { state, run } = self;
        Box::pin(async move { run(ctx, state).await.map_err(Failure::Check) })
    }

    fn reset(&mut self) {
        self.state = S::default();
    }
}

/// A run on a thread that was not waited for to its end.
struct Stuck<S> {
    since: Mono,
    task: tokio::task::JoinHandle<(S, Result<Readings, CheckError>)>,
}

struct OnThread<S, F> {
    /// `None` while a run has it.
    state: Option<S>,
    run: Arc<F>,
    stuck: Option<Stuck<S>>,
}

impl<S, F> Body for OnThread<S, F>
where
    S: Default + Send + 'static,
    F: Fn(&Context, &mut S) -> Result<Readings, CheckError> + Send + Sync + 'static,
{
    fn run<'a>(&'a mut self, ctx: &'a Context) -> Run<'a> {
        Box::pin(async move {
            if let Some(earlier) = &self.stuck {
                if !earlier.task.is_finished() {
                    let seconds = ctx.now.boot.since(earlier.since).as_secs();
                    return Err(Failure::StillRunning { seconds });
                }
                // Its result is as old as its start, so it is not used; a panic in it neither.
                self.stuck = None;
            }
            let (run, context) = (Arc::clone(&self.run), ctx.clone());
            let mut state = self.state.take().unwrap_or_default();
            let task = tokio::task::spawn_blocking(move || {
                let result = run(&context, &mut state);
                (state, result)
            });
            // Kept in `self` while it is waited for: if this future is dropped, the thread is not
            // forgotten.
            let running = self.stuck.insert(Stuck { since: clock::boot(), task });
            let ended = (&mut running.task).await;
            self.stuck = None;
            match ended {
                Ok((state, result)) => {
                    self.state = Some(state);
                    result.map_err(Failure::Check)
                }
                Err(err) => Err(Failure::Panicked { message: panic_text(err) }),
            }
        })
    }

    fn reset(&mut self) {
        self.state = None;
    }
}

/// What a panicking thread said.
fn panic_text(err: tokio::task::JoinError) -> String {
    match err.try_into_panic() {
        Ok(payload) => payload_text(&*payload),
        Err(err) => err.to_string(),
    }
}

/// The text that `panic!` was given.
pub(crate) fn payload_text(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "without a message".to_owned())
}
