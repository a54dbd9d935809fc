//! The load average, per CPU. It counts what runs and what waits for disks; pressure says more, but
//! this is the number that people ask for, and it shows tasks stuck in the kernel, which pressure
//! does not.

use agentd_kit::{Check, CheckError, Context, Defaults, Readings, clock};

const DEFAULTS: Defaults = Defaults::every(clock::seconds(30))
    .timeout(clock::seconds(2))
    .thresholds(4.0, 8.0, 1.0)
    .raise_after(4)
    .clear_after(2);

/// Load over five minutes.
pub(crate) fn check() -> Check {
    Check::new("load", "load average of five minutes, per CPU", DEFAULTS, look)
}

/// A file of the kernel is not as the kernel writes it.
#[derive(Debug, thiserror::Error)]
#[error("{file} is not as the kernel writes it")]
struct FormatError {
    file: &'static str,
}

async fn look(ctx: &Context, _: &mut ()) -> Result<Readings, CheckError> {
    const LOAD: &str = "/proc/loadavg";
    const STAT: &str = "/proc/stat";
    let text = ctx.host().read_text(LOAD)?;
    let [one, five, fifteen] = averages(&text).ok_or(FormatError { file: LOAD })?;
    let cpus = cpus(&ctx.host().read_text(STAT)?).ok_or(FormatError { file: STAT })?;
    let mut readings = Readings::new();
    readings
        .measure(
            "load",
            five / f64::from(cpus),
            "per CPU",
            format!("load is {five:.1} on {cpus} CPUs, averaged over five minutes"),
        )
        .evidence("load_1min_5min_15min", format!("{one} {five} {fifteen}"))
        .evidence("cpus", cpus);
    Ok(readings)
}

fn averages(text: &str) -> Option<[f64; 3]> {
    let mut words = text.split_whitespace().map(|word| word.parse().ok());
    let averages = [words.next()??, words.next()??, words.next()??];
    averages.iter().all(|load: &f64| load.is_finite() && *load >= 0.0).then_some(averages)
}

/// CPUs that are on line: each has a line of its own.
fn cpus(stat: &str) -> Option<u32> {
    let is_cpu = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    u32::try_from(stat.lines().filter(is_cpu).count()).ok().filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use agentd_kit::{Host, InForce};
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn load_is_shared_by_the_cpus() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        std::fs::write(dir.path().join("proc/loadavg"), "3.53 9.00 1.98 1/115 16033\n").unwrap();
        let stat = "cpu  1 2 3\ncpu0 1 2 3\ncpu1 1 2 3\nintr 1\n";
        std::fs::write(dir.path().join("proc/stat"), stat).unwrap();
        let ctx = Context::new(Host::under(dir.path()), InForce::from(&DEFAULTS), clock::now());
        let readings = look(&ctx, &mut ()).await.unwrap();
        assert_eq!(readings.readings()[0].value(), Some(4.5));
        assert_eq!(readings.readings()[0].evidence_of("cpus"), Some("2"));
    }

    #[test]
    fn what_the_kernel_never_writes_is_refused() {
        for text in ["", "1 2", "1 x 3", "1 nan 3", "1 -2 3"] {
            assert_eq!(averages(text), None, "{text}");
        }
        assert_eq!(cpus("cpu  1 2 3\ncpufreq 2\n"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([0-9. /\n-]|cpu|nan|inf){0,40}") {
            averages(&text);
            cpus(&text);
        }
    }
}
