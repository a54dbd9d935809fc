//! Asking polkit about a caller on the bus.
//!
//! An answer may take as long as a person needs to type a password, so nothing is held meanwhile
//! and asks are counted: no user has more than a few under way, and all of them together cannot
//! pile up. Whether polkit is there at all is known within seconds. Only a clear yes is a yes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use zbus::Connection;
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags};

use crate::caller::BusIdentity;
use crate::tally::Tally;

/// A person may have to type a password.
const DIALOGUE: Duration = Duration::from_secs(120);
/// polkit is started by the bus when it is first asked; an answer without a person takes
/// milliseconds then. Both together stay below the 25 s for which D-Bus clients wait by default.
const PROMPT: Duration = Duration::from_secs(10);
/// Asks under way of one user.
const OF_ONE_USER: usize = 4;
/// Asks under way in all.
const IN_ALL: usize = 16;

/// A handle on polkit. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Polkit {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    asks: Tally<u32>,
    /// For `cancellation_id`s.
    asked: AtomicU64,
    /// Whether the last ask was not answered, so that it is logged once and not at a caller's will.
    is_mute: AtomicBool,
}

/// What polkit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Granted,
    /// No, or no answer in time, or there is no polkit.
    Refused,
    /// Not asked: too many asks are under way.
    Busy,
}

/// polkit did not say yes or no. An error of `zbus` prints its own causes, so it is not a source.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("polkit cannot be reached: {0}")]
    Unreachable(zbus::Error),
    #[error("polkit was not there within {} s", PROMPT.as_secs())]
    Absent,
    #[error("polkit cannot decide: {0}")]
    Undecided(zbus::Error),
    #[error("polkit did not decide within {} s", limit.as_secs())]
    Slow { limit: Duration },
}

impl Default for Polkit {
    fn default() -> Self {
        let asks = Tally::new(OF_ONE_USER, IN_ALL);
        let inner = Inner { asks, asked: AtomicU64::new(0), is_mute: AtomicBool::new(false) };
        Self { inner: Arc::new(inner) }
    }
}

impl Polkit {
    /// Whether polkit grants `action` to the caller, who is the user `uid`. With a caller who is
    /// willing to wait for a person this takes up to two minutes, else a few seconds at most.
    pub async fn ask(&self, uid: u32, caller: &BusIdentity, action: &str) -> Verdict {
        let Some(_share) = self.inner.asks.take(uid) else { return Verdict::Busy };
        match self.check(caller, action).await {
            Ok(is_granted) => {
                if self.inner.is_mute.swap(false, Ordering::Relaxed) {
                    tracing::info!("polkit answers again");
                }
                if is_granted { Verdict::Granted } else { Verdict::Refused }
            }
            // A person who does not come is not polkit's fault.
            Err(AskError::Slow { .. }) if caller.is_interactive => Verdict::Refused,
            Err(err) => {
                if !self.inner.is_mute.swap(true, Ordering::Relaxed) {
                    tracing::warn!(action, %err, "polkit did not answer, which is taken for a no");
                }
                Verdict::Refused
            }
        }
    }

    async fn check(&self, caller: &BusIdentity, action: &str) -> Result<bool, AskError> {
        wake(&caller.connection).await?;
        let authority =
            AuthorityProxy::new(&caller.connection).await.map_err(AskError::Unreachable)?;
        let (flags, limit) = if caller.is_interactive {
            (CheckAuthorizationFlags::ALLOW_USER_INTERACTION, DIALOGUE)
        } else {
            (CheckAuthorizationFlags::empty(), PROMPT)
        };
        let number = self.inner.asked.fetch_add(1, Ordering::Relaxed);
        let cancel = format!("agentd-{number}");
        let details = HashMap::new();
        let asked =
            authority.check_authorization(&caller.subject, action, &details, flags, &cancel);
        match tokio::time::timeout(limit, asked).await {
            Ok(answer) => Ok(answer.map_err(AskError::Undecided)?.is_authorized),
            Err(_elapsed) => {
                // Takes the dialogue off the person's screen; a polkit that hangs is not waited for.
                let cancelled = authority.cancel_check_authorization(&cancel);
                drop(tokio::time::timeout(Duration::from_secs(1), cancelled).await);
                Err(AskError::Slow { limit })
            }
        }
    }
}

/// Makes sure that polkit is there before a person's time is waited for: the bus starts it if it
/// can, and may take long to find out that it cannot.
async fn wake(bus: &Connection) -> Result<(), AskError> {
    let ping = bus.call_method(
        Some("org.freedesktop.PolicyKit1"),
        "/org/freedesktop/PolicyKit1/Authority",
        Some("org.freedesktop.DBus.Peer"),
        "Ping",
        &(),
    );
    match tokio::time::timeout(PROMPT, ping).await {
        Ok(pong) => pong.map(drop).map_err(AskError::Unreachable),
        Err(_elapsed) => Err(AskError::Absent),
    }
}
