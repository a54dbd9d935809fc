//! Readings: taken from an agent, kept by the minute, read back.

use agentd_protocol::Code;
use agentd_protocol::control::{MetricList, MetricQuery, MetricSeries};
use harness::{Agentd, LIMIT, Scratch, wait_for};
use serde_json::json;

fn read(agentd: &Agentd, since_ms: Option<i64>) -> Result<MetricSeries, harness::CallError> {
    let query = MetricQuery { name: "cpu.busy".into(), since_ms };
    agentd.call("Metrics.Read", &query)
}

#[test]
fn readings_are_kept_by_the_minute_and_outlive_agentd() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    assert_eq!(read(&agentd, None).expect_err("no such series").code(), Some(Code::NotFound));
    for value in ["1.5", "-2", "8"] {
        scratch.order("a", &format!("sample:cpu.busy:{value}"));
    }
    let series = wait_for("three readings", LIMIT, || {
        let series = read(&agentd, None).map_err(|err| err.to_string())?;
        let count: u32 = series.points.iter().map(|point| point.count).sum();
        if count == 3 { Ok(series) } else { Err(format!("{series:?}")) }
    });
    assert_eq!((series.name.as_str(), series.unit.as_str()), ("cpu.busy", "1"));
    // Two points if the minute ended meanwhile.
    let least = series.points.iter().map(|point| point.min).fold(f64::MAX, f64::min);
    let greatest = series.points.iter().map(|point| point.max).fold(f64::MIN, f64::max);
    let sum: f64 = series.points.iter().map(|point| point.mean * f64::from(point.count)).sum();
    assert_eq!((least, greatest), (-2.0, 8.0));
    assert!((sum - 7.5).abs() < 1e-9, "{series:?}");
    assert!(series.points.iter().all(|point| point.minute_ms % 60_000 == 0));
    let list: MetricList = agentd.call("Metrics.List", &json!({})).expect("answers");
    let [info] = list.metrics.as_slice() else { panic!("{list:?}") };
    assert_eq!((info.name.as_str(), info.last), ("cpu.busy", 8.0));
    agentd.stop();
    let agentd = Agentd::start(&scratch);
    assert_eq!(read(&agentd, None).expect("still there"), series);
    let later = Some(info.last_ms + 3_600_000);
    assert_eq!(read(&agentd, later).expect("the series is there").points, []);
}
