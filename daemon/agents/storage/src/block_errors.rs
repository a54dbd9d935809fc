//! Check `block-errors`: what the kernel's log and the file systems themselves tell of failing disks.
//!
//! The kernel's messages of the last hour are counted for each device and held against the thresholds;
//! which ones count is told in `kernel_log.rs`. Errors that an ext4 file system has recorded about
//! itself are a finding until it is repaired, however old they are.

use std::collections::BTreeMap;
use std::time::Duration;

use agentd_kit::clock::Now;
use agentd_kit::journal::{Look, Reader};
use agentd_kit::{CheckError, Context, Defaults, Readings, Recent, Severity, clock};

use crate::kernel_log::trouble;
use crate::recorded::{self, Recorded};

pub(crate) const DEFAULTS: Defaults =
    Defaults::every(clock::seconds(30)).timeout(clock::seconds(20)).thresholds(1.0, 10.0, 0.5);

/// The window in which messages are counted.
const WINDOW: Duration = clock::minutes(60);
/// Time for one call of journalctl.
const PATIENCE: Duration = clock::seconds(10);
/// What the kernel itself logged. Programs can write to its log too, but not as "kernel"
/// (kernel/printk/printk.c, devkmsg_write).
const SELECT: [&str; 2] = ["_TRANSPORT=kernel", "SYSLOG_IDENTIFIER=kernel"];

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    device: String,
    message: String,
}

/// The messages of the last while, and how far the journal was read.
#[derive(Debug, Default)]
pub(crate) struct State {
    journal: Reader,
    recent: Messages,
}

#[derive(Debug, Default)]
struct Messages(Recent<Told>);

pub(crate) async fn run(ctx: &Context, state: &mut State) -> Result<Readings, CheckError> {
    let recorded = recorded::ext4_errors(ctx.host())?;
    let look = state.journal.read(&SELECT, WINDOW, PATIENCE).await?;
    state.recent.take(&look, ctx.now());
    Ok(decide(&state.recent, &recorded))
}

impl Messages {
    fn take(&mut self, look: &Look, now: Now) {
        if look.is_fresh {
            self.0.clear();
        }
        for entry in &look.entries {
            if let Some(trouble) = trouble(&entry.message) {
                // What came since the last look is new, whatever a clock that was just set says.
                let at = if look.is_fresh { entry.at(now) } else { now.boot };
                let message = entry.message.chars().take(200).collect();
                self.0.push(at, Told { device: trouble.device, message });
            }
        }
        self.0.forget(now.boot, WINDOW);
    }
}

fn decide(messages: &Messages, recorded: &[Recorded]) -> Readings {
    let mut readings = Readings::new();
    let mut by_device: BTreeMap<&str, Vec<&Told>> = BTreeMap::new();
    for told in messages.0.iter() {
        by_device.entry(told.device.as_str()).or_default().push(told);
    }
    let minutes = WINDOW.as_secs() / 60;
    for (device, told) in by_device {
        let count = u32::try_from(told.len()).unwrap_or(u32::MAX);
        let reading = readings.measure(
            format!("block-errors:{device}"),
            f64::from(count),
            "messages",
            format!(
                "errors of {device} in the kernel's log of the last {minutes} minutes: {count}"
            ),
        );
        reading
            .evidence("device", device)
            .evidence("messages", count)
            .evidence("window_minutes", minutes);
        if let (Some(first), Some(last)) = (told.first(), told.last()) {
            reading.evidence("first", &first.message).evidence("last", &last.message);
        }
    }
    for Recorded { device, count } in recorded {
        readings
            .raise(
                format!("fs-errors:{device}"),
                Severity::Warning,
                format!("the file system on {device} has recorded errors ({count}) and wants fsck"),
            )
            .evidence("device", device)
            .evidence("errors", count);
    }
    readings
}

#[cfg(test)]
mod tests {
    use agentd_kit::journal::Entry;
    use agentd_model::Mono;

    use super::*;

    fn now(seconds: u64) -> Now {
        Now { boot: Mono(clock::seconds(seconds)), wall_ms: i64::try_from(seconds).unwrap() * 1000 }
    }

    fn look(messages: &[&str], is_fresh: bool) -> Look {
        let entry = |message: &&str| Entry { message: (*message).to_owned(), ..Entry::default() };
        Look { entries: messages.iter().map(entry).collect(), is_fresh }
    }

    const ERROR: &str = "I/O error, dev sda, sector 2048 op 0x0:(READ)";
    const OTHER: &str = "critical medium error, dev sda, sector 4096 op 0x0:(READ)";

    #[test]
    fn messages_are_counted_for_each_device_while_they_are_recent() {
        let mut messages = Messages::default();
        let noise = "nvme nvme0: 2/0/0 default/read/poll queues";
        messages.take(&look(&[ERROR, noise, OTHER], false), now(100));
        messages.take(&look(&["ata1.00: failed command: READ DMA"], false), now(200));
        let readings = decide(&messages, &[]);
        let seen: Vec<_> = readings.readings().iter().map(|r| (r.key(), r.value())).collect();
        assert_eq!(seen, [("block-errors:ata1.00", Some(1.0)), ("block-errors:sda", Some(2.0))]);
        let sda = &readings.readings()[1];
        assert_eq!((sda.evidence_of("first"), sda.evidence_of("last")), (Some(ERROR), Some(OTHER)));
        messages.take(&look(&[], false), now(3750));
        assert_eq!(decide(&messages, &[]).readings().len(), 1);
        messages.take(&look(&[], false), now(3801));
        assert!(decide(&messages, &[]).readings().is_empty());
    }

    #[test]
    fn messages_that_are_read_again_count_once() {
        let mut messages = Messages::default();
        messages.take(&look(&[ERROR], false), now(100));
        let mut again = look(&[ERROR], true);
        again.entries[0].wall_ms = 99_000;
        messages.take(&again, now(130));
        assert_eq!(decide(&messages, &[]).readings()[0].value(), Some(1.0));
    }

    #[test]
    fn recorded_errors_are_found_whatever_the_log_says() {
        let recorded = [Recorded { device: "sda1".to_owned(), count: 3 }];
        let readings = decide(&Messages::default(), &recorded);
        let [reading] = readings.readings() else { panic!("{readings:?}") };
        assert_eq!(reading.key(), "fs-errors:sda1");
        assert_eq!(reading.severity(), Some(Severity::Warning));
    }
}
