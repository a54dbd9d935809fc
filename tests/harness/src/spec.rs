//! An agent's file, put together line by line.

use std::fmt::Write;

/// The file of one agent. What is not said is left to agentd's defaults.
#[derive(Clone, Debug)]
pub struct Spec {
    name: String,
    exec: Vec<String>,
    agent: String,
    restart: String,
    checks: String,
}

impl Spec {
    /// An agent that runs `exec`.
    pub fn new(name: &str, exec: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            exec: exec.iter().map(|&part| part.to_owned()).collect(),
            agent: String::new(),
            restart: String::new(),
            checks: String::new(),
        }
    }

    /// With this line in `[agent]`.
    #[must_use]
    pub fn agent(mut self, line: &str) -> Self {
        self.agent += &format!("{line}\n");
        self
    }

    /// With this line in `[restart]`.
    #[must_use]
    pub fn restart(mut self, line: &str) -> Self {
        self.restart += &format!("{line}\n");
        self
    }

    /// With these settings of a check.
    #[must_use]
    pub fn check(mut self, name: &str, lines: &str) -> Self {
        self.checks += &format!("[checks.{name}]\n{lines}\n");
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let Self { name, exec, agent, restart, checks } = self;
        let mut text = String::new();
        // Rust's quoting is TOML's for the plain text that stands here.
        write!(
            text,
            "[agent]\nname = {name:?}\nexec = {exec:?}\n{agent}[restart]\n{restart}{checks}"
        )
        .expect("a string takes everything");
        text
    }
}
