//! An agent's TOML file, text in, checked spec out.
//!
//! The file is of the form of DESIGN section 6. Everything wrong with it is reported at once.
//! What concerns several agents (names that are missing, cycles) is left to `check_set`; whether
//! the file has the agent's name, and whether programs and users exist, to the caller.

use std::collections::BTreeMap;
use std::time::Duration;

use super::reader::{At, Reader, Table};
use super::units::show_duration;
use super::{AgentSpec, Budget, CellSpec, CheckSpec, Criticality, RestartPolicy, SpecError, rules};
use crate::AgentName;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// What beats or is measured more often than this costs more than it tells.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);
/// A process cannot live in less.
const SMALLEST_MEMORY: u64 = 1 << 20;
/// Kernel's limit on process ids, PID_MAX_LIMIT (proc(5), /proc/sys/kernel/pid_max).
const MOST_TASKS: u32 = 1 << 22;
/// The kernel's default for `fs.nr_open` (proc(5)); RLIMIT_NOFILE cannot be above.
const MOST_FILES: u32 = 1 << 20;
/// Standard streams, the channel, and what a runtime needs to start.
const FEWEST_FILES: u32 = 16;

/// Reads an agent's file. `file` is only for messages.
///
/// # Errors
///
/// Everything that is wrong with the file, each with line and column.
pub fn parse_spec(file: &str, text: &str) -> Result<AgentSpec, SpecError> {
    Reader::read(file, text, |reader, root| {
        let mut agent = root.table(reader, "agent");
        let restart = root.table(reader, "restart");
        let cell = root.table(reader, "cell");
        let checks = root.table(reader, "checks");

        let name = agent.require(reader, "name", rules::agent_name);
        let summary = agent.read(reader, "summary", rules::summary);
        let exec = exec(reader, &mut agent);
        let after = agent.set(reader, "after", rules::agent_name);
        let needs = agent.set(reader, "needs", rules::agent_name);
        let criticality = agent.read(reader, "criticality", rules::criticality);
        let kit = agent.read(reader, "kit", rules::boolean);
        let enabled = agent.read(reader, "enabled", rules::boolean);
        agent.finish(reader);

        let restart = restart_policy(reader, restart);
        let cell = cell_spec(reader, cell, name.as_ref().map(|name| &name.value));
        let checks = check_specs(reader, &checks);
        Some(AgentSpec {
            name: name?.value,
            summary: summary.map_or_else(String::new, |summary| summary.value),
            exec: exec?,
            after: after.union(&needs).cloned().collect(),
            needs,
            criticality: criticality.map_or(Criticality::Optional, |it| it.value),
            kit: kit.is_none_or(|kit| kit.value),
            enabled: enabled.is_none_or(|enabled| enabled.value),
            restart,
            cell,
            checks,
        })
    })
}

fn exec<'t>(reader: &mut Reader<'t>, agent: &mut Table<'_, 't>) -> Option<Vec<String>> {
    agent.require(reader, "exec", |value| match value.as_array() {
        Some(array) if array.is_empty() => {
            Err("an array of a program and its arguments".to_owned())
        }
        Some(_) | None => Ok(()),
    })?;
    let exec = agent.list(reader, "exec", |index, value| {
        if index == 0 { rules::program(value) } else { rules::argument(value) }
    })?;
    Some(exec.value.into_iter().map(|part| part.value).collect())
}

fn restart_policy<'t>(reader: &mut Reader<'t>, mut table: Table<'_, 't>) -> RestartPolicy {
    let default = RestartPolicy::default();
    let when = table.read(reader, "when", rules::restart_when);
    let first = table.read(reader, "first_delay", rules::duration(Duration::ZERO..=DAY));
    let max = table.read(reader, "max_delay", rules::duration(MILLISECOND..=DAY));
    let mut budget = table.table(reader, "budget");
    let starts = budget.read(reader, "starts", rules::number(1..=1000));
    let within = budget.read(reader, "within", rules::duration(SECOND..=DAY * 30));
    budget.finish(reader);
    let mut limit = |key, least: Duration, default| {
        table.read(reader, key, rules::duration(least..=DAY)).map_or(default, |it| it.value)
    };
    let policy = RestartPolicy {
        when: when.map_or(default.when, |it| it.value),
        first_delay: first.map_or(default.first_delay, |it| it.value),
        max_delay: max.map_or(default.max_delay, |it| it.value),
        budget: Budget {
            starts: starts.map_or(default.budget.starts, |it| it.value),
            within: within.map_or(default.budget.within, |it| it.value),
        },
        stable_after: limit("stable_after", MILLISECOND, default.stable_after),
        ready_within: limit("ready_within", MILLISECOND, default.ready_within),
        heartbeat: limit("heartbeat", SHORTEST_PERIOD, default.heartbeat),
        stop_grace: limit("stop_grace", MILLISECOND, default.stop_grace),
    };
    if policy.first_delay > policy.max_delay {
        let at = first.or(max).map_or(table.at(), |it| it.at);
        let path = table.path_of("first_delay");
        let (first, max) = (show_duration(policy.first_delay), show_duration(policy.max_delay));
        reader.report(at, format!("{path}: {first:?} is longer than max_delay, {max:?}"));
    }
    table.finish(reader);
    policy
}

fn cell_spec<'t>(
    reader: &mut Reader<'t>,
    mut table: Table<'_, 't>,
    name: Option<&AgentName>,
) -> CellSpec {
    let user = value(table.read(reader, "user", rules::user)).unwrap_or_else(|| {
        let user = name.map_or_else(String::new, |name| format!("agentos-{name}"));
        if user.len() > rules::USER_MAX {
            let path = table.path_of("user");
            let most = rules::USER_MAX;
            reader.report(
                table.at(),
                format!(
                    "{path}: missing, and {user:?} is longer than the {most} bytes of useradd(8)"
                ),
            );
        }
        user
    });
    let read = table.places(reader, "read", rules::path);
    let write = table.set(reader, "write", rules::path_below_root);
    for (both, at) in read.iter().filter(|(path, _)| write.contains(*path)) {
        let path = table.path_of("read");
        let both = both.display();
        reader.report(*at, format!("{path}: {both} stands in write too, which includes it"));
    }
    let cell = CellSpec {
        user,
        groups: table.set(reader, "groups", rules::group),
        capabilities: table.set(reader, "capabilities", rules::capability_name),
        read: read.into_keys().collect(),
        write,
        memory_max: value(table.read(reader, "memory_max", rules::size(SMALLEST_MEMORY))),
        tasks_max: value(table.read(reader, "tasks_max", rules::number(1..=MOST_TASKS))),
        cpu_weight: value(table.read(reader, "cpu_weight", rules::number(1..=10_000))),
        files_max: value(table.read(reader, "files_max", rules::number(FEWEST_FILES..=MOST_FILES)))
            .unwrap_or(CellSpec::FILES_MAX),
    };
    table.finish(reader);
    cell
}

fn check_specs<'t>(reader: &mut Reader<'t>, checks: &Table<'_, 't>) -> BTreeMap<String, CheckSpec> {
    let mut specs = BTreeMap::new();
    for (name, table) in checks.tables(reader) {
        if !rules::is_check_name(name.value) {
            let path = checks.path_of(name.value);
            reader.report(
                name.at,
                format!(
                    "{path}: not the name of a check: 1 to 64 of a-z, 0-9, '-' and '_', beginning \
                     with a letter"
                ),
            );
        }
        specs.insert(name.value.to_owned(), check_spec(reader, table));
    }
    specs
}

fn check_spec<'t>(reader: &mut Reader<'t>, mut table: Table<'_, 't>) -> CheckSpec {
    let enabled = value(table.read(reader, "enabled", rules::boolean));
    let every = value(table.read(reader, "every", rules::duration(SHORTEST_PERIOD..=DAY)));
    let timeout = table.read(reader, "timeout", rules::duration(MILLISECOND..=DAY));
    let warning = table.read(reader, "warning", rules::quantity);
    let critical = value(table.read(reader, "critical", rules::quantity));
    let margin = value(table.read(reader, "margin", rules::distance));
    let raise_after = value(table.read(reader, "raise_after", rules::number(1..=1000)));
    let clear_after = value(table.read(reader, "clear_after", rules::number(1..=1000)));
    let allow = table.list(reader, "allow", |_, value| rules::text(value));
    if let (Some(warning), Some(critical)) = (warning, critical)
        && warning.value > critical
    {
        let path = table.path_of("warning");
        let warning_value = warning.value;
        reader.report(
            warning.at,
            format!("{path}: found {warning_value}, expected no more than critical, {critical}"),
        );
    }
    if let (Some(timeout), Some(every)) = (timeout, every)
        && timeout.value > every
    {
        let path = table.path_of("timeout");
        let (timeout_value, every) = (show_duration(timeout.value), show_duration(every));
        reader.report(
            timeout.at,
            format!("{path}: found {timeout_value:?}, expected no more than every, {every:?}"),
        );
    }
    table.finish(reader);
    CheckSpec {
        enabled,
        every,
        timeout: value(timeout),
        warning: value(warning),
        critical,
        margin,
        raise_after,
        clear_after,
        allow: allow.map(|list| list.value.into_iter().map(|word| word.value).collect()),
    }
}

fn value<T>(read: Option<At<T>>) -> Option<T> {
    read.map(|it| it.value)
}
