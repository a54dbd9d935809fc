//! What agentd and each agent use themselves, from their control groups (kernel's
//! Documentation/admin-guide/cgroup-v2.rst).
//!
//! An agent is held against its own memory limit, by what it could not give back: the files that the
//! kernel caches for it fill every limit in time and mean nothing.

use std::collections::BTreeMap;

use agentd_kit::{Check, CheckError, Context, Defaults, Host, ReadError, Readings};

use crate::rate::{Rates, percent};
use crate::{FormatError, PACE};

/// Raised before the kernel kills the agent at its limit.
const DEFAULTS: Defaults = PACE.thresholds(80.0, 95.0, 5.0).raise_after(3).clear_after(3);

/// agentd's own group; below it `supervisor`, which holds agentd, and `agents/NAME`.
const SERVICE: &str = "/sys/fs/cgroup/system.slice/agentd.service";

/// Memory, CPU time and tasks of each agent.
pub(crate) fn check() -> Check {
    Check::new("agents", "what agentd and each agent use", DEFAULTS, look)
}

/// No agent could be measured.
#[derive(Debug, thiserror::Error)]
enum AgentsError {
    #[error("agentd has no control groups here ({SERVICE}), so what agents use is not known")]
    NoGroups,
    #[error("the control groups of agentd do not count memory")]
    NoMemory,
}

async fn look(ctx: &Context, rates: &mut Rates) -> Result<Readings, CheckError> {
    let host = ctx.host();
    let agents = format!("{SERVICE}/agents");
    let names = match host.list(&agents) {
        Ok(names) => names,
        Err(err) if err.is_absent() => return Err(AgentsError::NoGroups.into()),
        Err(err) => return Err(err.into()),
    };
    // Files of the folder itself (cgroup.procs, ...) have a dot; an agent's name has none.
    let mut groups: Vec<(Option<String>, String)> = names
        .into_iter()
        .filter(|name| !name.contains('.'))
        .map(|name| (Some(name.clone()), format!("{agents}/{name}")))
        .collect();
    groups.push((None, format!("{SERVICE}/supervisor")));

    let (mut readings, mut cpu) = (Readings::new(), BTreeMap::new());
    let mut has_memory = false;
    for (agent, folder) in &groups {
        let prefix = agent.as_ref().map_or_else(|| "agentd".to_owned(), |a| format!("agent.{a}"));
        let Some(usage) = usage(host, folder)? else { continue };
        if let Some(memory) = &usage.memory {
            has_memory = true;
            readings.sample(format!("{prefix}.memory"), to_float(memory.current), "bytes");
            if let Some(agent) = agent {
                measure(&mut readings, agent, memory);
            }
        }
        if let Some(tasks) = usage.tasks {
            readings.sample(format!("{prefix}.tasks"), to_float(tasks), "1");
        }
        cpu.insert(format!("{prefix}.cpu"), usage.cpu_us);
    }
    for (name, rate) in rates.advance(ctx.now().boot, cpu) {
        // Microseconds a second; 100 % is one CPU.
        readings.sample(name, rate / 10_000.0, "percent");
    }
    if has_memory { Ok(readings) } else { Err(AgentsError::NoMemory.into()) }
}

fn measure(readings: &mut Readings, agent: &str, memory: &Memory) {
    let Some(share) = memory.limit.and_then(|limit| percent(memory.held, limit)) else { return };
    let summary = format!("agent {agent} uses {share:.0} % of the memory it may have");
    readings
        .measure(format!("agent-memory:{agent}"), share, "percent", summary)
        .evidence("held_bytes", memory.held)
        .evidence("with_caches_bytes", memory.current)
        .evidence("limit_bytes", memory.limit.unwrap_or(u64::MAX));
}

/// What one group uses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Usage {
    cpu_us: u64,
    /// Where the controller is on.
    memory: Option<Memory>,
    tasks: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Memory {
    current: u64,
    /// Without what the kernel could take back at once.
    held: u64,
    /// `None`: none is set.
    limit: Option<u64>,
}

/// Reads a group; `None` if there is none any more.
fn usage(host: &Host, folder: &str) -> Result<Option<Usage>, CheckError> {
    let file = |name: &str| format!("{folder}/{name}");
    // A group that is removed while it is looked at: reads of its open files say ENODEV.
    let read = |name: &str| match host.read_if_there(file(name)) {
        Err(ReadError::Io { source, .. }) if source.raw_os_error() == Some(ENODEV) => Ok(None),
        other => other,
    };
    let wrong = |name: &str| FormatError::of(file(name));
    let number = |name: &str| match read(name)? {
        Some(text) => Ok::<_, CheckError>(Some(text.trim().parse().map_err(|_| wrong(name))?)),
        None => Ok(None),
    };
    // Every group counts its CPU time, whatever controllers are on.
    let Some(cpu) = read("cpu.stat")? else { return Ok(None) };
    let cpu_us = field(&cpu, "usage_usec").ok_or_else(|| wrong("cpu.stat"))?;
    let memory = match (number("memory.current")?, read("memory.stat")?, read("memory.max")?) {
        (Some(current), Some(stat), Some(limit)) => Some(Memory {
            current,
            held: held(current, &stat).ok_or_else(|| wrong("memory.stat"))?,
            limit: parse_limit(&limit).ok_or_else(|| wrong("memory.max"))?,
        }),
        _ => None,
    };
    Ok(Some(Usage { cpu_us, memory, tasks: number("pids.current")? }))
}

/// errno(3): no such device.
const ENODEV: i32 = 19;

fn field(stat: &str, name: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn held(current: u64, stat: &str) -> Option<u64> {
    let caches = ["active_file", "inactive_file", "slab_reclaimable"];
    caches.into_iter().try_fold(current, |held, name| Some(held.saturating_sub(field(stat, name)?)))
}

/// `max` is no limit.
#[expect(clippy::option_option, reason = "not a limit, no limit, a limit")]
fn parse_limit(text: &str) -> Option<Option<u64>> {
    match text.trim() {
        "max" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 8 PiB, and a sample is a float")]
fn to_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::machine::{Machine, samples};

    /// A group that uses so much memory, half of it caches, of so much.
    fn group(machine: &Machine, folder: &str, memory: u64, limit: &str, cpu_us: u64) {
        let write =
            |name: &str, text: String| machine.write(&format!("{SERVICE}/{folder}/{name}"), &text);
        write("cpu.stat", format!("usage_usec {cpu_us}\nuser_usec 1\n"));
        write("memory.current", format!("{memory}\n"));
        let quarter = memory / 4;
        write(
            "memory.stat",
            format!("anon 1\ninactive_file {quarter}\nactive_file {quarter}\nslab_reclaimable 0\n"),
        );
        write("memory.max", format!("{limit}\n"));
        write("pids.current", "3\n".to_owned());
    }

    #[tokio::test]
    async fn each_agent_and_agentd_are_sampled_and_agents_measured_without_their_caches() {
        let machine = Machine::new();
        let mut rates = Rates::default();
        machine.write(&format!("{SERVICE}/agents/cgroup.procs"), "");
        group(&machine, "agents/network", 8000, "5000", 1_000_000);
        group(&machine, "supervisor", 4000, "max", 0);
        let first = look(&machine.at(10, &DEFAULTS), &mut rates).await.unwrap();
        let [reading] = first.readings() else { panic!("one agent, one reading") };
        assert_eq!(reading.key(), "agent-memory:network");
        assert_eq!(reading.value(), Some(80.0));
        assert_eq!(reading.evidence_of("with_caches_bytes"), Some("8000"));
        assert_eq!(
            samples(&first),
            [
                "agent.network.memory 8000 bytes",
                "agent.network.tasks 3 1",
                "agentd.memory 4000 bytes",
                "agentd.tasks 3 1",
            ]
        );
        group(&machine, "agents/network", 8000, "5000", 6_000_000);
        let second = look(&machine.at(20, &DEFAULTS), &mut rates).await.unwrap();
        assert_eq!(samples(&second)[4..], ["agent.network.cpu 50 percent", "agentd.cpu 0 percent"]);
    }

    #[tokio::test]
    async fn an_agent_without_a_limit_is_sampled_and_not_measured() {
        let machine = Machine::new();
        group(&machine, "agents/network", 8000, "max", 0);
        let readings = look(&machine.at(10, &DEFAULTS), &mut Rates::default()).await.unwrap();
        assert!(readings.readings().is_empty());
        assert_eq!(samples(&readings).len(), 2);
    }

    #[tokio::test]
    async fn a_group_that_is_going_away_is_passed_over() {
        let machine = Machine::new();
        group(&machine, "agents/network", 8000, "max", 0);
        machine.write(&format!("{SERVICE}/agents/leaving/cgroup.procs"), "");
        let readings = look(&machine.at(10, &DEFAULTS), &mut Rates::default()).await.unwrap();
        assert!(samples(&readings).iter().all(|sample| sample.contains("network")));
    }

    #[tokio::test]
    async fn without_control_groups_it_is_unknown_and_says_why() {
        let machine = Machine::new();
        let run = async |machine: &Machine| {
            let ctx = machine.at(10, &DEFAULTS);
            look(&ctx, &mut Rates::default()).await.unwrap_err().to_string()
        };
        assert!(run(&machine).await.starts_with("agentd has no control groups here"));
        machine.write(&format!("{SERVICE}/agents/network/cpu.stat"), "usage_usec 5\n");
        assert!(run(&machine).await.ends_with("do not count memory"));
        machine.write(&format!("{SERVICE}/agents/network/cpu.stat"), "usage 5\n");
        assert!(run(&machine).await.ends_with("cpu.stat is not as the kernel writes it"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(usage_usec|active_file|max|[0-9 \n-]){0,20}", n in any::<u64>()) {
            field(&text, "usage_usec");
            held(n, &text);
            parse_limit(&text);
        }
    }
}
