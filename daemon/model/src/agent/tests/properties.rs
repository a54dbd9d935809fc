//! Whatever happens, in whatever order: the invariants of [`Sim::check`] after every event, and
//! that no request is lost.

use proptest::prelude::*;

use super::*;

/// Something that can happen next. What cannot (an exit where no process is) is skipped.
#[derive(Clone, Debug)]
enum Move {
    Request(Event),
    Cleared,
    SpawnWorks,
    SpawnFails,
    Ready,
    Heard,
    Misbehaved,
    Exit(ExitStatus),
    /// The timer fires, this late.
    Timer(Duration),
    /// One fires that was replaced or cancelled.
    StrayTimer,
    Pass(Duration),
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => prop_oneof![Just(Event::Start), Just(Event::Stop), Just(Event::Restart)]
            .prop_map(Move::Request),
        4 => Just(Move::Cleared),
        4 => Just(Move::SpawnWorks),
        1 => Just(Move::SpawnFails),
        3 => Just(Move::Ready),
        2 => Just(Move::Heard),
        1 => Just(Move::Misbehaved),
        3 => prop_oneof![
            Just(CLEAN),
            Just(CRASH),
            Just(KILLED),
            Just(ExitStatus::Signalled { signal: 15, core: false })
        ]
        .prop_map(Move::Exit),
        4 => prop_oneof![Just(0), 0..100u64, 0..30_000u64].prop_map(|ms| Move::Timer(millis(ms))),
        1 => Just(Move::StrayTimer),
        3 => prop_oneof![0..100u64, 0..30_000u64, 0..600_000u64].prop_map(|ms| Move::Pass(millis(ms))),
    ]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let whens = prop_oneof![
        Just(RestartWhen::Always),
        Just(RestartWhen::OnFailure),
        Just(RestartWhen::Never)
    ];
    (whens, any::<bool>(), 1..4u32, 1..300u64, 0..3u64, 1..60u64).prop_map(
        |(when, kit, starts, within, first_delay, stable_after)| {
            let restart = RestartPolicy {
                when,
                budget: Budget { starts, within: secs(within) },
                first_delay: secs(first_delay),
                stable_after: secs(stable_after),
                ..usual().restart
            };
            Policy { restart, kit }
        },
    )
}

impl Sim {
    fn play(&mut self, next: &Move) {
        let is_alive = matches!(self.process, Process::Alive { .. });
        match next {
            Move::Request(event) => {
                self.on(event.clone());
            }
            Move::Cleared => {
                self.on(Event::Cleared);
            }
            Move::SpawnWorks if self.process == Process::Requested => {
                self.spawned();
            }
            Move::SpawnFails if self.process == Process::Requested => {
                self.spawn_failed();
            }
            // What a process says may be read after its end: never only where there is one.
            Move::Ready => {
                self.on(Event::Ready);
            }
            Move::Heard => {
                self.on(Event::Heard);
            }
            Move::Misbehaved => {
                self.misbehaved();
            }
            Move::Exit(status) if is_alive => {
                self.exited(*status);
            }
            Move::Timer(late) => {
                if let Some(at) = self.timer.take() {
                    self.now = self.now.max(at + *late);
                    self.on(Event::Timer);
                }
            }
            Move::StrayTimer => {
                self.on(Event::Timer);
            }
            Move::Pass(time) => self.now = self.now + *time,
            Move::SpawnWorks | Move::SpawnFails | Move::Exit(_) => {}
        }
    }

    fn after(policy: Policy, moves: &[Move]) -> Self {
        let mut sim = Self::new(policy);
        for next in moves {
            sim.play(next);
        }
        sim
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Whatever happened before, a start ends with a running process as long as the world is
    /// healthy from then on.
    #[test]
    fn no_start_is_lost(policy in any_policy(), moves in prop::collection::vec(any_move(), 0..120)) {
        let mut sim = Sim::after(policy, &moves);
        sim.on(Event::Start).settle();
        prop_assert_eq!(sim.agent.phase.name(), "running");
    }

    /// And a restart with one that did not exist and was not on its way when it was asked for.
    #[test]
    fn no_restart_is_lost(policy in any_policy(), moves in prop::collection::vec(any_move(), 0..120)) {
        let mut sim = Sim::after(policy, &moves);
        let on_its_way = i32::from(sim.process == Process::Requested);
        let first_new = pid(sim.next_pid + on_its_way);
        sim.on(Event::Restart).settle();
        prop_assert_eq!(sim.agent.phase.name(), "running");
        prop_assert!(sim.agent.pid() >= Some(first_new));
    }

    /// A stop ends with no process and no timer, also of one that ignores SIGTERM, within its
    /// grace and the time the kernel takes to kill; and nothing starts it again.
    #[test]
    fn a_stop_always_comes_to_rest(
        policy in any_policy(),
        moves in prop::collection::vec(any_move(), 0..120),
        later in prop::collection::vec(any_move(), 0..20),
    ) {
        let mut sim = Sim::after(policy, &moves);
        sim.on(Event::Stop);
        if sim.process == Process::Requested {
            sim.spawned();
        }
        sim.wait(policy.restart.stop_grace);
        if let Process::Alive { killed, .. } = sim.process {
            prop_assert!(killed, "alive after its grace, and not killed");
            sim.exited(KILLED);
        }
        let spawns = sim.spawns;
        for next in later.iter().filter(|next| !matches!(next, Move::Request(_))) {
            prop_assert_eq!(sim.agent.phase.name(), "idle");
            prop_assert_eq!(sim.timer, None);
            sim.play(next);
        }
        prop_assert_eq!(sim.spawns, spawns);
    }

    /// With want up, and no request any more, it comes to rest running, given up, or ended in a
    /// way its policy does not restart: it never waits for nothing.
    #[test]
    fn nothing_wanted_hangs(policy in any_policy(), moves in prop::collection::vec(any_move(), 0..120)) {
        let mut sim = Sim::after(policy, &moves);
        sim.settle();
        let rest = (sim.want, sim.agent.phase.name(), policy.restart.when);
        match rest {
            (Want::Down, name, _) => prop_assert_eq!(name, "idle"),
            (Want::Up, "idle", when) => prop_assert_ne!(when, RestartWhen::Always),
            (Want::Up, name, _) => prop_assert!(name == "running" || name == "failed", "{}", name),
        }
    }

    /// An agent that beats in time is never ended by agentd, however late timers are.
    #[test]
    fn no_agent_that_beats_is_killed(
        beats in prop::collection::vec((0..5000u64, prop::option::of(0..30_000u64)), 1..200),
    ) {
        let mut sim = Sim::running(usual());
        for (gap, sleep) in beats {
            sim.wait(millis(gap));
            if let Some(sleep) = sleep {
                // The machine sleeps, the agent with it: its next beat is as far off as before.
                sim.sleep(millis(sleep + 20_000));
            }
            sim.wait(millis(4999 - gap)).on(Event::Heard);
        }
        prop_assert_eq!(sim.history, Vec::<String>::new());
    }
}
