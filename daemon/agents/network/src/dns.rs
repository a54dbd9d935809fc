//! Check `dns`: systemd-resolved is there and answers, and the names the site relies on resolve.
//!
//! Asked like any program of the machine asks, over UDP at the stub listener 127.0.0.53
//! (systemd-resolved.service(8)). That needs no socket file and no bus, so that nothing goes stale in
//! the cell when resolved is restarted, and nothing starts a resolved that was stopped.
//!
//! `localhost` is always asked for: resolved answers it by itself (RFC 6761, section 6.3), so it
//! tells resolved from the servers behind it. The `allow` list holds the names that a site relies on;
//! each is asked for on every run and must exist.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use agentd_kit::{CheckError, Context, Defaults, Readings, Severity, clock};
use futures_util::future::try_join_all;
use tokio::net::UdpSocket;

use crate::dns_message::{Answer, NameError, Question};

pub(crate) const DEFAULTS: Defaults = Defaults::every(clock::seconds(10)).raise_after(3).allow(&[]);

/// The name that only needs resolved itself.
const OWN_NAME: &str = "localhost";
/// Questions about one name before it counts as unanswered.
const ATTEMPTS: u16 = 2;
/// Time for one answer.
const PATIENCE: Duration = clock::seconds(2);
/// Most names of a site.
const MAX_NAMES: usize = 16;

/// Where resolved listens.
fn stub() -> SocketAddr {
    (Ipv4Addr::new(127, 0, 0, 53), 53).into()
}

/// What came of asking for one name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// An answer, of whatever kind.
    Answered(Answer),
    /// Nobody listens there.
    Refused,
    /// No answer in time.
    Silent,
    /// Not a name: nothing was asked.
    NotAName(NameError),
}

pub(crate) async fn run(ctx: &Context, id: &mut u16) -> Result<Readings, CheckError> {
    let site = ctx.settings().allow.iter().map(String::as_str).filter(|name| *name != OWN_NAME);
    let names: Vec<&str> = std::iter::once(OWN_NAME).chain(site.take(MAX_NAMES)).collect();
    let first = *id;
    *id = id.wrapping_add(ATTEMPTS);
    let outcomes = try_join_all(names.iter().map(|name| ask(stub(), name, first))).await?;
    Ok(decide(&names.into_iter().zip(outcomes).collect::<Vec<_>>()))
}

/// Asks `server` for `name`. An error means that it could not be asked at all.
async fn ask(server: SocketAddr, name: &str, first: u16) -> io::Result<Outcome> {
    // One socket for each name: the kernel then keeps answers to others, and from others, away.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(server).await?;
    for attempt in 0..ATTEMPTS {
        let question = match Question::new(name, first.wrapping_add(attempt)) {
            Ok(question) => question,
            Err(err) => return Ok(Outcome::NotAName(err)),
        };
        match tokio::time::timeout(PATIENCE, exchange(&socket, &question)).await {
            Ok(Ok(answer)) => return Ok(Outcome::Answered(answer)),
            // The host's own answer to a datagram for a port that nobody has (ip(7)).
            Ok(Err(err)) if err.kind() == io::ErrorKind::ConnectionRefused => {
                return Ok(Outcome::Refused);
            }
            Ok(Err(err)) => return Err(err),
            Err(_elapsed) => {}
        }
    }
    Ok(Outcome::Silent)
}

async fn exchange(socket: &UdpSocket, question: &Question) -> io::Result<Answer> {
    socket.send(question.as_bytes()).await?;
    let mut buffer = [0; 1232];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = question.answer(&buffer[..length]) {
            return Ok(answer);
        }
    }
}

fn decide(asked: &[(&str, Outcome)]) -> Readings {
    let mut readings = Readings::new();
    let is_there = asked.iter().any(|(_, outcome)| matches!(outcome, Outcome::Answered(_)));
    if !is_there {
        let (summary, why) = match asked.first() {
            Some((_, Outcome::Refused)) => {
                ("systemd-resolved is not running: nobody listens on 127.0.0.53", "refused")
            }
            _ => ("systemd-resolved does not answer on 127.0.0.53", "no answer in time"),
        };
        readings
            .raise("dns:resolved", Severity::Critical, summary)
            .evidence("server", stub())
            .evidence("name", OWN_NAME)
            .evidence("result", why)
            .evidence("attempts", ATTEMPTS);
    }
    for (name, outcome) in asked {
        let result = match outcome {
            Outcome::Answered(Answer::Found | Answer::Empty) => continue,
            // That resolved answers is all that this name is for.
            Outcome::Answered(_) if *name == OWN_NAME => continue,
            Outcome::Answered(Answer::NoSuchName) => "no such name".to_owned(),
            Outcome::Answered(Answer::Failed(2)) => "the servers do not answer".to_owned(),
            Outcome::Answered(Answer::Failed(code)) => format!("refused with code {code}"),
            Outcome::Silent if is_there => "no answer in time".to_owned(),
            Outcome::Silent | Outcome::Refused => continue,
            Outcome::NotAName(err) => {
                readings
                    .raise(
                        format!("setting:dns:{}", first_of(name)),
                        Severity::Warning,
                        format!("an allow entry of check dns cannot be used: {err}"),
                    )
                    .evidence("entry", first_of(name));
                continue;
            }
        };
        readings
            .raise(
                format!("dns:name/{name}"),
                Severity::Warning,
                format!("{name} does not resolve: {result}"),
            )
            .evidence("name", name)
            .evidence("result", result)
            .evidence("server", stub());
    }
    readings
}

/// The beginning of a text that may be anything.
fn first_of(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(asked: &[(&str, Outcome)]) -> Vec<String> {
        decide(asked).readings().iter().map(|r| r.key().to_owned()).collect()
    }

    fn not_a_name() -> Outcome {
        Outcome::NotAName(Question::new("a b", 0).unwrap_err())
    }

    #[test]
    fn a_stopped_resolved_is_found_once_and_not_again_for_every_name() {
        for outcome in [Outcome::Refused, Outcome::Silent] {
            let asked = [(OWN_NAME, outcome.clone()), ("example.org", outcome)];
            assert_eq!(keys(&asked), ["dns:resolved"]);
        }
    }

    #[test]
    fn any_answer_shows_that_resolved_is_there() {
        for answer in [Answer::Found, Answer::Empty, Answer::NoSuchName, Answer::Failed(2)] {
            assert!(keys(&[(OWN_NAME, Outcome::Answered(answer))]).is_empty(), "{answer:?}");
        }
    }

    #[test]
    fn a_name_of_the_site_must_exist() {
        let well = (OWN_NAME, Outcome::Answered(Answer::Found));
        for bad in [
            Outcome::Answered(Answer::NoSuchName),
            Outcome::Answered(Answer::Failed(2)),
            Outcome::Answered(Answer::Failed(5)),
            Outcome::Silent,
        ] {
            assert_eq!(keys(&[well.clone(), ("example.org", bad)]), ["dns:name/example.org"]);
        }
        let good = ("example.org", Outcome::Answered(Answer::Empty));
        assert!(keys(&[well.clone(), good]).is_empty());
        assert_eq!(keys(&[well, ("a b", not_a_name())]), ["setting:dns:a b"]);
    }

    #[tokio::test]
    async fn a_port_without_a_server_refuses_and_one_with_a_server_answers() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = server.local_addr().unwrap();
        let serve = async {
            let mut buffer = [0; 512];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            server.send_to(b"noise", from).await.unwrap();
            buffer[2] |= 0x80;
            buffer[3] = 3;
            server.send_to(&buffer[..length], from).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(ask(address, "example.org", 7), serve);
        assert_eq!(outcome.unwrap(), Outcome::Answered(Answer::NoSuchName));
        drop(server);
        assert_eq!(ask(address, "example.org", 7).await.unwrap(), Outcome::Refused);
    }
}
