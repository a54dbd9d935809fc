//! A whole agent against a fake agentd, over real sockets. The agent has a thread of its own, so
//! that a blocked loop is really blocked.

mod fake;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use agentd_protocol::channel::{Outcome, Report};
use serde_json::json;

use self::fake::{Agentd, Call, fast};
use super::*;
use crate::check::CheckError;
use crate::reading::Readings;
use crate::{Context, Severity};

const OFTEN: Defaults = Defaults::every(Duration::from_millis(100));

fn agent() -> Agent {
    Agent::new("test", "1.2.3")
}

/// A check that sees nothing wrong.
fn quiet(name: &'static str) -> Check {
    Check::new(name, "nothing", OFTEN, async |_: &Context, _: &mut ()| Ok(Readings::new()))
}

/// A check that always sees one thing wrong.
fn noisy(name: &'static str, defaults: Defaults) -> Check {
    Check::new(name, "something", defaults, async |_: &Context, _: &mut ()| {
        let mut readings = Readings::new();
        readings.raise("broken", Severity::Critical, "it is broken").evidence("where", "here");
        readings.sample("runs", 1.0, "1");
        Ok(readings)
    })
}

#[derive(Debug, thiserror::Error)]
#[error("cannot look at {what}")]
struct LookError {
    what: &'static str,
    source: std::io::Error,
}

#[tokio::test]
async fn the_handshake_is_settings_then_ready_then_work() {
    let mut agentd = Agentd::start(|| agent().check(noisy("a", OFTEN)));
    let reply = agentd.reload(&fast(json!({"a": {"every_ms": 150}}))).await;
    assert!(reply.problems.is_empty());
    let ready = agentd.next().await;
    let Call::Ready(info) = &ready else { panic!("first of all Ready, not {ready:?}") };
    assert_eq!(info.version, "1.2.3");
    assert_eq!((info.checks[0].name.as_str(), info.checks[0].every_ms), ("a", 150));
    // Until the answer there is only silence: this answer overtakes nothing.
    assert_eq!(agentd.call("org.agentos.Agent.Nonsense").await.error.unwrap(), fake::NO_METHOD);
    assert!(agentd.next_within(Duration::from_millis(250)).await.is_none(), "five heartbeats");
    agentd.answer_ready().await;
    agentd.until("a heartbeat", |call| matches!(call, Call::Heartbeat)).await;
    let report = agentd.report_of("a", Outcome::Measured).await;
    assert_eq!(report.findings[0].key, "broken");
    assert_eq!(report.findings[0].evidence["where"], "here");
    let sample = agentd.next_but_heartbeats().await;
    assert!(matches!(&sample, Call::Sample(s) if s.values[0].name == "runs"), "{sample:?}");
    assert!(agentd.stop().await.is_ok());
}

#[tokio::test]
async fn heartbeats_come_again_and_again_and_stop_when_the_loop_is_blocked() {
    let (blocked, is_blocked) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(Some(released));
    let mut agentd = Agentd::start(move || {
        let run = async move |_: &Context, _: &mut ()| {
            if let Some(released) = released.lock().unwrap().take() {
                blocked.send(()).unwrap();
                released.recv().ok();
            }
            Ok(Readings::new())
        };
        // Sorted behind the quiet one by its time limit, so that there are heartbeats before it.
        let late = OFTEN.timeout(Duration::from_secs(60));
        agent().check(quiet("a")).check(Check::new("blocks", "blocks", late, run))
    });
    agentd.ready(&fast(json!({"blocks": {"enabled": false}}))).await;
    for _ in 0..3 {
        agentd.until("a heartbeat", |call| matches!(call, Call::Heartbeat)).await;
    }
    agentd.reload(&fast(json!({}))).await;
    agentd.until("Ready again", |call| matches!(call, Call::Ready(_))).await;
    agentd.answer_ready().await;
    tokio::task::spawn_blocking(move || is_blocked.recv().unwrap()).await.unwrap();
    while agentd.next_within(Duration::from_millis(250)).await.is_some() {}
    assert!(
        agentd.next_within(Duration::from_millis(500)).await.is_none(),
        "ten heartbeats missed"
    );
    release.send(()).unwrap();
    agentd.until("a heartbeat", |call| matches!(call, Call::Heartbeat)).await;
    assert!(agentd.stop().await.is_ok());
}

#[tokio::test]
async fn a_check_that_fails_is_unknown_with_its_reason_until_it_measures_again() {
    let fails = Arc::new(AtomicBool::new(true));
    let inside = Arc::clone(&fails);
    let mut agentd = Agentd::start(move || {
        let run = async move |_: &Context, _: &mut ()| -> Result<Readings, CheckError> {
            if inside.load(Ordering::SeqCst) {
                let source = std::io::Error::other("it is locked");
                return Err(LookError { what: "the door", source }.into());
            }
            Ok(Readings::new())
        };
        agent().check(Check::new("door", "the door", OFTEN, run)).check(quiet("b"))
    });
    agentd.ready(&fast(json!({}))).await;
    let report = agentd.report_of("door", Outcome::Unknown).await;
    assert_eq!(report.reason.as_deref(), Some("cannot look at the door: it is locked"));
    assert!(report.findings.is_empty());
    agentd.report_of("b", Outcome::Measured).await;
    fails.store(false, Ordering::SeqCst);
    agentd.report_of("door", Outcome::Measured).await;
    assert!(agentd.stop().await.is_ok());
}

#[tokio::test]
async fn a_check_that_takes_too_long_is_unknown_and_the_others_go_on() {
    let mut agentd = Agentd::start(|| {
        let run = async |_: &Context, _: &mut ()| -> Result<Readings, CheckError> {
            std::future::pending().await
        };
        agent().check(Check::new("slow", "slow", OFTEN, run)).check(quiet("b"))
    });
    agentd.ready(&fast(json!({"slow": {"timeout_ms": 30}}))).await;
    for _ in 0..2 {
        let report = agentd.report_of("slow", Outcome::Unknown).await;
        assert_eq!(report.reason.as_deref(), Some("took longer than 30ms and was given up"));
        agentd.report_of("b", Outcome::Measured).await;
    }
    assert!(agentd.stop().await.is_ok());
}

#[tokio::test]
async fn a_check_that_hangs_is_not_started_on_top_of_itself_and_the_others_go_on() {
    let starts = Arc::new(AtomicU32::new(0));
    let (release, released) = mpsc::channel::<()>();
    let (counter, released) = (Arc::clone(&starts), Mutex::new(released));
    let mut agentd = Agentd::start(move || {
        let run = move |_: &Context, _: &mut ()| -> Result<Readings, CheckError> {
            counter.fetch_add(1, Ordering::SeqCst);
            released.lock().unwrap().recv().ok();
            Ok(Readings::new())
        };
        agent().check(Check::blocking("hangs", "hangs", OFTEN, run)).check(quiet("b"))
    });
    agentd.ready(&fast(json!({"hangs": {"timeout_ms": 30}}))).await;
    let first = agentd.report_of("hangs", Outcome::Unknown).await.reason.unwrap();
    assert_eq!(first, "took longer than 30ms and was given up");
    for _ in 0..3 {
        let reason = agentd.report_of("hangs", Outcome::Unknown).await.reason.unwrap();
        assert!(reason.starts_with("an earlier run has been going on for"), "{reason}");
        agentd.report_of("b", Outcome::Measured).await;
    }
    assert_eq!(starts.load(Ordering::SeqCst), 1);
    drop(release); // every run ends at once from here on
    agentd.report_of("hangs", Outcome::Measured).await;
    assert!(agentd.stop().await.is_ok());
}

#[tokio::test]
async fn a_check_that_panics_is_unknown_and_its_state_starts_anew() {
    let mut agentd = Agentd::start(|| {
        let on_loop = async |_: &Context, runs: &mut u32| {
            *runs += 1;
            assert!(*runs < 2, "on the loop");
            Ok(Readings::new())
        };
        let on_thread = |_: &Context, runs: &mut u32| {
            *runs += 1;
            assert!(*runs < 2, "on a thread");
            Ok(Readings::new())
        };
        agent()
            .check(Check::new("loop", "loop", OFTEN, on_loop))
            .check(Check::blocking("thread", "thread", OFTEN, on_thread))
    });
    agentd.ready(&fast(json!({}))).await;
    for (check, reason) in [("loop", "panicked: on the loop"), ("thread", "panicked: on a thread")]
    {
        for _ in 0..2 {
            let report = agentd.report_of(check, Outcome::Unknown).await;
            assert_eq!(report.reason.as_deref(), Some(reason));
            agentd.report_of(check, Outcome::Measured).await;
        }
    }
    assert!(agentd.stop().await.is_ok());
}

#[tokio::test]
async fn a_reading_that_is_no_number_is_unknown() {
    let mut agentd = Agentd::start(|| {
        let run = async |_: &Context, _: &mut ()| {
            let mut readings = Readings::new();
            readings.measure("ratio", f64::NAN, "percent", "0 of 0");
            Ok(readings)
        };
        agent().check(Check::new("ratio", "r", OFTEN.thresholds(1.0, 2.0, 0.0), run))
    });
    agentd.ready(&fast(json!({}))).await;
    let reason = agentd.report_of("ratio", Outcome::Unknown).await.reason.unwrap();
    assert_eq!(reason, "measured something that is not a number for ratio");
}

#[tokio::test]
async fn what_hysteresis_counted_survives_a_reload() {
    let mut agentd = Agentd::start(|| agent().check(noisy("a", OFTEN)).check(quiet("b")));
    agentd.ready(&fast(json!({"a": {"raise_after": 3}}))).await;
    let mut seen = Vec::new();
    for every in [200, 300, 400] {
        seen.push(agentd.report_of("a", Outcome::Measured).await.findings.len());
        agentd.reload(&fast(json!({"a": {"raise_after": 3}, "b": {"every_ms": every}}))).await;
        agentd.until("Ready again", |call| matches!(call, Call::Ready(_))).await;
        agentd.answer_ready().await;
    }
    assert_eq!(seen, [0, 0, 1]);
}

#[tokio::test]
async fn a_reload_with_problems_names_them_and_the_rest_is_in_force() {
    let mut agentd = Agentd::start(|| agent().check(quiet("disk")).check(quiet("load")));
    let settings = fast(json!({"dsik": {}, "load": {"every_ms": 250, "raise_after": 0}}));
    let problems = agentd.reload(&settings).await.problems;
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("did you mean \"disk\"?"));
    let Call::Ready(ready) = agentd.next().await else { panic!("Ready comes all the same") };
    let every: Vec<_> = ready.checks.iter().map(|c| (c.name.as_str(), c.every_ms)).collect();
    assert_eq!(every, [("disk", 100), ("load", 250)]);
}

#[tokio::test]
async fn a_check_is_turned_off_and_on_by_a_reload() {
    let mut agentd = Agentd::start(|| agent().check(noisy("a", OFTEN)).check(quiet("b")));
    agentd.ready(&fast(json!({}))).await;
    agentd.report_of("a", Outcome::Measured).await;
    agentd.reload(&fast(json!({"a": {"enabled": false}}))).await;
    let again = agentd.until("Ready again", |call| matches!(call, Call::Ready(_))).await;
    let Call::Ready(ready) = again else { unreachable!() };
    assert_eq!(ready.checks.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["b"]);
    agentd.answer_ready().await;
    for _ in 0..5 {
        let of = agentd.until("a report", |call| matches!(call, Call::Report(_))).await;
        assert!(matches!(&of, Call::Report(Report { check, .. }) if check == "b"), "{of:?}");
    }
    agentd.reload(&fast(json!({}))).await;
    agentd.until("Ready again", |call| matches!(call, Call::Ready(_))).await;
    agentd.answer_ready().await;
    agentd.report_of("a", Outcome::Measured).await;
}

#[tokio::test]
async fn settings_that_change_nothing_are_answered_and_that_is_all() {
    let mut agentd = Agentd::start(|| agent().check(quiet("a")));
    agentd.ready(&fast(json!({}))).await;
    agentd.reload(&fast(json!({}))).await;
    for _ in 0..4 {
        assert!(!matches!(agentd.next().await, Call::Ready(_)));
    }
}

#[tokio::test]
async fn calls_that_do_not_exist_are_refused_and_the_agent_goes_on() {
    let mut agentd = Agentd::start(|| agent().check(quiet("a")));
    agentd.ready(&fast(json!({}))).await;
    for (method, error) in [
        ("org.agentos.Agent.Explode", fake::NO_METHOD),
        ("org.agentos.Other.Reload", fake::NO_INTERFACE),
        ("nodots", fake::NO_INTERFACE),
        ("", fake::NO_INTERFACE),
    ] {
        assert_eq!(agentd.call(method).await.error.as_deref(), Some(error));
    }
    let refused = agentd.call("org.agentos.Agent.Reload").await;
    assert_eq!(refused.error.as_deref(), Some("org.varlink.service.InvalidParameter"));
    agentd.send_raw(br#"{"method":"org.agentos.Agent.Explode","oneway":true}"#).await;
    assert!(agentd.reload(&fast(json!({}))).await.problems.is_empty(), "the answer to Reload");
    agentd.report_of("a", Outcome::Measured).await;
}

#[tokio::test]
async fn an_agentd_that_goes_away_ends_the_agent() {
    for end in [Agentd::hang_up_calls, Agentd::hang_up_answers] {
        let mut agentd = Agentd::start(|| agent().check(quiet("a")));
        agentd.ready(&fast(json!({}))).await;
        end(&mut agentd);
        let err = agentd.ended().await.unwrap_err();
        assert!(matches!(err, SessionError::Channel(ChannelError::Closed)), "{err:?}");
        assert_eq!(err.to_string(), "agentd closed the channel");
    }
}

#[tokio::test]
async fn an_agentd_that_talks_nonsense_ends_the_agent() {
    let mut agentd = Agentd::start(agent);
    agentd.send_raw(b"{]").await;
    assert!(matches!(agentd.ended().await, Err(SessionError::NotACall(_))));

    let mut agentd = Agentd::start(agent);
    agentd.send_raw(&vec![b'x'; agentd_protocol::Frames::CHANNEL_LIMIT + 1]).await;
    let err = agentd.ended().await.unwrap_err();
    assert!(matches!(err, SessionError::Channel(ChannelError::Frame(_))), "{err:?}");

    let mut agentd = Agentd::start(agent);
    agentd.ready(&fast(json!({}))).await;
    agentd.answer_raw(b"42").await;
    assert!(matches!(agentd.ended().await, Err(SessionError::NotAReply(_))));

    let mut agentd = Agentd::start(agent);
    agentd.ready(&fast(json!({}))).await;
    agentd.answer_raw(b"{}").await;
    assert!(matches!(agentd.ended().await, Err(SessionError::Unasked)));

    let mut agentd = Agentd::start(agent);
    agentd.reload(&fast(json!({}))).await;
    agentd.answer_raw(br#"{"error":"org.agentos.Supervisor.Conflict"}"#).await;
    assert!(matches!(agentd.ended().await, Err(SessionError::Refused { .. })));
}

#[tokio::test]
async fn an_agentd_that_says_nothing_is_left_after_a_time() {
    let short = Duration::from_millis(50);
    let patience = Patience { settings: short, ..Patience::USUAL };
    let err = Agentd::with_patience(patience, agent).ended().await.unwrap_err();
    assert!(matches!(err, SessionError::Late { what: "settings", .. }), "{err:?}");

    let patience = Patience { reply: short, ..Patience::USUAL };
    let mut agentd = Agentd::with_patience(patience, agent);
    agentd.reload(&fast(json!({}))).await;
    let err = agentd.ended().await.unwrap_err();
    assert!(matches!(err, SessionError::Late { what: "a reply to Ready", .. }), "{err:?}");
}

#[tokio::test]
async fn an_agentd_that_does_not_read_holds_up_neither_the_checks_nor_the_end() {
    let runs = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&runs);
    let mut agentd = Agentd::start(move || {
        let run = async move |_: &Context, _: &mut ()| {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut readings = Readings::new();
            for n in 0..200 {
                let key = format!("{n}");
                readings.raise(key, Severity::Info, "x".repeat(900));
            }
            Ok(readings)
        };
        agent().check(Check::new("big", "big", OFTEN, run))
    });
    agentd.ready(&fast(json!({}))).await;
    // The socket and the queue fill up; what is held stays bounded and the loop still answers.
    fake::wait_for("a full channel", || {
        let before = runs.load(Ordering::SeqCst);
        std::thread::park_timeout(Duration::from_millis(400));
        before >= 2 && runs.load(Ordering::SeqCst) == before
    });
    assert!(agentd.reload(&fast(json!({}))).await.problems.is_empty());
    assert!(agentd.stop().await.is_ok());
}
