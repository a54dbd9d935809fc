//! Check `accounts`: nobody but the declared users has uid 0, and nobody logs in without a password.
//!
//! The `allow` list names what is fine: `uid0:NAME` and `empty-password:NAME`. A password field that
//! is empty, in `/etc/shadow` or in `/etc/passwd` itself, lets anyone in who gives the name (crypt(5),
//! pam_unix(8) with `nullok`); locked ones (`!`, `*`) are fine.
//!
//! `/etc/shadow` is read as a member of group `shadow`. Where that is not possible nothing is known
//! about passwords, and the check is `unknown`.

use std::collections::BTreeSet;

use agentd_kit::{CheckError, Context, Defaults, Readings, Severity, clock};

use crate::passwd::{Password, Users, without_password};

pub(crate) const DEFAULTS: Defaults = Defaults::every(clock::minutes(1)).allow(&["uid0:root"]);

pub(crate) async fn run(ctx: &Context, _state: &mut ()) -> Result<Readings, CheckError> {
    let users = Users::parse(&ctx.host().read_text("/etc/passwd")?);
    let shadow = ctx.host().read_text("/etc/shadow")?;
    Ok(decide(&users, &shadow, &|item| ctx.is_allowed(item)))
}

fn decide(users: &Users, shadow: &str, is_allowed: &dyn Fn(&str) -> bool) -> Readings {
    let mut readings = Readings::new();
    for user in users.iter().filter(|user| user.uid == 0) {
        let key = format!("uid0:{}", user.name);
        if !is_allowed(&key) {
            let summary = format!("account {} has uid 0, as root has", user.name);
            readings.raise(key, Severity::Critical, summary).evidence("account", &user.name);
        }
    }
    let shadow_open: BTreeSet<&str> = without_password(shadow).into_iter().collect();
    for user in users.iter() {
        let file = match user.password {
            Password::Empty => "/etc/passwd",
            Password::InShadow if shadow_open.contains(user.name.as_str()) => "/etc/shadow",
            Password::InShadow | Password::Set => continue,
        };
        let key = format!("empty-password:{}", user.name);
        if !is_allowed(&key) {
            readings
                .raise(key, Severity::Critical, format!("account {} has no password", user.name))
                .evidence("account", &user.name)
                .evidence("uid", user.uid)
                .evidence("file", file);
        }
    }
    readings
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agentd_kit::{Host, InForce};

    use super::*;

    fn keys(passwd: &str, shadow: &str, allow: &[&str]) -> Vec<String> {
        let readings = decide(&Users::parse(passwd), shadow, &|item| allow.contains(&item));
        assert!(readings.readings().iter().all(|r| r.severity() == Some(Severity::Critical)));
        readings.readings().iter().map(|r| r.key().to_owned()).collect()
    }

    #[test]
    fn a_second_root_is_found_whatever_it_is_called() {
        let passwd = "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n";
        assert_eq!(keys(passwd, "", &["uid0:root"]), ["uid0:toor"]);
        assert_eq!(keys(passwd, "", &["uid0:root", "uid0:toor"]), [""; 0]);
    }

    #[test]
    fn an_account_without_a_password_is_found_in_either_file() {
        let passwd = "a::5:5::/:/bin/sh\nb:x:6:6::/:/bin/sh\nc:x:7:7::/:/bin/sh\nd:*:8:8::/:/x\n";
        let shadow = "b::1:\nc:!*:1:\nd::1:\nnobody-of-this-name::1:\n";
        assert_eq!(keys(passwd, shadow, &[]), ["empty-password:a", "empty-password:b"]);
        assert_eq!(keys(passwd, shadow, &["empty-password:a"]), ["empty-password:b"]);
    }

    #[test]
    fn without_the_shadow_file_nothing_is_known() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        let settings = Arc::new(InForce::from(&DEFAULTS));
        let ctx = Context::new(Host::under(dir.path()), settings, clock::now());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let err = runtime.block_on(run(&ctx, &mut ())).unwrap_err();
        assert!(err.to_string().contains("etc/shadow"), "{err}");
        std::fs::write(dir.path().join("etc/shadow"), "root:*:1:\n").unwrap();
        assert!(runtime.block_on(run(&ctx, &mut ())).unwrap().readings().is_empty());
    }
}
