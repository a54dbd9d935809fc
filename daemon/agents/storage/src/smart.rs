//! Check `smart`: what the disks say of their own health.
//!
//! Two sources, because asking a disk needs rights that no agent has:
//!
//! - `/sys`, which everyone may read: whether an NVMe controller still runs, and how worn an eMMC is;
//! - the reports in `/run/agentos-smart`, which `agentos-smart.service` (root, confined, started by a
//!   timer) writes with smartctl(8). NVMe wants CAP_SYS_ADMIN for its health log
//!   (drivers/nvme/host/ioctl.c, nvme_cmd_allowed) and ATA CAP_SYS_RAWIO; the agent gets neither.
//!
//! Where there are no reports, or a disk has no health to tell, that is said in the log and raises
//! nothing. Reports that have become old make the check `unknown`: the service should have written
//! new ones.

use std::collections::BTreeSet;
use std::time::Duration;

use agentd_kit::{CheckError, Context, Defaults, Host, ReadError, Readings, Severity, clock};

use crate::smart_report::{Health, Report, ReportError, parse};

pub(crate) const DEFAULTS: Defaults = Defaults::every(clock::minutes(5));

/// Where the service writes its reports, one file for each disk.
const REPORTS: &str = "/run/agentos-smart";
/// The service writes every half an hour.
const TOO_OLD: Duration = clock::minutes(120);
/// Most reports read.
const MAX_REPORTS: usize = 64;

/// What the log has been told already.
#[derive(Debug, Default)]
pub(crate) struct State {
    said: BTreeSet<String>,
}

/// The reports are of no use.
#[derive(Debug, thiserror::Error)]
enum SmartError {
    #[error("cannot use the report {file}")]
    Report { file: String, source: ReportError },
    #[error("the report about {device} is {minutes} minutes old; see agentos-smart.service")]
    Old { device: String, minutes: u64 },
}

pub(crate) async fn run(ctx: &Context, state: &mut State) -> Result<Readings, CheckError> {
    let mut readings = Readings::new();
    controllers(ctx.host(), &mut readings)?;
    emmc(ctx.host(), &mut readings)?;
    let reports = reports(ctx.host())?;
    if reports.is_empty() {
        state.say(REPORTS, "there are no reports of smartctl");
    }
    let now = u64::try_from(ctx.now().wall_ms / 1000).unwrap_or(0);
    for report in &reports {
        let age = Duration::from_secs(now.saturating_sub(u64::try_from(report.made).unwrap_or(0)));
        if age > TOO_OLD {
            let minutes = age.as_secs() / 60;
            return Err(SmartError::Old { device: report.device.clone(), minutes }.into());
        }
        match &report.health {
            Health::Unknown(why) => state.say(&report.device, why),
            Health::Known(_) => judge(report, &mut readings),
        }
    }
    Ok(readings)
}

impl State {
    /// Tells the log once.
    fn say(&mut self, subject: &str, why: &str) {
        if self.said.insert(format!("{subject}: {why}")) {
            tracing::info!(subject, why, "a disk's health is not known");
        }
    }
}

fn reports(host: &Host) -> Result<Vec<Report>, CheckError> {
    let names = match host.list(REPORTS) {
        Ok(names) => names,
        Err(err) if err.is_absent() => Vec::new(),
        Err(err) => return Err(err.into()),
    };
    let mut reports = Vec::new();
    for name in names.iter().filter(|name| name.ends_with(".json")).take(MAX_REPORTS) {
        let file = format!("{REPORTS}/{name}");
        // Removed meanwhile, with its disk.
        let Some(text) = host.read_if_there(&file)? else { continue };
        reports.push(parse(&text).map_err(|source| SmartError::Report { file, source })?);
    }
    Ok(reports)
}

fn judge(report: &Report, readings: &mut Readings) {
    let Health::Known(complaints) = &report.health else { return };
    let Some(worst) = complaints.iter().map(|complaint| complaint.severity).max() else { return };
    let texts: Vec<&str> = complaints.iter().map(|complaint| complaint.text.as_str()).collect();
    let device = report.device.strip_prefix("/dev/").unwrap_or(&report.device);
    let reading = readings.raise(
        format!("smart:{device}"),
        worst,
        format!("disk {device} is not well: {}", texts.join("; ")),
    );
    reading.evidence("device", &report.device).evidence("complaints", texts.join("; "));
    for (name, value) in [("model", &report.model), ("serial", &report.serial)] {
        if let Some(value) = value {
            reading.evidence(name, value);
        }
    }
}

/// NVMe controllers that no longer run (`state` in sysfs; drivers/nvme/host/sysfs.c).
fn controllers(host: &Host, readings: &mut Readings) -> Result<(), ReadError> {
    for name in list(host, "/sys/class/nvme")? {
        let Some(state) = host.read_if_there(format!("/sys/class/nvme/{name}/state"))? else {
            continue;
        };
        let severity = match state.trim() {
            "live" => continue,
            "dead" | "deleting" | "deleting (no IO)" => Severity::Critical,
            _starting_or_resetting => Severity::Warning,
        };
        readings
            .raise(
                format!("nvme-state:{name}"),
                severity,
                format!("NVMe controller {name} is {}", state.trim()),
            )
            .evidence("controller", &name)
            .evidence("state", state.trim());
    }
    Ok(())
}

/// How worn an eMMC is (`life_time` and `pre_eol_info` in sysfs: Documentation/ABI/testing/
/// sysfs-class-mmc; JEDEC JESD84-B51, section 7.4.43 and following).
fn emmc(host: &Host, readings: &mut Readings) -> Result<(), ReadError> {
    for name in list(host, "/sys/block")?.iter().filter(|name| name.starts_with("mmcblk")) {
        let read = |file| host.read_if_there(format!("/sys/block/{name}/device/{file}"));
        let (Some(life), Some(end)) = (read("life_time")?, read("pre_eol_info")?) else { continue };
        // Tenths of the rated life that are used, for each kind of memory in it; 11 is all of it.
        let used = life.split_whitespace().filter_map(hex).max().unwrap_or(0);
        let spare = hex(end.trim()).unwrap_or(0);
        let severity = match (used, spare) {
            (11.., _) | (_, 3) => Severity::Critical,
            (10, _) | (_, 2) => Severity::Warning,
            _ => continue,
        };
        let share = used.saturating_mul(10).min(100);
        readings
            .raise(
                format!("smart:{name}"),
                severity,
                format!("eMMC {name} is worn out to {share} %"),
            )
            .evidence("device", name)
            .evidence("life_time", life.trim())
            .evidence("pre_eol_info", end.trim());
    }
    Ok(())
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

fn list(host: &Host, folder: &str) -> Result<Vec<String>, ReadError> {
    match host.list(folder) {
        Err(err) if err.is_absent() => Ok(Vec::new()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use agentd_kit::InForce;
    use agentd_kit::clock::Now;
    use agentd_model::Mono;

    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn with(files: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = dir.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(dir)
        }

        fn look(&self, wall_seconds: i64) -> Result<Readings, CheckError> {
            let now = Now { boot: Mono::default(), wall_ms: wall_seconds * 1000 };
            let ctx = Context::new(Host::under(self.0.path()), InForce::from(&DEFAULTS), now);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(run(&ctx, &mut State::default()))
        }
    }

    fn report(device: &str, passed: bool, made: i64) -> String {
        format!(
            r#"{{"local_time": {{"time_t": {made}}}, "device": {{"name": "{device}"}},
               "model_name": "M", "smart_status": {{"passed": {passed}}}}}"#
        )
    }

    #[test]
    fn a_machine_without_any_of_it_is_measured_and_has_no_finding() {
        assert!(Machine::with(&[]).look(0).unwrap().readings().is_empty());
    }

    #[test]
    fn a_disk_that_expects_to_fail_is_found_and_a_healthy_one_not() {
        let machine = Machine::with(&[
            ("run/agentos-smart/sda.json", &report("/dev/sda", false, 1000)),
            ("run/agentos-smart/sdb.json", &report("/dev/sdb", true, 1000)),
            ("run/agentos-smart/sdc.json.part", "{"),
        ]);
        let readings = machine.look(1100).unwrap();
        let [reading] = readings.readings() else { panic!("{readings:?}") };
        assert_eq!((reading.key(), reading.severity()), ("smart:sda", Some(Severity::Critical)));
        assert_eq!(reading.evidence_of("model"), Some("M"));
    }

    #[test]
    fn old_or_broken_reports_are_not_health() {
        let machine =
            Machine::with(&[("run/agentos-smart/sda.json", &report("/dev/sda", true, 1000))]);
        assert!(machine.look(1000 + 7200).is_ok());
        let err = machine.look(1000 + 7201).unwrap_err();
        assert!(err.to_string().contains("/dev/sda is 120 minutes old"), "{err}");
        let broken = Machine::with(&[("run/agentos-smart/sda.json", "{")]);
        assert!(broken.look(0).unwrap_err().to_string().contains("sda.json"));
    }

    #[test]
    fn a_controller_that_died_is_found() {
        let machine = Machine::with(&[
            ("sys/class/nvme/nvme0/state", "live\n"),
            ("sys/class/nvme/nvme1/state", "dead\n"),
            ("sys/class/nvme/nvme2/state", "resetting\n"),
        ]);
        let readings = machine.look(0).unwrap();
        let seen: Vec<_> = readings.readings().iter().map(|r| (r.key(), r.severity())).collect();
        assert_eq!(
            seen,
            [
                ("nvme-state:nvme1", Some(Severity::Critical)),
                ("nvme-state:nvme2", Some(Severity::Warning)),
            ]
        );
    }

    #[test]
    fn a_worn_emmc_is_found() {
        let severity = |life: &str, end: &str| {
            let machine = Machine::with(&[
                ("sys/block/mmcblk0/device/life_time", life),
                ("sys/block/mmcblk0/device/pre_eol_info", end),
                ("sys/block/mmcblk1/size", "1"),
                ("sys/block/sda/size", "1"),
            ]);
            machine.look(0).unwrap().readings().first().and_then(|r| r.severity())
        };
        assert_eq!(severity("0x01 0x02\n", "0x01\n"), None);
        assert_eq!(severity("0x01 0x0a\n", "0x01\n"), Some(Severity::Warning));
        assert_eq!(severity("0x0b 0x01\n", "0x01\n"), Some(Severity::Critical));
        assert_eq!(severity("0x01 0x01\n", "0x02\n"), Some(Severity::Warning));
        assert_eq!(severity("0x01 0x01\n", "0x03\n"), Some(Severity::Critical));
        assert_eq!(severity("what", "ever"), None);
    }
}
