//! The user database as text: `/etc/passwd` (passwd(5)) and `/etc/shadow` (shadow(5)).
//!
//! Lines that the C library would not take either (too few fields, no number) are left out: nobody
//! can log in by them.

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    /// What stands in the password field: `x` refers to the shadow file.
    pub(crate) password: Password,
}

/// What a password field says (crypt(5), shadow(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Password {
    /// Nothing: no password is needed.
    Empty,
    /// `x`: look in the shadow file.
    InShadow,
    /// A hash, or something that no password matches.
    Set,
}

impl Password {
    fn parse(field: &str) -> Self {
        match field {
            "" => Self::Empty,
            "x" => Self::InShadow,
            _hash_or_lock => Self::Set,
        }
    }
}

/// The users of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Users(Vec<User>);

impl Users {
    /// Reads `/etc/passwd`.
    pub(crate) fn parse(passwd: &str) -> Self {
        Self(passwd.lines().filter_map(user).collect())
    }

    /// Each user, in the order of the file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &User> {
        self.0.iter()
    }

    /// Whether `uid` belongs to `user`, a name or a number.
    pub(crate) fn is(&self, uid: u32, user: &str) -> bool {
        match user.parse::<u32>() {
            Ok(number) => number == uid,
            Err(_) => self.0.iter().any(|entry| entry.uid == uid && entry.name == user),
        }
    }

    /// The first name of `uid`, or its number.
    pub(crate) fn name(&self, uid: u32) -> String {
        let found = self.0.iter().find(|entry| entry.uid == uid);
        found.map_or_else(|| uid.to_string(), |entry| entry.name.clone())
    }
}

fn user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let password = Password::parse(fields.next()?);
    let uid = fields.next()?.parse().ok()?;
    // Group, comment, home, shell.
    fields.nth(3)?;
    Some(User { name: name.to_owned(), uid, password })
}

/// The names in `/etc/shadow` whose password field is empty.
pub(crate) fn without_password(shadow: &str) -> Vec<&str> {
    shadow
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let password = rest.split(':').next()?;
            (!name.is_empty() && password.is_empty()).then_some(name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWD: &str = "\
root:*:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
open::1000:1000::/home/open:/bin/sh
broken:x:12
+nis::::::
";

    #[test]
    fn users_are_read_and_broken_lines_left_out() {
        let users = Users::parse(PASSWD);
        let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
        assert_eq!(names, ["root", "daemon", "open"]);
        let passwords: Vec<Password> = users.iter().map(|user| user.password).collect();
        assert_eq!(passwords, [Password::Set, Password::InShadow, Password::Empty]);
    }

    #[test]
    fn a_user_is_known_by_name_and_number() {
        let users = Users::parse(PASSWD);
        assert!(users.is(1, "daemon") && users.is(1, "1") && users.is(77, "77"));
        assert!(!users.is(1, "root") && !users.is(1, "0"));
        assert_eq!((users.name(1), users.name(77)), ("daemon".to_owned(), "77".to_owned()));
    }

    #[test]
    fn an_empty_password_field_is_told_from_a_locked_one() {
        let shadow = "root:*:1:\nopen::19675:0:99999:7:::\nlocked:!:1:\nhash:$y$x:1:\n:::\nshort\n";
        assert_eq!(without_password(shadow), ["open"]);
        assert_eq!(without_password("open:"), ["open"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(.{0,20}[:\n]){0,30}") {
            Users::parse(&text);
            without_password(&text);
        }
    }
}
