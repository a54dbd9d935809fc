//! What only a booted image can show: one build, one machine for all scenarios, a reboot of it, and
//! one boot through firmware.
//!
//! The scenarios run one after the other in the order of [`SCENARIOS`], because they share the
//! machine; each leaves it as it found it, and a failing one names what it last saw and prints the
//! end of agentd's log. `cargo test -p vm-tests -- NAME` runs those whose name contains NAME.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test crate with a harness of its own, which clippy does not take for one"
)]

mod agents;
mod boot;
mod findings;
mod machine;
mod peers;
mod supervision;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use machine::Machine;

/// A named scenario on the shared machine.
type Scenario = (&'static str, fn(&mut Machine));

/// In this order: what looks at a fresh boot comes first, what reboots comes last.
const SCENARIOS: &[Scenario] = &[
    ("five_agents_run_healthy_in_five_cells", agents::five_agents_run_healthy_in_five_cells),
    ("a_clean_boot_has_no_findings", findings::a_clean_boot_has_no_findings),
    (
        "every_agent_sees_only_what_its_spec_names",
        agents::every_agent_sees_only_what_its_spec_names,
    ),
    ("explain_prints_the_plan_of_the_cell", agents::explain_prints_the_plan_of_the_cell),
    ("varlinkctl_speaks_to_the_control_socket", peers::varlinkctl_speaks_to_the_control_socket),
    ("busctl_speaks_to_the_bus_name", peers::busctl_speaks_to_the_bus_name),
    ("an_unprivileged_caller_may_not_stop", peers::an_unprivileged_caller_may_not_stop),
    ("the_journal_has_fields_and_a_line_per_transition", peers::the_journal_has_fields),
    ("the_monitor_keeps_readings", agents::the_monitor_keeps_readings),
    ("a_failing_unit_is_found_and_forgotten", findings::a_failing_unit),
    ("a_stopped_resolver_is_found_and_forgotten", findings::a_stopped_resolver),
    ("a_new_listener_is_found_and_forgotten", findings::a_new_listener),
    ("a_full_data_partition_is_found_and_forgotten", findings::a_full_data_partition),
    ("a_killed_agent_is_running_again", supervision::a_killed_agent_is_running_again),
    ("a_stopped_process_is_noticed_and_replaced", supervision::a_stopped_process_is_replaced),
    ("a_crash_loop_ends_in_failed_and_stays_visible", supervision::a_crash_loop_ends_in_failed),
    ("a_stop_leaves_an_empty_cgroup", supervision::a_stop_leaves_an_empty_cgroup),
    ("broken_configuration_is_refused_and_shown", supervision::broken_configuration),
    ("agentd_killed_comes_back_with_its_agents", supervision::agentd_killed_comes_back),
    ("the_root_is_read_only", boot::the_root_is_read_only),
    ("state_survives_a_reboot", boot::state_survives_a_reboot),
];

fn main() -> ExitCode {
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let machine: Arc<Mutex<Option<Machine>>> = Arc::default();
    let mut trials: Vec<Trial> = SCENARIOS
        .iter()
        .map(|(name, scenario)| {
            let machine = Arc::clone(&machine);
            Trial::test(*name, move || on_shared(&machine, *scenario))
        })
        .collect();
    trials.push(Trial::test("cargo_boot_through_firmware_prints_the_agents_alone", || {
        guarded(boot::cargo_boot_through_firmware)
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Before `exit`, which runs no destructors: a machine must not outlive its tests.
    drop(machine.lock().unwrap_or_else(PoisonError::into_inner).take());
    conclusion.exit_code()
}

/// Runs one scenario on the machine, booting it for the first.
fn on_shared(machine: &Mutex<Option<Machine>>, scenario: fn(&mut Machine)) -> Result<(), Failed> {
    let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
    if machine.is_none() {
        *machine = Some(Machine::boot()?);
    }
    let machine = machine.as_mut().expect("booted just now");
    let result = guarded(|| scenario(machine));
    if result.is_err() {
        machine.print_log();
    }
    result
}

fn guarded(work: impl FnOnce()) -> Result<(), Failed> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Failed::from(text.unwrap_or_else(|| "panicked".to_owned()))
    })
}
