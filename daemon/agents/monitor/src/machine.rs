//! For tests: a machine of recorded files, and a clock that the test turns.

use std::time::Duration;

use agentd_kit::clock::Now;
use agentd_kit::{Context, Defaults, Host, InForce, Readings};
use agentd_model::Mono;

pub(crate) struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = Host::under(self.dir.path()).path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// What a run of a check is given, so many seconds after boot.
    pub(crate) fn at(&self, seconds: u64, defaults: &Defaults) -> Context {
        let now = Now { boot: Mono(Duration::from_secs(seconds)), wall_ms: 0 };
        Context::new(Host::under(self.dir.path()), InForce::from(defaults), now)
    }
}

/// The samples as `name value unit`.
pub(crate) fn samples(readings: &Readings) -> Vec<String> {
    readings.samples().map(|(name, value, unit)| format!("{name} {value} {unit}")).collect()
}
