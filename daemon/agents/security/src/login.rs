//! One line of the log that tells of a failed try to become somebody, as text.
//!
//! Taken are the words of PAM's modules, which log one line per try (pam_unix(8)):
//!
//! ```text
//! pam_unix(su:auth): authentication failure; logname= uid=1000 euid=0 tty= ruser=a rhost=  user=root
//! pam_unix(su:auth): 2 more authentication failures; logname= …
//! ```
//!
//! and those of OpenSSH's server, which tell of keys as well as of passwords. Of a try through sshd
//! PAM's line is left out, so that it counts once:
//!
//! ```text
//! Failed password for invalid user bob from 192.0.2.1 port 40022 ssh2
//! ```
//!
//! Anyone may write such a line to the log. It counts only when journald itself saw that the writer
//! was root or the installed program it says it is; names in it are whatever was typed.

use std::path::Path;

use agentd_kit::journal::Entry;

/// Longest name that is kept, in characters.
const MAX_NAME: usize = 48;
/// Most tries one line may speak of; PAM gives up long before.
const MAX_COUNT: u32 = 100;

/// A failed try, or several of the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) count: u32,
    /// The service: `su`, `login`, `sshd`.
    pub(crate) service: String,
    /// Whom they wanted to be, as they typed it.
    pub(crate) user: String,
    /// The machine they came from; `-` is this one.
    pub(crate) from: String,
}

/// What the entry tells of, if it is believed.
pub(crate) fn failure(entry: &Entry) -> Option<Failure> {
    if !is_trusted(entry) {
        return None;
    }
    if matches!(entry.identifier.as_str(), "sshd" | "sshd-session") {
        sshd(&entry.message)
    } else {
        pam(&entry.message)
    }
}

fn is_trusted(entry: &Entry) -> bool {
    // A set-user-ID program such as su is logged with the user of its caller, so the program counts
    // too: nobody but root can put one below /usr.
    let is_own_program = entry.exe.as_deref().is_some_and(|exe| {
        let exe = Path::new(exe);
        exe.starts_with("/usr") && exe.file_name().is_some_and(|name| *name == *entry.identifier)
    });
    entry.uid == Some(0) || is_own_program
}

fn sshd(message: &str) -> Option<Failure> {
    let (_method, rest) = message.strip_prefix("Failed ")?.split_once(" for ")?;
    // The name is the caller's choice and may contain anything; what follows the last " from " is
    // sshd's own.
    let (who, place) = rest.rsplit_once(" from ")?;
    let (address, port) = place.split_once(" port ")?;
    if !port.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let user = who.strip_prefix("invalid user ").unwrap_or(who);
    Some(Failure { count: 1, service: "sshd".to_owned(), user: name(user), from: name(address) })
}

fn pam(message: &str) -> Option<Failure> {
    let (module, rest) = message.split_once("): ")?;
    let (module, place) = module.split_once('(')?;
    let service = place.strip_suffix(":auth")?;
    if !module.starts_with("pam_") || service == "sshd" {
        return None;
    }
    let (what, details) = rest.split_once("; ")?;
    let count = match what {
        "authentication failure" => 1,
        _ => {
            let more = what.split_once(" more authentication failure")?.0;
            more.parse::<u32>().ok()?.min(MAX_COUNT)
        }
    };
    let after = |key| details.split_once(key).map_or("", |(_, rest)| rest);
    let from = after("rhost=").split(' ').next().unwrap_or_default();
    let user = after(" user=");
    Some(Failure { count, service: name(service), user: name(user), from: name(from) })
}

/// A name that somebody typed, in bounds; `-` where there is none.
fn name(text: &str) -> String {
    match text.trim() {
        "" => "-".to_owned(),
        text => text.chars().take(MAX_NAME).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(identifier: &str, message: &str) -> Entry {
        Entry {
            message: message.to_owned(),
            identifier: identifier.to_owned(),
            uid: Some(0),
            ..Entry::default()
        }
    }

    fn seen(identifier: &str, message: &str) -> Option<(u32, String, String, String)> {
        failure(&entry(identifier, message)).map(|f| (f.count, f.service, f.user, f.from))
    }

    fn some(
        count: u32,
        service: &str,
        user: &str,
        from: &str,
    ) -> Option<(u32, String, String, String)> {
        Some((count, service.to_owned(), user.to_owned(), from.to_owned()))
    }

    #[test]
    fn pams_lines_are_understood() {
        let su = "pam_unix(su:auth): authentication failure; logname= uid=65534 euid=0 tty= \
                  ruser=nobody rhost=  user=root";
        assert_eq!(seen("su", su), some(1, "su", "root", "-"));
        let more = "pam_unix(login:auth): 2 more authentication failures; logname=LOGIN uid=0 \
                    euid=0 tty=tty1 ruser= rhost=host.example  user=a b";
        assert_eq!(seen("login", more), some(2, "login", "a b", "host.example"));
        let sss = "pam_sss(cockpit:auth): authentication failure; logname= uid=0 rhost= user=eve";
        assert_eq!(seen("cockpit-session", sss), some(1, "cockpit", "eve", "-"));
        let unnamed = "pam_unix(login:auth): authentication failure; logname= uid=0 rhost= ";
        assert_eq!(seen("login", unnamed), some(1, "login", "-", "-"));
    }

    #[test]
    fn sshds_lines_are_understood_and_pams_not_counted_again() {
        let password = "Failed password for root from 10.0.0.1 port 22 ssh2";
        assert_eq!(seen("sshd", password), some(1, "sshd", "root", "10.0.0.1"));
        let nobody = "Failed publickey for invalid user bob from ::1 port 40022 ssh2: RSA SHA256:x";
        assert_eq!(seen("sshd-session", nobody), some(1, "sshd", "bob", "::1"));
        let sly =
            "Failed password for invalid user x from 1.2.3.4 port 5 from 10.0.0.1 port 22 ssh2";
        assert_eq!(seen("sshd", sly).unwrap().3, "10.0.0.1");
        let pam =
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 rhost=1.2.3.4  user=root";
        assert_eq!(seen("sshd", pam), None);
        assert_eq!(seen("other", pam), None);
    }

    #[test]
    fn other_lines_tell_of_nothing() {
        for message in [
            "",
            "FAILED SU (to root) nobody on none",
            "pam_unix(su:session): session opened for user root(uid=0) by (uid=0)",
            "pam_unix(su:account): authentication failure; ",
            "Accepted password for root from 10.0.0.1 port 22 ssh2",
            "pam_unix(su:auth): many more authentication failures; x",
        ] {
            assert_eq!(seen("su", message), None, "{message}");
        }
        assert_eq!(seen("sshd", "Failed password for root"), None);
    }

    #[test]
    fn a_line_that_anyone_could_have_written_is_not_believed() {
        let message = "pam_unix(su:auth): authentication failure; logname= uid=0 rhost=  user=root";
        let by = |uid, exe: Option<&str>| {
            let exe = exe.map(str::to_owned);
            failure(&Entry { uid, exe, ..entry("su", message) }).is_some()
        };
        assert!(by(Some(1000), Some("/usr/bin/su")), "su itself, called by a user");
        assert!(!by(Some(1000), Some("/usr/bin/logger")));
        assert!(!by(Some(1000), Some("/home/eve/su")));
        assert!(!by(Some(1000), None));
        assert!(!by(None, None));
    }

    proptest! {
        #[test]
        fn any_line_is_understood_or_not_and_never_a_panic(
            start in prop::sample::select(vec!["", "Failed ", "pam_unix(su:auth): "]),
            rest in "([a-z=;: ]|from|for|port|more authentication failures; |é){0,40}",
        ) {
            for identifier in ["sshd", "su"] {
                if let Some(failure) = failure(&entry(identifier, &format!("{start}{rest}"))) {
                    prop_assert!(failure.count <= MAX_COUNT);
                    prop_assert!(failure.user.chars().count() <= MAX_NAME);
                }
            }
        }
    }
}
