//! A caller that calls and calls.

use harness::{LIMIT, memory_kib, wait_for};

use crate::bed::{Bed, READER, STRANGER};
use crate::peer::{MANAGER, ROOT};

/// What agentd may grow by while it is flooded. One call that is kept costs some KiB, and there are
/// twenty thousand.
const GROWTH_KIB: u64 = 16 * 1024;

#[test]
fn a_flood_of_calls_costs_agentd_no_memory_and_others_are_answered() {
    let Some(bed) = Bed::as_root("a_flood_of_calls", &["web"]) else { return };
    let pid = bed.agentd().wait_running("web");
    let (before, _) = memory_kib(bed.agentd().pid());
    let stranger = bed.peer(STRANGER);
    for member in ["ListAgents", "Stop"] {
        let (none, web): ((), &str) = ((), "web");
        match member {
            "Stop" => stranger.shout(member, &web, 10_000),
            _ => stranger.shout(member, &none, 10_000),
        }
    }
    let reader = bed.peer(READER);
    assert_eq!(reader.get::<u32>(ROOT, MANAGER, "AgentsTotal").unwrap(), 1);
    wait_for("the flood to be dealt with", LIMIT, || stranger.version().map(drop));
    let (_, most) = memory_kib(bed.agentd().pid());
    assert!(most < before + GROWTH_KIB, "grew from {before} KiB to {most} KiB");
    assert_eq!(bed.agentd().wait_running("web"), pid);
}
