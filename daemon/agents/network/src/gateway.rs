//! Check `gateway`: every router that a default route names answers.
//!
//! Each is sent two ICMP echo requests. One that has answered since this agent started and no longer
//! does is missing. One that never has may be set to ignore echoes: then what counts is whether it
//! answers ARP or neighbour discovery, which no router on the link can do without and which our
//! request made the kernel try.
//!
//! Without a default route there is nothing to ask; that is `default-route`'s to find.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use agentd_kit::{CheckError, Context, Defaults, Readings, Severity, clock};
use futures_util::future::try_join_all;

use crate::icmp;
use crate::netlink::Session;
use crate::state::{DefaultRoute, Link, Neighbour, Reach};

pub(crate) const DEFAULTS: Defaults = Defaults::every(clock::seconds(15)).raise_after(3);

/// Requests in one run.
const ATTEMPTS: u16 = 2;
/// Time for one answer.
const PATIENCE: Duration = clock::seconds(1);
/// Most routers asked in one run; a machine with more default routes than this is not an appliance.
const MAX_GATEWAYS: usize = 16;

/// A router on a link.
type Router = (IpAddr, u32);

/// What is known of a router from earlier runs.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Those that have answered an echo.
    answered: BTreeSet<Router>,
    /// Number of the next request.
    sequence: u16,
}

/// What one run learned of one router.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Probe {
    ip: IpAddr,
    link: String,
    /// It answered an echo now.
    answers: bool,
    /// It has answered one before.
    has_answered: bool,
    /// What the kernel knows of it as a neighbour, if it does.
    reach: Option<Reach>,
}

/// A router could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("cannot ask gateway {ip}")]
struct AskError {
    ip: IpAddr,
    source: io::Error,
}

pub(crate) async fn run(_ctx: &Context, state: &mut State) -> Result<Readings, CheckError> {
    let session = Session::open()?;
    let routers = routers(&session.default_routes().await?);
    let links = session.links().await?;
    let first = state.sequence;
    state.sequence = first.wrapping_add(ATTEMPTS);
    let answers = try_join_all(routers.iter().map(|router| ask(*router, first))).await?;
    let neighbours = session.neighbours().await?;
    let probes: Vec<Probe> = routers
        .iter()
        .zip(answers)
        .map(|(router, answers)| Probe {
            ip: router.0,
            link: name_of(&links, router.1),
            answers,
            has_answered: state.answered.contains(router),
            reach: reach(&neighbours, *router),
        })
        .collect();
    state.answered.retain(|router| routers.contains(router));
    state.answered.extend(
        routers.iter().zip(&probes).filter(|(_, probe)| probe.answers).map(|(router, _)| *router),
    );
    Ok(decide(&probes))
}

/// Each router once.
fn routers(routes: &[DefaultRoute]) -> Vec<Router> {
    let usable = routes.iter().filter(|route| route.is_usable);
    let all: BTreeSet<Router> =
        usable.filter_map(|route| route.gateway.map(|ip| (ip, route.link))).collect();
    all.into_iter().take(MAX_GATEWAYS).collect()
}

fn name_of(links: &[Link], index: u32) -> String {
    links
        .iter()
        .find(|link| link.index == index)
        .map_or_else(|| index.to_string(), |l| l.name.clone())
}

fn reach(neighbours: &[Neighbour], (ip, link): Router) -> Option<Reach> {
    neighbours.iter().find(|n| n.ip == ip && n.link == link).map(|n| n.reach)
}

/// Whether the router answers an echo. Where the process may not send any, the router is sent a
/// datagram to the discard port instead (RFC 863), so that the kernel looks for it on the link.
async fn ask((ip, link): Router, first: u16) -> Result<bool, AskError> {
    for attempt in 0..ATTEMPTS {
        match icmp::echo(ip, link, first.wrapping_add(attempt), PATIENCE).await {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
                return nudge(ip, link)
                    .await
                    .map(|()| false)
                    .map_err(|source| AskError { ip, source });
            }
            Err(source) => return Err(AskError { ip, source }),
        }
    }
    Ok(false)
}

async fn nudge(ip: IpAddr, link: u32) -> io::Result<()> {
    let to = match ip {
        IpAddr::V4(ip) => SocketAddr::from((ip, 9)),
        IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, 9, 0, link)),
    };
    let from: SocketAddr = if ip.is_ipv4() {
        (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = tokio::net::UdpSocket::bind(from).await?;
    match socket.send_to(&[], to).await {
        Ok(_) => {}
        // No neighbour, no way: what the neighbour table says next.
        Err(err) if icmp::is_unreachable(&err) => {}
        Err(err) => return Err(err),
    }
    // The kernel asks three times, a second apart, before it gives up on a new neighbour (arp(7),
    // mcast_solicit and retrans_time); the last word is in the next run's table at the latest.
    tokio::time::sleep(PATIENCE).await;
    Ok(())
}

fn is_missing(probe: &Probe) -> bool {
    match probe.reach {
        _ if probe.answers => false,
        _ if probe.has_answered => true,
        Some(Reach::Answers | Reach::Unsure) => false,
        Some(Reach::Silent) | None => true,
    }
}

fn decide(probes: &[Probe]) -> Readings {
    let mut readings = Readings::new();
    // While another router answers, the machine still has a way out.
    let severity =
        if probes.iter().all(is_missing) { Severity::Critical } else { Severity::Warning };
    for probe in probes.iter().filter(|probe| is_missing(probe)) {
        let neighbour = match probe.reach {
            Some(Reach::Answers) => "answers",
            Some(Reach::Unsure) => "answered earlier",
            Some(Reach::Silent) => "does not answer",
            None => "unknown",
        };
        readings
            .raise(
                format!("gateway:{}%{}", probe.ip, probe.link),
                severity,
                format!("gateway {} on {} does not answer", probe.ip, probe.link),
            )
            .evidence("gateway", probe.ip)
            .evidence("link", &probe.link)
            .evidence("echo_requests", ATTEMPTS)
            .evidence("answered_before", probe.has_answered)
            .evidence("link_layer", neighbour);
    }
    readings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(answers: bool, has_answered: bool, reach: Option<Reach>) -> Probe {
        let ip = "10.0.2.2".parse().unwrap();
        Probe { ip, link: "eth0".to_owned(), answers, has_answered, reach }
    }

    #[test]
    fn a_router_that_fell_silent_is_missing_whatever_its_card_still_says() {
        let readings = decide(&[probe(false, true, Some(Reach::Answers))]);
        let [reading] = readings.readings() else { panic!("{readings:?}") };
        assert_eq!(reading.key(), "gateway:10.0.2.2%eth0");
        assert_eq!(reading.severity(), Some(Severity::Critical));
        assert_eq!(reading.evidence_of("link_layer"), Some("answers"));
    }

    #[test]
    fn a_router_that_ignores_echoes_is_there_while_it_answers_on_the_link() {
        for reach in [Reach::Answers, Reach::Unsure] {
            assert!(decide(&[probe(false, false, Some(reach))]).readings().is_empty());
        }
        assert!(!decide(&[probe(false, false, Some(Reach::Silent))]).readings().is_empty());
        assert!(!decide(&[probe(false, false, None)]).readings().is_empty());
        assert!(decide(&[probe(true, false, None)]).readings().is_empty());
    }

    #[test]
    fn one_router_of_two_is_a_warning() {
        let readings = decide(&[probe(true, true, None), probe(false, true, None)]);
        let [reading] = readings.readings() else { panic!("{readings:?}") };
        assert_eq!(reading.severity(), Some(Severity::Warning));
    }

    #[test]
    fn each_usable_router_is_asked_once() {
        let ip: IpAddr = "10.0.2.2".parse().unwrap();
        let route = DefaultRoute { link: 2, gateway: Some(ip), is_usable: true };
        let dead = DefaultRoute { link: 3, is_usable: false, ..route };
        let direct = DefaultRoute { gateway: None, ..route };
        assert_eq!(routers(&[route, dead, direct, route]), [(ip, 2)]);
        let many: Vec<DefaultRoute> =
            (0..1000).map(|link| DefaultRoute { link, ..route }).collect();
        assert_eq!(routers(&many).len(), MAX_GATEWAYS);
    }
}
