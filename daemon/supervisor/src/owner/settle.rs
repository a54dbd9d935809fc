//! What follows from a change: whoever waited for it starts, whoever may stop now stops, whoever was
//! removed is forgotten.

use agentd_model::{AgentName, Event, Phase, Want, stop_order, waits_for};
use agentd_protocol::control::kind;

use super::Owner;
use super::managed::Managed;
use crate::clock;
use crate::record::Draft;

impl Owner {
    pub(super) fn begin_stop(&mut self) {
        self.stopping = true;
        // What has no process needs no order; what has one is stopped layer by layer.
        let without: Vec<AgentName> = self
            .managed
            .iter()
            .filter(|(_, managed)| {
                matches!(managed.agent.phase, Phase::Waiting { .. } | Phase::Backoff { .. })
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in without {
            self.step(&name, Event::Stop);
        }
    }

    /// Carries on until nothing more follows: starts what need not wait any longer, stops what no
    /// one running depends on, forgets what was removed; then shows the result.
    pub(super) fn settle(&mut self) {
        loop {
            let mut moved = false;
            if self.stopping {
                moved |= self.stop_next_layer();
            } else {
                moved |= self.clear_waiting();
            }
            if !moved {
                break;
            }
        }
        self.forget_removed();
        self.note_all_ready();
        self.publish();
    }

    pub(super) fn clear_waiting(&mut self) -> bool {
        let waiting: Vec<AgentName> = self
            .managed
            .iter()
            .filter(|(_, managed)| matches!(managed.agent.phase, Phase::Waiting { .. }))
            .map(|(name, _)| name.clone())
            .collect();
        let mut moved = false;
        for name in waiting {
            if self.reasons_to_wait(&name).is_empty() {
                self.step(&name, Event::Cleared);
                moved = true;
            } else {
                self.dirty.insert(name);
            }
        }
        moved
    }

    pub(super) fn reasons_to_wait(&self, name: &AgentName) -> Vec<agentd_model::WaitReason> {
        waits_for(name, &self.specs, |other| self.managed.get(other).map(|managed| &managed.agent))
    }

    pub(super) fn stop_next_layer(&mut self) -> bool {
        for layer in stop_order(&self.specs) {
            let mut is_quiet = true;
            let mut moved = false;
            for name in layer {
                let Some(managed) = self.managed.get(&name) else { continue };
                if managed.is_at_rest() {
                    continue;
                }
                is_quiet = false;
                if managed.agent.want == Want::Up {
                    self.step(&name, Event::Stop);
                    moved = true;
                }
            }
            if moved || !is_quiet {
                return moved;
            }
        }
        false
    }

    pub(super) fn forget_removed(&mut self) {
        let gone: Vec<AgentName> = self
            .managed
            .iter()
            .filter(|(_, managed)| managed.is_removed && managed.is_at_rest())
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            let changes = self.findings.keep_checks(&name, |_| false, clock::wall_ms());
            self.tell_findings(&name, changes);
            self.managed.remove(&name);
            self.disarm(&name);
            self.dirty.insert(name);
        }
    }

    pub(super) fn note_all_ready(&mut self) {
        if self.all_ready.is_some() {
            return;
        }
        let wanted = || self.managed.values().filter(|managed| managed.agent.want == Want::Up);
        let count = wanted().count();
        if count > 0 && wanted().all(Managed::is_running) {
            let now = clock::mono();
            self.all_ready = Some(now);
            let message = format!("all {count} wanted agents are running");
            let draft = Draft::new(kind::AGENTD, message).with("boot_ms", now.0.as_millis());
            self.recorder.record(draft, vec![]);
        }
    }
}
