//! Check `setuid`: no program runs with other rights than its caller's but the declared ones.
//!
//! The `allow` list holds absolute paths, as the walk meets them: `/usr/bin/su`, not `/bin/su`, where
//! `/bin` is a link. The walk goes over every real file system once an hour, at the lowest priority.
//!
//! What it cannot see: directories that the agent's user may not enter, such as private homes. How
//! many there were is in the log. A site that wants them searched as well gives the cell
//! CAP_DAC_READ_SEARCH, and with it every secret on the machine to this agent.

use agentd_kit::{CheckError, Context, Defaults, Readings, Severity, clock};

use crate::passwd::Users;
use crate::walk::{Privileged, WalkError, Walked, walk};

/// What the image holds. A site's list replaces this one.
const APPLIANCE: &[&str] = &[
    "/usr/bin/mount",
    "/usr/bin/su",
    "/usr/bin/umount",
    "/usr/lib/polkit-1/polkit-agent-helper-1",
    "/usr/sbin/unix_chkpwd",
];

pub(crate) const DEFAULTS: Defaults =
    Defaults::every(clock::minutes(60)).timeout(clock::minutes(10)).allow(APPLIANCE);

pub(crate) fn run(ctx: &Context, _state: &mut ()) -> Result<Readings, CheckError> {
    let users = Users::parse(&ctx.host().read_text("/etc/passwd")?);
    let walked = walk_slowly(ctx)?;
    tracing::info!(
        entries = walked.entries,
        closed = walked.closed,
        found = walked.found.len(),
        "walked the file systems"
    );
    Ok(decide(&walked.found, &users, &|path| ctx.is_allowed(path)))
}

/// The walk, on a thread of its own: the priority of a thread cannot be raised again without a
/// capability, and the kit uses its threads for other checks too.
fn walk_slowly(ctx: &Context) -> Result<Walked, WalkError> {
    let root = ctx.host().path("/");
    let until = ctx.now().boot + ctx.settings().timeout.mul_f32(0.95);
    let go_on = || clock::boot() < until;
    let work = || {
        // For the kernel each thread has a priority of its own (setpriority(2), "C library/kernel
        // differences"). If it refuses, the walk is only less polite.
        if let Err(err) = rustix::process::setpriority_process(None, 19) {
            tracing::debug!(%err, "could not lower the priority of the walk");
        }
        walk(&root, &go_on)
    };
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(walked) => walked,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn decide(found: &[Privileged], users: &Users, is_allowed: &dyn Fn(&str) -> bool) -> Readings {
    let mut readings = Readings::new();
    for file in found.iter().filter(|file| !is_allowed(&file.path)) {
        let owner = users.name(file.uid);
        let rights = if file.mode & 0o4000 != 0 {
            format!("user {owner}")
        } else {
            format!("group {}", file.gid)
        };
        // A program that becomes root is as good as the root password.
        let is_root = file.mode & 0o4000 != 0 && file.uid == 0;
        readings
            .raise(
                format!("setuid:{}", file.path),
                if is_root { Severity::Critical } else { Severity::Warning },
                format!("{} runs with the rights of {rights} and is not declared", file.path),
            )
            .evidence("path", &file.path)
            .evidence("mode", format!("{:04o}", file.mode))
            .evidence("owner", owner)
            .evidence("uid", file.uid)
            .evidence("gid", file.gid);
    }
    readings
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use agentd_kit::{Host, InForce};

    use super::*;

    fn file(path: &str, mode: u32, uid: u32) -> Privileged {
        Privileged { path: path.to_owned(), mode, uid, gid: 42 }
    }

    #[test]
    fn an_undeclared_program_is_found_with_its_owner() {
        let users = Users::parse("root:x:0:0::/root:/bin/sh\n");
        let found = [
            file("/usr/bin/su", 0o4755, 0),
            file("/var/x", 0o4755, 0),
            file("/var/y", 0o2755, 0),
            file("/var/z", 0o4755, 7),
        ];
        let readings = decide(&found, &users, &|path| APPLIANCE.contains(&path));
        let seen: Vec<_> = readings.readings().iter().map(|r| (r.key(), r.severity())).collect();
        assert_eq!(
            seen,
            [
                ("setuid:/var/x", Some(Severity::Critical)),
                ("setuid:/var/y", Some(Severity::Warning)),
                ("setuid:/var/z", Some(Severity::Warning)),
            ]
        );
        let reading = &readings.readings()[0];
        assert_eq!(reading.evidence_of("mode"), Some("4755"));
        assert_eq!(reading.evidence_of("owner"), Some("root"));
        assert!(readings.readings()[1].summary().contains("group 42"));
    }

    #[test]
    fn the_walk_runs_below_the_hosts_root_and_within_its_time() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "").unwrap();
        let program = dir.path().join("program");
        std::fs::write(&program, "").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).unwrap();
        let ctx = Context::new(Host::under(dir.path()), InForce::from(&DEFAULTS), clock::now());
        let readings = run(&ctx, &mut ()).unwrap();
        assert_eq!(readings.readings()[0].key(), "setuid:/program");

        for n in 0..300 {
            std::fs::write(dir.path().join(n.to_string()), "").unwrap();
        }
        let timeout = std::time::Duration::ZERO;
        let hasty = InForce { timeout, ..InForce::from(&DEFAULTS) };
        let err = run(&Context::new(ctx.host().clone(), hasty, clock::now()), &mut ()).unwrap_err();
        assert!(err.to_string().starts_with("not finished in time"), "{err}");
    }
}
