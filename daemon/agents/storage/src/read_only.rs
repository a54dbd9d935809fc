//! Check `read-only`: no file system stopped taking writes.
//!
//! One that can only be read is found when it
//! - took writes earlier in this agent's life, or
//! - is mounted to be written by `/etc/fstab`, or
//! - has recorded errors of its own (ext4), which is why the kernel stopped writing to it.
//!
//! One that was read-only from the start, as the appliance's root, is as it should be. The first rule
//! needs the agent to have seen it before; the others hold across a restart of the agent. The `allow`
//! list names mount points that may be read-only.

use std::collections::BTreeSet;

use agentd_kit::{CheckError, Context, Defaults, Readings, Severity, clock};

use crate::mount::{Device, FileSystem, file_systems, unescape};
use crate::recorded;

pub(crate) const DEFAULTS: Defaults = Defaults::every(clock::seconds(10)).allow(&[]);

/// The file systems that took writes.
#[derive(Debug, Default)]
pub(crate) struct State {
    written: BTreeSet<Device>,
}

pub(crate) async fn run(ctx: &Context, state: &mut State) -> Result<Readings, CheckError> {
    let found = file_systems(&ctx.host().read_text("/proc/self/mountinfo")?)?;
    let fstab = ctx.host().read_if_there("/etc/fstab")?.unwrap_or_default();
    let errors = recorded::ext4_errors(ctx.host())?;
    let with_errors = |source: &str| errors.iter().any(|e| source == format!("/dev/{}", e.device));
    Ok(decide(&found, &written_by_fstab(&fstab), &with_errors, &ctx.settings().allow, state))
}

fn decide(
    found: &[FileSystem],
    by_fstab: &BTreeSet<String>,
    has_errors: &dyn Fn(&str) -> bool,
    allow: &[String],
    state: &mut State,
) -> Readings {
    let mut readings = Readings::new();
    for fs in found.iter().filter(|fs| fs.is_read_only && !allow.contains(&fs.point)) {
        let why = if state.written.contains(&fs.device) {
            "it took writes before"
        } else if has_errors(&fs.source) {
            "it has recorded errors"
        } else if by_fstab.contains(&fs.point) {
            "/etc/fstab says that it is written to"
        } else {
            continue;
        };
        readings
            .raise(
                format!("read-only:{}", fs.point),
                Severity::Critical,
                format!("{} can only be read: {why}", fs.point),
            )
            .evidence("path", &fs.point)
            .evidence("device", &fs.source)
            .evidence("type", &fs.kind)
            .evidence("because", why);
    }
    // What is no longer mounted is forgotten; what fell silent is remembered until it is.
    let mounted: BTreeSet<Device> = found.iter().map(|fs| fs.device).collect();
    state.written.retain(|device| mounted.contains(device));
    state.written.extend(found.iter().filter(|fs| !fs.is_read_only).map(|fs| fs.device));
    readings
}

/// The mount points that `/etc/fstab` (fstab(5)) mounts to be written.
fn written_by_fstab(fstab: &str) -> BTreeSet<String> {
    fstab
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (_source, point, _kind) = (fields.next()?, fields.next()?, fields.next()?);
            let options = fields.next().unwrap_or("defaults");
            let is_read = options.split(',').any(|o| matches!(o, "ro" | "noauto"));
            (!is_read).then(|| unescape(point))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn var(is_read_only: bool) -> FileSystem {
        FileSystem {
            device: (259, 3),
            point: "/var".to_owned(),
            kind: "ext4".to_owned(),
            source: "/dev/nvme0n1p3".to_owned(),
            is_read_only,
        }
    }

    fn keys(found: &[FileSystem], fstab: &str, errors: bool, state: &mut State) -> Vec<String> {
        let readings = decide(found, &written_by_fstab(fstab), &|_| errors, &[], state);
        readings.readings().iter().map(|r| r.key().to_owned()).collect()
    }

    #[test]
    fn a_file_system_that_stopped_taking_writes_is_found_until_it_takes_them_again() {
        let mut state = State::default();
        assert_eq!(keys(&[var(false)], "", false, &mut state), [""; 0]);
        assert_eq!(keys(&[var(true)], "", false, &mut state), ["read-only:/var"]);
        assert_eq!(keys(&[var(true)], "", false, &mut state), ["read-only:/var"]);
        assert_eq!(keys(&[var(false)], "", false, &mut state), [""; 0]);
    }

    #[test]
    fn one_that_was_read_only_from_the_start_is_as_it_should_be() {
        let mut state = State::default();
        assert_eq!(keys(&[var(true)], "", false, &mut state), [""; 0]);
        assert_eq!(keys(&[], "", false, &mut state), [""; 0]);
    }

    #[test]
    fn a_device_that_was_unmounted_starts_anew() {
        let mut state = State::default();
        keys(&[var(false)], "", false, &mut state);
        keys(&[], "", false, &mut state);
        assert_eq!(keys(&[var(true)], "", false, &mut state), [""; 0]);
    }

    #[test]
    fn fstab_and_recorded_errors_tell_it_to_an_agent_that_was_just_started() {
        let fstab = "# /dev/x /var ext4\n/dev/x /var ext4 defaults,noatime 0 2\n";
        assert_eq!(keys(&[var(true)], fstab, false, &mut State::default()), ["read-only:/var"]);
        assert_eq!(keys(&[var(true)], "", true, &mut State::default()), ["read-only:/var"]);
        let read = "/dev/x /var ext4 ro,noatime\n/dev/y /var ext4 noauto\n";
        assert_eq!(keys(&[var(true)], read, false, &mut State::default()), [""; 0]);
    }

    #[test]
    fn a_site_may_allow_it() {
        let mut state = State::default();
        keys(&[var(false)], "", false, &mut state);
        let allow = ["/var".to_owned()];
        let readings = decide(&[var(true)], &BTreeSet::new(), &|_| true, &allow, &mut state);
        assert!(readings.readings().is_empty(), "{readings:?}");
    }

    #[test]
    fn fstab_lines_of_any_form_are_read() {
        let points =
            written_by_fstab("\n  \n/dev/a\n/dev/a /b\n/dev/a /my\\040disk xfs\n#x /c ext4\n");
        assert_eq!(points.into_iter().collect::<Vec<_>>(), ["/my disk"]);
    }
}
