//! What a disk says of its own health, from `smartctl --json -i -H -A` (smartctl(8)) as text.
//!
//! Taken is what means the same on every disk: its own verdict, what its specification calls a
//! warning, and counts of sectors that are lost. Vendors' other attributes mean what each vendor
//! likes and are left alone.

use serde::Deserialize;

use agentd_kit::Severity;

/// One disk's report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// `/dev/nvme0`.
    pub(crate) device: String,
    pub(crate) model: Option<String>,
    pub(crate) serial: Option<String>,
    /// When it was made, in seconds since the Unix epoch.
    pub(crate) made: i64,
    pub(crate) health: Health,
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// The disk has no such thing, or smartctl could not ask it: why.
    Unknown(String),
    /// What is wrong; empty on a healthy disk.
    Known(Vec<Complaint>),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) severity: Severity,
    pub(crate) text: String,
}

/// The text is no report.
#[derive(Debug, thiserror::Error)]
#[error("not a report of smartctl")]
pub(crate) struct ReportError(#[from] serde_json::Error);

#[derive(Deserialize)]
struct Raw {
    local_time: RawTime,
    device: RawDevice,
    #[serde(default)]
    smartctl: RawSmartctl,
    model_name: Option<String>,
    serial_number: Option<String>,
    smart_status: Option<RawStatus>,
    #[serde(rename = "nvme_smart_health_information_log")]
    nvme: Option<RawNvme>,
    #[serde(rename = "ata_smart_attributes")]
    ata: Option<RawAta>,
    #[serde(rename = "scsi_grown_defect_list")]
    scsi_defects: Option<u64>,
}

#[derive(Deserialize)]
struct RawTime {
    time_t: i64,
}

#[derive(Deserialize)]
struct RawDevice {
    name: String,
}

#[derive(Default, Deserialize)]
struct RawSmartctl {
    #[serde(default)]
    messages: Vec<RawMessage>,
}

#[derive(Deserialize)]
struct RawMessage {
    string: String,
}

#[derive(Deserialize)]
struct RawStatus {
    passed: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawNvme {
    critical_warning: u64,
    percentage_used: u64,
    media_errors: u64,
    available_spare: u64,
    available_spare_threshold: u64,
}

#[derive(Deserialize)]
struct RawAta {
    #[serde(default)]
    table: Vec<RawAttribute>,
}

#[derive(Deserialize)]
struct RawAttribute {
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    when_failed: String,
    raw: Option<RawValue>,
}

#[derive(Deserialize)]
struct RawValue {
    value: u64,
}

/// Longest text that is kept of what a disk or smartctl says.
const MAX_TEXT: usize = 96;

/// Reads one report.
pub(crate) fn parse(text: &str) -> Result<Report, ReportError> {
    let raw: Raw = serde_json::from_str(text)?;
    let short = |text: &str| text.trim().chars().take(MAX_TEXT).collect::<String>();
    let verdict = raw.smart_status.as_ref().and_then(|status| status.passed);
    let health = if verdict.is_none() && raw.nvme.is_none() && raw.ata.is_none() {
        let said = raw.smartctl.messages.first().map(|message| short(&message.string));
        Health::Unknown(said.unwrap_or_else(|| "it does not tell its health".to_owned()))
    } else {
        let mut complaints = Vec::new();
        if verdict == Some(false) {
            complaints.push(critical("the disk itself expects to fail"));
        }
        complaints.extend(raw.nvme.iter().flat_map(nvme));
        complaints
            .extend(raw.ata.iter().flat_map(|ata| ata.table.iter().filter_map(ata_attribute)));
        if let Some(count @ 1..) = raw.scsi_defects {
            complaints.push(warning(format!("{count} defects have grown")));
        }
        Health::Known(complaints)
    };
    Ok(Report {
        device: short(&raw.device.name),
        model: raw.model_name.as_deref().map(short),
        serial: raw.serial_number.as_deref().map(short),
        made: raw.local_time.time_t,
        health,
    })
}

fn critical(text: impl Into<String>) -> Complaint {
    Complaint { severity: Severity::Critical, text: text.into() }
}

fn warning(text: impl Into<String>) -> Complaint {
    Complaint { severity: Severity::Warning, text: text.into() }
}

/// The bits are those of the SMART / Health Information log (NVM Express Base Specification 2.0,
/// figure 207, "Critical Warning").
fn nvme(log: &RawNvme) -> Vec<Complaint> {
    let bits = [
        (0, Severity::Critical, "its spare blocks are below their threshold"),
        (1, Severity::Warning, "its temperature is out of range"),
        (2, Severity::Critical, "its reliability is degraded"),
        (3, Severity::Critical, "it can only be read"),
        (4, Severity::Critical, "the backup of its volatile memory failed"),
        (5, Severity::Critical, "its persistent memory can only be read"),
    ];
    let mut found: Vec<Complaint> = bits
        .into_iter()
        .filter(|(bit, _, _)| log.critical_warning & (1 << bit) != 0)
        .map(|(_, severity, text)| Complaint { severity, text: text.to_owned() })
        .collect();
    if log.percentage_used >= 100 {
        found.push(warning(format!("{} % of its rated life is used", log.percentage_used)));
    }
    if log.media_errors > 0 {
        found.push(warning(format!("{} media errors", log.media_errors)));
    }
    if log.available_spare < log.available_spare_threshold && log.critical_warning & 1 == 0 {
        found.push(warning(format!("{} % of its spare blocks are left", log.available_spare)));
    }
    found
}

/// Sectors that are lost or about to be (5, 197, 198), and whatever the disk says has failed.
fn ata_attribute(attribute: &RawAttribute) -> Option<Complaint> {
    let name: String = attribute.name.chars().take(MAX_TEXT).collect();
    if attribute.when_failed == "now" {
        return Some(critical(format!("attribute {} {name} has failed", attribute.id)));
    }
    let count = attribute.raw.as_ref().map_or(0, |raw| raw.value);
    let what = match attribute.id {
        5 => "sectors were reallocated",
        197 => "sectors wait to be reallocated",
        198 => "sectors cannot be read",
        _ => return None,
    };
    (count > 0).then(|| warning(format!("{count} {what}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From an appliance in QEMU, shortened.
    const NVME: &str = r#"{
      "smartctl": { "version": [7, 4], "argv": ["smartctl"], "exit_status": 0 },
      "local_time": { "time_t": 1795163398, "asctime": "Fri Nov 20 08:29:58 2026 UTC" },
      "device": { "name": "/dev/nvme0", "info_name": "/dev/nvme0", "type": "nvme" },
      "model_name": "QEMU NVMe Ctrl", "serial_number": "agentos",
      "smart_status": { "passed": true, "nvme": { "value": 0 } },
      "nvme_smart_health_information_log": { "critical_warning": 0, "temperature": 50,
        "available_spare": 0, "available_spare_threshold": 0, "percentage_used": 0,
        "media_errors": 0, "num_err_log_entries": 0 } }"#;

    const ATA: &str = r#"{
      "local_time": { "time_t": 5 }, "device": { "name": "/dev/sda" },
      "smart_status": { "passed": true },
      "ata_smart_attributes": { "revision": 16, "table": [
        { "id": 5, "name": "Reallocated_Sector_Ct", "value": 100, "when_failed": "",
          "raw": { "value": 8, "string": "8" } },
        { "id": 9, "name": "Power_On_Hours", "raw": { "value": 40000 } },
        { "id": 10, "name": "Spin_Retry_Count", "when_failed": "now", "raw": { "value": 0 } },
        { "id": 197, "name": "Current_Pending_Sector", "raw": { "value": 0 } } ] } }"#;

    fn complaints(text: &str) -> Vec<(Severity, String)> {
        match parse(text).unwrap().health {
            Health::Known(complaints) => {
                complaints.into_iter().map(|c| (c.severity, c.text)).collect()
            }
            Health::Unknown(why) => panic!("{why}"),
        }
    }

    #[test]
    fn a_healthy_disk_has_nothing_to_complain_of() {
        let report = parse(NVME).unwrap();
        assert_eq!((report.device.as_str(), report.made), ("/dev/nvme0", 1_795_163_398));
        assert_eq!(report.model.as_deref(), Some("QEMU NVMe Ctrl"));
        assert_eq!(report.health, Health::Known(Vec::new()));
    }

    #[test]
    fn an_nvme_disk_that_warns_is_believed() {
        let worn = NVME
            .replace("\"critical_warning\": 0", "\"critical_warning\": 10")
            .replace("\"percentage_used\": 0", "\"percentage_used\": 104")
            .replace("\"media_errors\": 0", "\"media_errors\": 2")
            .replace("\"passed\": true", "\"passed\": false");
        let found = complaints(&worn);
        let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "the disk itself expects to fail",
                "its temperature is out of range",
                "it can only be read",
                "104 % of its rated life is used",
                "2 media errors",
            ]
        );
        assert_eq!(found[0].0, Severity::Critical);
        assert_eq!(found[1].0, Severity::Warning);
    }

    #[test]
    fn an_ata_disk_that_loses_sectors_is_found() {
        assert_eq!(
            complaints(ATA),
            [
                (Severity::Warning, "8 sectors were reallocated".to_owned()),
                (Severity::Critical, "attribute 10 Spin_Retry_Count has failed".to_owned()),
            ]
        );
    }

    #[test]
    fn a_disk_that_tells_nothing_is_not_healthy() {
        let refused = r#"{ "local_time": { "time_t": 5 }, "device": { "name": "/dev/vda" },
          "smartctl": { "messages": [ { "string": "Unable to detect device type", "severity": "error" } ] } }"#;
        let health = parse(refused).unwrap().health;
        assert_eq!(health, Health::Unknown("Unable to detect device type".to_owned()));
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        for text in ["", "{}", "[]", r#"{"device": {"name": "/dev/sda"}}"#, &NVME[..200]] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_report_or_an_error_and_never_a_panic(text in ".{0,200}") {
            let _either = parse(&text);
        }

        #[test]
        fn any_numbers_are_judged_without_a_panic(warning: u64, used: u64, errors: u64, spare: u64) {
            nvme(&RawNvme {
                critical_warning: warning,
                percentage_used: used,
                media_errors: errors,
                available_spare: spare,
                available_spare_threshold: 10,
            });
        }
    }
}
