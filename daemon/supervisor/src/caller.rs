//! Who asks, and what they may do. The kernel or the bus says who; this module says what.

use std::fmt;
use std::sync::Arc;

use zbus_polkit::policykit1::Subject;

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// See agents, events, findings, readings.
    Read,
    /// Change what agents do.
    Manage,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Manage => "manage",
        })
    }
}

/// Someone on the other side of a front end.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Effective user, as the kernel or the bus says.
    pub uid: u32,
    /// Groups, the primary one included.
    pub gids: Vec<u32>,
    /// Which front end they came through: `varlink` or `dbus`.
    pub front: &'static str,
    /// Where polkit can be asked about them.
    pub bus: Option<BusIdentity>,
}

/// A caller on the bus, for polkit to ask about.
#[derive(Clone, Debug)]
pub struct BusIdentity {
    /// The bus.
    pub connection: zbus::Connection,
    /// The caller by its name on the bus: a pid could be another's by the time polkit looks.
    pub subject: Arc<Subject>,
    /// Whether the caller is willing to wait for a person (the message's flag
    /// `ALLOW_INTERACTIVE_AUTHORIZATION`, D-Bus specification, "Message Format").
    pub is_interactive: bool,
}

/// Who has which rights on this machine.
#[derive(Clone, Debug)]
pub struct Rights {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    own_uid: u32,
    group: Option<u32>,
}

impl Rights {
    /// The group whose members may read.
    pub const GROUP: &'static str = "agentos";
    /// The polkit action that grants [`Right::Manage`] to a caller on the bus.
    pub const POLKIT_MANAGE: &'static str = "org.agentos.agentd1.manage";

    /// `own_uid` runs agentd and may do everything, as root may; members of `group` may read.
    pub fn new(own_uid: u32, group: Option<u32>) -> Self {
        Self { inner: Arc::new(Inner { own_uid, group }) }
    }

    /// What the group of readers is on this machine, if it exists.
    pub fn group(&self) -> Option<u32> {
        self.inner.group
    }

    /// Whether `caller` has `right` by who they are, without asking anyone.
    pub fn has(&self, caller: &Caller, right: Right) -> bool {
        if caller.uid == 0 || caller.uid == self.inner.own_uid {
            return true;
        }
        match right {
            Right::Read => self.inner.group.is_some_and(|gid| caller.gids.contains(&gid)),
            Right::Manage => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uid: u32, gids: &[u32]) -> Caller {
        Caller { uid, gids: gids.to_vec(), front: "varlink", bus: None }
    }

    #[test]
    fn root_and_the_owner_may_do_everything_members_may_read_others_nothing() {
        let rights = Rights::new(1000, Some(77));
        for (who, read, manage) in [
            (caller(0, &[]), true, true),
            (caller(1000, &[1000]), true, true),
            (caller(1001, &[5, 77]), true, false),
            (caller(1001, &[5]), false, false),
        ] {
            assert_eq!(rights.has(&who, Right::Read), read, "{who:?}");
            assert_eq!(rights.has(&who, Right::Manage), manage, "{who:?}");
        }
    }

    #[test]
    fn without_the_group_nobody_else_may_read() {
        assert!(!Rights::new(0, None).has(&caller(5, &[0]), Right::Read));
    }
}
