//! Figures, printed and not judged: a debug build on a busy machine says little about budgets.
//!
//! `cargo test -p process-tests --release figures -- --nocapture` says more.

use std::time::{Duration, Instant};

use agentd_protocol::control::kind;
use harness::{Agentd, Client, LIMIT, Scratch, clock, memory_kib, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

#[test]
fn figures() {
    let scratch = Scratch::new();
    let names = ["a", "b", "c", "d", "e"];
    names.iter().for_each(|name| scratch.add(&scratch.good(name)));
    harness::programs();
    let begun = clock();
    let agentd = Agentd::start(&scratch);
    let first = begun.elapsed();
    agentd.stop();
    let begun = clock();
    let agentd = Agentd::start(&scratch);
    let answered = begun.elapsed();
    for name in names {
        agentd.wait_running(name);
    }
    let ready = begun.elapsed();
    let mut again: Vec<i64> = Vec::new();
    let mut pid = agentd.wait_running("a");
    for _ in 0..20 {
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
        pid = agentd.wait_replaced("a", pid);
        agentd.ask("Restart", "a").expect("may be asked");
        pid = agentd.wait_replaced("a", pid);
    }
    let history = agentd.history("a");
    for steps in history.windows(4).filter(|steps| {
        steps[0].exit.as_deref() == Some("killed by SIGKILL") && steps[3].to == "running"
    }) {
        again.push(steps[3].time_ms - steps[0].time_ms);
    }
    again.sort_unstable();
    let median = again.get(again.len() / 2).expect("it was killed and came back");
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!("figures of a {build} build, beside whatever else runs:");
    println!("  first start to first answer  {:>8.1} ms", first.as_secs_f64() * 1e3);
    println!("  later start to first answer  {:>8.1} ms", answered.as_secs_f64() * 1e3);
    println!("  start to five agents running {:>8.1} ms", ready.as_secs_f64() * 1e3);
    println!("  crash to running again       {median:>8} ms, median of {}", again.len());
    for clients in [1, 8] {
        println!("  status requests, {clients} clients   {:>8.0} /s", rate(&agentd, clients));
    }
    println!("  resident memory              {:>8} KiB", memory_kib(agentd.pid()).0);
    assert_eq!(agentd.events_of(kind::STORE_FAILED, None), []);
}

/// Requests answered in a second, over so many connections at once.
fn rate(agentd: &Agentd, clients: usize) -> f64 {
    let begun: Instant = clock();
    let limit = Duration::from_millis(500);
    let answered: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(agentd.socket()).expect("agentd listens");
                    let mut answered = 0;
                    while begun.elapsed() < limit {
                        let _: Value =
                            client.call("org.agentos.Manager.Status", &json!({})).expect("answers");
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no client fails")).sum()
    });
    let _: () = wait_for("an answer after all that", LIMIT, || {
        let pid = agentd.status().pid;
        if pid == agentd.pid() { Ok(()) } else { Err(pid) }
    });
    f64::from(u32::try_from(answered).expect("not so many")) / begun.elapsed().as_secs_f64()
}
