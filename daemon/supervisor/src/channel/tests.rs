//! The channel against an agent that is played by the test.

use std::time::Duration;

use agentd_protocol::channel::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::news::{News, ProcessNews};

struct Played {
    _channel: Channel,
    news: mpsc::Receiver<News>,
    /// The agent's descriptor 3.
    calls: UnixStream,
    /// The agent's descriptor 4.
    served: UnixStream,
}

fn play() -> Played {
    let (from_agent, calls) = UnixStream::pair().unwrap();
    let (to_agent, served) = UnixStream::pair().unwrap();
    let (inbox, news) = mpsc::channel(8);
    let teller = Teller { agent: "a".parse().unwrap(), generation: 1, inbox };
    let settings = Settings {
        name: "a".into(),
        heartbeat_ms: 1000,
        checks: std::collections::BTreeMap::new(),
    };
    let channel = Channel::open(Ends { from_agent, to_agent }, settings, teller);
    Played { _channel: channel, news, calls, served }
}

impl Played {
    async fn said(&mut self) -> Said {
        let news = tokio::time::timeout(Duration::from_secs(5), self.news.recv()).await;
        match news.expect("news in time").expect("a channel that lives") {
            News::Process { what: ProcessNews::Said(said), .. } => said,
            other => panic!("expected something said, got {other:?}"),
        }
    }

    async fn send(&mut self, text: &str) {
        self.calls.write_all(text.as_bytes()).await.unwrap();
        self.calls.write_all(&[0]).await.unwrap();
    }

    async fn broke(&mut self) -> String {
        match self.said().await {
            Said::Broke(reason) => reason,
            other => panic!("expected a broken channel, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn settings_come_first_and_ready_is_answered() {
    let mut agent = play();
    let mut first = vec![0; 512];
    let read = agent.served.read(&mut first).await.unwrap();
    let call: Call = serde_json::from_slice(&first[..read - 1]).unwrap();
    assert_eq!(call.method, "org.agentos.Agent.Reload");
    agent.served.write_all(b"{\"parameters\":{\"problems\":[\"p\"]}}\0").await.unwrap();
    assert!(matches!(agent.said().await, Said::Settled(reply) if reply.problems == ["p"]));
    let ready =
        r#"{"method":"org.agentos.Supervisor.Ready","parameters":{"version":"1","checks":[]}}"#;
    agent.send(ready).await;
    assert!(matches!(agent.said().await, Said::Ready { .. }));
    let mut answer = vec![0; 64];
    let read = agent.calls.read(&mut answer).await.unwrap();
    assert_eq!(&answer[..read], b"{\"parameters\":{}}\0");
}

#[tokio::test]
async fn oneway_calls_are_not_answered() {
    let mut agent = play();
    for _ in 0..3 {
        agent.send(r#"{"method":"org.agentos.Supervisor.Heartbeat","oneway":true}"#).await;
        assert!(matches!(agent.said().await, Said::Heartbeat));
    }
    assert!(agent.calls.try_read(&mut [0; 1]).is_err());
}

#[tokio::test]
async fn whatever_is_no_call_of_ours_breaks_the_channel_with_a_reason() {
    for (sent, reason) in [
        ("not json", "sent a malformed call"),
        ("[]", "sent a malformed call"),
        (r#"{"method":"org.agentos.Supervisor.Stop"}"#, "called \"org.agentos.Supervisor.Stop\""),
        (r#"{"method":"org.agentos.Agents.Stop"}"#, "called \"org.agentos.Agents.Stop\""),
        (
            r#"{"method":"org.agentos.Supervisor.Report","parameters":{"check":7}}"#,
            "sent a malformed Report",
        ),
    ] {
        let mut agent = play();
        agent.send(sent).await;
        let told = agent.broke().await;
        assert!(told.starts_with(reason), "{sent}: {told}");
    }
}

#[tokio::test]
async fn a_message_that_never_ends_breaks_the_channel() {
    let mut agent = play();
    let flood = vec![b' '; Frames::CHANNEL_LIMIT + CHUNK];
    // The channel may hang up before all of it is written.
    drop(agent.calls.write_all(&flood).await);
    assert_eq!(agent.broke().await, "message is longer than 262144 bytes");
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_breaks_the_channel() {
    let mut agent = play();
    agent.served.write_all(b"{}\0{}\0").await.unwrap();
    assert!(matches!(agent.said().await, Said::Settled(_)));
    assert_eq!(agent.broke().await, "answered although nothing was asked");
}

#[tokio::test]
async fn a_closed_channel_is_told_after_a_grace_and_blames_nobody() {
    let mut agent = play();
    agent.calls.write_all(b"{\"method\":\"half").await.unwrap();
    agent.calls.shutdown().await.unwrap();
    assert!(matches!(agent.said().await, Said::Closed));
}

#[tokio::test]
async fn a_flood_is_told_once_and_read_slowly() {
    let mut agent = play();
    let beat = b"{\"method\":\"org.agentos.Supervisor.Heartbeat\",\"oneway\":true}\0".repeat(700);
    agent.calls.write_all(&beat).await.unwrap();
    let mut beats = 0;
    loop {
        match agent.said().await {
            Said::Heartbeat => beats += 1,
            Said::Slowed => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(beats, 600, "a burst is free");
}
