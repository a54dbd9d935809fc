//! The network agent: whether this machine can reach the world, and if not, how far it gets.
//!
//! Six checks from the cable outwards, each in its file: links, addresses, the default route, the
//! gateway, names, and how much is lost on the way. What each raises and when is told in its header
//! and, for a site, in `configs/agents.d/network.toml`.
//!
//! It looks and asks; it changes nothing. Everything it needs from its cell is the host's network:
//! no capability, no file beside `/usr`. What must hold: nothing that comes from the network is
//! trusted to be well-formed, and no file but `netlink.rs` knows how the kernel is asked.
#![forbid(unsafe_code)]

mod address;
mod dns;
mod dns_message;
mod error_rate;
mod gateway;
mod icmp;
mod link;
mod netlink;
mod route;
mod state;

use agentd_kit::{Agent, Check};

/// The agent, ready to be run.
pub fn agent() -> Agent {
    Agent::new("network", env!("CARGO_PKG_VERSION"))
        .check(Check::new(
            "links",
            "physical links that are up have a carrier",
            link::DEFAULTS,
            link::run,
        ))
        .check(Check::new(
            "addresses",
            "links with a carrier have an address that is good beyond the link",
            address::DEFAULTS,
            address::run,
        ))
        .check(Check::new(
            "default-route",
            "there is a default route that can be used",
            route::DEFAULTS,
            route::run,
        ))
        .check(Check::new(
            "gateway",
            "the default gateways answer",
            gateway::DEFAULTS,
            gateway::run,
        ))
        .check(Check::new(
            "dns",
            "systemd-resolved answers, and the site's names resolve",
            dns::DEFAULTS,
            dns::run,
        ))
        .check(Check::new(
            "errors",
            "damaged and dropped packets a second on physical links",
            error_rate::DEFAULTS,
            error_rate::run,
        ))
}
