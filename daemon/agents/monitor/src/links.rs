//! What goes over the network links (`/proc/net/dev`, proc_pid_net(5)), the machine's own loopback
//! aside. Whether a link is as it should be is the network agent's.

use std::collections::BTreeMap;

use agentd_kit::{Check, CheckError, Context, Readings};
use procfs::FromBufRead;
use procfs::net::InterfaceDeviceStatus;

use crate::rate::Rates;
use crate::{FormatError, PACE};

const FILE: &str = "/proc/net/dev";

/// Link traffic.
pub(crate) fn check() -> Check {
    Check::new("links", "traffic and errors of each network link", PACE, look)
}

async fn look(ctx: &Context, rates: &mut Rates) -> Result<Readings, CheckError> {
    let text = ctx.host().read_text(FILE)?;
    let counters = counters(&text).ok_or_else(|| FormatError::of(FILE))?;
    let mut readings = Readings::new();
    for (name, rate) in rates.advance(ctx.now().boot, counters) {
        let unit = if name.ends_with(".errors") { "1/s" } else { "bytes/s" };
        readings.sample(name, rate, unit);
    }
    Ok(readings)
}

fn counters(text: &str) -> Option<BTreeMap<String, u64>> {
    let InterfaceDeviceStatus(links) =
        InterfaceDeviceStatus::from_buf_read(text.as_bytes()).ok()?;
    let counters = links.into_values().filter(|link| link.name != "lo").flat_map(|link| {
        let name = link.name;
        [
            (format!("net.{name}.received"), link.recv_bytes),
            (format!("net.{name}.sent"), link.sent_bytes),
            (format!("net.{name}.errors"), link.recv_errs.saturating_add(link.sent_errs)),
        ]
    });
    Some(counters.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::machine::{Machine, samples};

    const RECORDED: &str = include_str!("../tests/recorded/net_dev");

    #[tokio::test]
    async fn every_link_but_loopback_is_sampled() {
        let machine = Machine::new();
        let mut rates = Rates::default();
        machine.write(FILE, RECORDED);
        assert!(samples(&look(&machine.at(10, &PACE), &mut rates).await.unwrap()).is_empty());
        let later = RECORDED.replace("446639763   15411    0", "446640763   15421    5");
        machine.write(FILE, &later);
        let readings = look(&machine.at(20, &PACE), &mut rates).await.unwrap();
        assert_eq!(
            samples(&readings),
            ["net.eth0.errors 0.5 1/s", "net.eth0.received 100 bytes/s", "net.eth0.sent 0 bytes/s",]
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(at in 0..RECORDED.len(), junk in "[a-z0-9: \n-]{0,40}") {
            counters(&junk);
            counters(&format!("{}{junk}{}", &RECORDED[..at], &RECORDED[at..]));
        }
    }
}
