//! Check `sysctl`: the kernel is set as tightly as is declared.
//!
//! The `allow` list is the declaration, in the form of sysctl.d(5) with one more comparison:
//!
//! ```text
//! entry = name "=" value        the setting is exactly this, white space aside
//!       | name ">=" number      it is a number and at least this
//! name  = kernel.dmesg_restrict, net/ipv4/conf/eth0.1/rp_filter: as in sysctl.d(5), the first '.' or
//!         '/' tells which of the two separates
//! ```
//!
//! `rootfs/…/60-agentos.conf` sets what the defaults declare. A setting that the running kernel does
//! not have is a finding too: it protects nobody.

use std::fmt;

use agentd_kit::{CheckError, Context, Defaults, Host, Readings, Severity, clock};

use crate::setting;

/// What the appliance sets. A site's list replaces this one.
const APPLIANCE: &[&str] = &[
    "fs.protected_fifos>=1",
    "fs.protected_hardlinks=1",
    "fs.protected_regular>=1",
    "fs.protected_symlinks=1",
    "fs.suid_dumpable=0",
    "kernel.dmesg_restrict=1",
    "kernel.kptr_restrict>=1",
    "kernel.perf_event_paranoid>=2",
    "kernel.randomize_va_space=2",
    "kernel.sysrq=0",
    "kernel.unprivileged_bpf_disabled>=1",
    "kernel.yama.ptrace_scope>=1",
    "net.ipv4.conf.all.accept_redirects=0",
    "net.ipv4.conf.all.accept_source_route=0",
    "net.ipv4.conf.all.rp_filter>=1",
    "net.ipv4.icmp_echo_ignore_broadcasts=1",
    "net.ipv4.tcp_syncookies>=1",
    "net.ipv6.conf.all.accept_redirects=0",
    "net.ipv6.conf.all.accept_source_route=0",
    "vm.mmap_min_addr>=65536",
    "vm.unprivileged_userfaultfd=0",
];

/// The first run may come before systemd-sysctl.service has set anything: two bad ones in a row.
pub(crate) const DEFAULTS: Defaults =
    Defaults::every(clock::minutes(1)).raise_after(2).allow(APPLIANCE);

/// One line of the declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    /// As it was written.
    name: String,
    /// Below `/proc/sys`.
    path: String,
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Exactly(String),
    AtLeast(i64),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(value) => f.write_str(value),
            Self::AtLeast(least) => write!(f, "at least {least}"),
        }
    }
}

impl Rule {
    fn is_met(&self, actual: &str) -> bool {
        match self {
            Self::Exactly(value) => actual.split_whitespace().eq(value.split_whitespace()),
            Self::AtLeast(least) => actual.trim().parse().is_ok_and(|number: i64| number >= *least),
        }
    }
}

/// The text is not a line of the declaration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not of the form NAME=VALUE or NAME>=NUMBER: {reason}")]
struct ExpectedError {
    reason: &'static str,
}

impl std::str::FromStr for Expected {
    type Err = ExpectedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |reason| ExpectedError { reason };
        let (left, value) = text.split_once('=').ok_or(bad("no '='"))?;
        let value = value.trim();
        if value.is_empty() {
            return Err(bad("no value"));
        }
        let (name, rule) = match left.strip_suffix('>') {
            Some(name) => {
                let least = value.parse().map_err(|_| bad("no number after '>='"))?;
                (name.trim(), Rule::AtLeast(least))
            }
            None => (left.trim(), Rule::Exactly(value.to_owned())),
        };
        let path = path(name).ok_or(bad("the name is not that of a setting"))?;
        Ok(Self { name: name.to_owned(), path, rule })
    }
}

/// The file of a setting, below `/proc/sys`: sysctl.d(5). Never leads out of there.
fn path(name: &str) -> Option<String> {
    let swapped: String = match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('.') => {
            let swap = |c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            };
            name.chars().map(swap).collect()
        }
        Some(_) => name.to_owned(),
        None => return None,
    };
    let is_plain = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-@:".contains(c))
    };
    swapped.split('/').all(is_plain).then_some(swapped)
}

pub(crate) async fn run(ctx: &Context, _state: &mut ()) -> Result<Readings, CheckError> {
    look(ctx.host(), &ctx.settings().allow)
}

fn look(host: &Host, allow: &[String]) -> Result<Readings, CheckError> {
    let (expected, mut readings) = setting::parse::<Expected>("sysctl", allow);
    for Expected { name, path, rule } in expected {
        let actual = host.read_if_there(format!("/proc/sys/{path}"))?;
        if actual.as_deref().is_some_and(|actual| rule.is_met(actual)) {
            continue;
        }
        let actual = match &actual {
            Some(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
            None => "absent".to_owned(),
        };
        readings
            .raise(
                format!("sysctl:{name}"),
                Severity::Warning,
                format!("kernel setting {name} is {actual} and should be {rule}"),
            )
            .evidence("setting", &name)
            .evidence("expected", &rule)
            .evidence("actual", actual);
    }
    Ok(readings)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look_at(files: &[(&str, &str)], allow: &[&str]) -> Readings {
        let dir = tempfile::tempdir().unwrap();
        for (name, value) in files {
            let path = dir.path().join("proc/sys").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, value).unwrap();
        }
        let allow: Vec<String> = allow.iter().map(|entry| (*entry).to_owned()).collect();
        look(&Host::under(dir.path()), &allow).unwrap()
    }

    #[test]
    fn a_setting_that_was_loosened_is_found_with_both_values() {
        let readings = look_at(&[("kernel/dmesg_restrict", "0\n")], &["kernel.dmesg_restrict=1"]);
        let [reading] = readings.readings() else { panic!("{readings:?}") };
        assert_eq!(reading.key(), "sysctl:kernel.dmesg_restrict");
        assert_eq!(reading.evidence_of("expected"), Some("1"));
        assert_eq!(reading.evidence_of("actual"), Some("0"));
    }

    #[test]
    fn a_setting_as_tight_as_declared_or_tighter_is_fine() {
        let files = [("a/b", "2\n"), ("a/range", "0\t2147483647\n")];
        let readings =
            look_at(&files, &["a.b>=1", "a.b>=2", "a.b=2", "a/b=2", "a.range=0 2147483647"]);
        assert!(readings.readings().is_empty(), "{readings:?}");
        assert!(!look_at(&files, &["a.b>=3"]).readings().is_empty());
        assert!(!look_at(&files, &["a.range>=1"]).readings().is_empty(), "two numbers are none");
    }

    #[test]
    fn a_setting_that_the_kernel_lacks_is_found() {
        let readings = look_at(&[], &["kernel.yama.ptrace_scope>=1"]);
        assert_eq!(readings.readings()[0].evidence_of("actual"), Some("absent"));
    }

    #[test]
    fn an_entry_that_cannot_be_used_is_said() {
        for text in ["kernel.x", "kernel.x=", "kernel=1", "a.b>=many", "a.../b=1", "a b.c=1", "=1"]
        {
            let readings = look_at(&[], &[text]);
            let [reading] = readings.readings() else { panic!("{text}: {readings:?}") };
            assert!(reading.key().starts_with("setting:sysctl:"), "{text}: {reading:?}");
        }
    }

    #[test]
    fn names_are_spelt_as_in_sysctl_d() {
        assert_eq!(
            path("net.ipv4.conf.eth0/1.rp_filter").unwrap(),
            "net/ipv4/conf/eth0.1/rp_filter"
        );
        assert_eq!(
            path("net/ipv4/conf/eth0.1/rp_filter").unwrap(),
            "net/ipv4/conf/eth0.1/rp_filter"
        );
    }

    #[test]
    fn every_entry_of_the_appliance_is_understood() {
        let allow: Vec<String> = APPLIANCE.iter().map(|entry| (*entry).to_owned()).collect();
        let (entries, unusable) = setting::parse::<Expected>("sysctl", &allow);
        assert_eq!(entries.len(), APPLIANCE.len());
        assert!(unusable.readings().is_empty(), "{unusable:?}");
    }

    proptest! {
        #[test]
        fn no_entry_leads_out_of_proc_sys(text in "[a-z./ =>]{0,30}|.{0,30}") {
            if let Ok(Expected { path, .. }) = text.parse::<Expected>() {
                let parts = path.split('/').collect::<Vec<_>>();
                prop_assert!(parts.iter().all(|part| !matches!(*part, "" | "." | "..")), "{path}");
            }
        }
    }
}
