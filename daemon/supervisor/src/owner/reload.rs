//! Putting another configuration in force: all of it or nothing, and only what changed.

use std::sync::Arc;

use agentd_model::{AgentName, Change, Event, SpecDiff, Want, diff};
use agentd_protocol::control::{ReloadReport, kind};

use super::{Owner, Refused};
use crate::clock;
use crate::config::Loaded;
use crate::record::Draft;

impl Owner {
    pub(super) fn reload(
        &mut self,
        loaded: Loaded,
        dry_run: bool,
    ) -> Result<ReloadReport, Refused> {
        if !loaded.problems.is_empty() {
            let lines: Vec<&str> =
                loaded.problems.iter().map(|problem| problem.message.as_str()).collect();
            let refused = Refused::Config(lines.join("\n"));
            if !dry_run {
                self.refuse(loaded.problems);
            }
            return Err(refused);
        }
        let diff = diff(&self.specs, &loaded.specs);
        let report = ReloadReport {
            added: diff.added.iter().map(ToString::to_string).collect(),
            changed: diff.changed.iter().map(|(name, _)| name.to_string()).collect(),
            removed: diff.removed.iter().map(ToString::to_string).collect(),
            applied: !dry_run,
        };
        if !dry_run {
            self.config_problems.clear();
            self.apply(diff, loaded);
            let message = format!(
                "configuration loaded: {} added, {} changed, {} removed",
                report.added.len(),
                report.changed.len(),
                report.removed.len()
            );
            let draft = Draft::new(kind::CONFIG_LOADED, message)
                .with("added", report.added.join(" "))
                .with("changed", report.changed.join(" "))
                .with("removed", report.removed.join(" "));
            self.recorder.record(draft, vec![]);
        }
        Ok(report)
    }

    fn apply(&mut self, diff: SpecDiff, loaded: Loaded) {
        let SpecDiff { added, changed, removed } = diff;
        self.config.send_replace(loaded.agentd);
        let mut specs = loaded.specs;
        for name in removed {
            self.specs.remove(&name);
            if let Some(managed) = self.managed.get_mut(&name) {
                managed.is_removed = true;
            }
            self.step(&name, Event::Stop);
        }
        for (name, change) in changed {
            let Some(spec) = specs.remove(&name) else { continue };
            self.specs.insert(name.clone(), spec.clone());
            let enabled = self.is_enabled(&spec);
            let Some(managed) = self.managed.get_mut(&name) else { continue };
            managed.enabled = enabled;
            managed.spec = Arc::new(spec);
            self.dirty.insert(name.clone());
            match change {
                Change::Restart => self.restart_if_wanted(&name),
                Change::Settings => self.send_settings(&name),
                Change::Quiet => {}
            }
        }
        for name in added {
            let Some(spec) = specs.remove(&name) else { continue };
            let enabled = self.is_enabled(&spec);
            if let Some(managed) = self.managed.get_mut(&name) {
                // Removed and back before its old process was gone.
                self.specs.insert(name.clone(), spec.clone());
                managed.enabled = enabled;
                managed.spec = Arc::new(spec);
                managed.is_removed = false;
            } else {
                self.add(spec);
            }
            if self.managed.get(&name).is_some_and(|managed| managed.enabled) && !self.stopping {
                self.step(&name, Event::Start);
            }
        }
    }

    fn restart_if_wanted(&mut self, name: &AgentName) {
        if self.managed.get(name).is_some_and(|managed| managed.agent.want == Want::Up)
            && !self.stopping
        {
            self.step(name, Event::Restart);
        }
    }

    /// Sends a running agent its checks' settings; one that does not take them is started anew.
    fn send_settings(&mut self, name: &AgentName) {
        let Some(managed) = self.managed.get_mut(name) else { return };
        let settings = managed.settings();
        let Some(process) = &managed.process else { return };
        let Some(channel) = &process.channel else { return };
        if channel.reload(settings) {
            managed.said.asked(clock::mono());
        } else {
            self.restart_if_wanted(name);
        }
    }
}
