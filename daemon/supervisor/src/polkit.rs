//! Asking polkit about a caller on the bus.

use std::collections::HashMap;
use std::time::Duration;

use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags};

use crate::caller::BusIdentity;

/// A person may have to type a password; nobody else waits meanwhile.
const LIMIT: Duration = Duration::from_secs(120);

/// Whether polkit grants `action` to the caller. No polkit, an error or no answer in time is a no.
pub async fn grants(caller: &BusIdentity, action: &str) -> bool {
    let asked = tokio::time::timeout(LIMIT, ask(caller, action)).await;
    match asked {
        Ok(Ok(granted)) => granted,
        Ok(Err(err)) => {
            tracing::warn!(action, %err, "polkit did not answer");
            false
        }
        Err(_elapsed) => false,
    }
}

async fn ask(caller: &BusIdentity, action: &str) -> Result<bool, Box<dyn std::error::Error>> {
    let authority = AuthorityProxy::new(&caller.connection).await?;
    let flags = if caller.is_interactive {
        CheckAuthorizationFlags::ALLOW_USER_INTERACTION
    } else {
        CheckAuthorizationFlags::empty()
    };
    let answer =
        authority.check_authorization(&caller.subject, action, &HashMap::new(), flags, "").await?;
    Ok(answer.is_authorized)
}
