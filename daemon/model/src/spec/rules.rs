//! What single values of a configuration file must be. A rule takes a value or says what would be
//! allowed in its place.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::capability;
use super::reader::{Allowed, nearest};
use super::units::{parse_duration, parse_size, show_duration, show_size};
use super::{Criticality, RestartWhen};
use crate::AgentName;

/// Longest user name useradd(8) takes.
pub(super) const USER_MAX: usize = 32;
/// Longest argument, path or word; a line that is longer is a mistake.
const TEXT_MAX: usize = 4096;
/// Longest summary: it stands in a table on a terminal.
const SUMMARY_MAX: usize = 200;

pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Allowed> {
    value.as_bool().ok_or_else(|| "true or false".to_owned())
}

/// A whole number within `range`.
pub(super) fn number(range: RangeInclusive<u32>) -> impl Fn(&DeValue<'_>) -> Result<u32, Allowed> {
    move |value| {
        value
            .as_integer()
            .and_then(|int| u32::from_str_radix(int.as_str(), int.radix()).ok())
            .filter(|int| range.contains(int))
            .ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
    }
}

/// A finite number, whole or not.
pub(super) fn quantity(value: &DeValue<'_>) -> Result<f64, Allowed> {
    let text = match value {
        DeValue::Float(float) => Some(float.as_str()),
        DeValue::Integer(int) if int.radix() == 10 => Some(int.as_str()),
        DeValue::Integer(_)
        | DeValue::String(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => None,
    };
    text.and_then(|text| text.parse::<f64>().ok())
        .filter(|number| number.is_finite())
        .ok_or_else(|| "a number".to_owned())
}

/// A finite number that is not negative.
pub(super) fn distance(value: &DeValue<'_>) -> Result<f64, Allowed> {
    quantity(value)
        .ok()
        .filter(|number| *number >= 0.0)
        .ok_or_else(|| "a number, 0 or more".to_owned())
}

/// A duration within `range`.
pub(super) fn duration(
    range: RangeInclusive<Duration>,
) -> impl Fn(&DeValue<'_>) -> Result<Duration, Allowed> {
    move |value| {
        value.as_str().and_then(parse_duration).filter(|it| range.contains(it)).ok_or_else(|| {
            let (least, most) = (show_duration(*range.start()), show_duration(*range.end()));
            format!("a duration from {least:?} to {most:?}, as a number with ms, s, min, h or d")
        })
    }
}

/// A size of at least `least` bytes.
pub(super) fn size(least: u64) -> impl Fn(&DeValue<'_>) -> Result<u64, Allowed> {
    move |value| {
        value.as_str().and_then(parse_size).filter(|it| *it >= least).ok_or_else(|| {
            format!(
                "a size of {:?} or more, as a number with B, KiB, MiB, GiB or TiB",
                show_size(least)
            )
        })
    }
}

/// Text without control characters, not empty.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, Allowed> {
    value
        .as_str()
        .filter(|text| !text.is_empty() && text.len() <= TEXT_MAX)
        .filter(|text| !text.contains(char::is_control))
        .map(str::to_owned)
        .ok_or_else(|| format!("text of 1 to {TEXT_MAX} bytes without control characters"))
}

pub(super) fn summary(value: &DeValue<'_>) -> Result<String, Allowed> {
    text(value)
        .ok()
        .filter(|text| text.chars().count() <= SUMMARY_MAX)
        .ok_or_else(|| format!("one line of 1 to {SUMMARY_MAX} characters"))
}

/// An argument of a program: anything that execve(2) can pass.
pub(super) fn argument(value: &DeValue<'_>) -> Result<String, Allowed> {
    value
        .as_str()
        .filter(|text| text.len() <= TEXT_MAX && !text.contains('\0'))
        .map(str::to_owned)
        .ok_or_else(|| format!("text of at most {TEXT_MAX} bytes without NUL"))
}

pub(super) fn program(value: &DeValue<'_>) -> Result<String, Allowed> {
    value
        .as_str()
        .filter(|text| is_path(text) && *text != "/")
        .map(str::to_owned)
        .ok_or_else(|| format!("the absolute path of a program, {NORMALISED}"))
}

/// An absolute path, `/` included.
pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, Allowed> {
    value
        .as_str()
        .filter(|text| is_path(text))
        .map(PathBuf::from)
        .ok_or_else(|| format!("an absolute path, {NORMALISED}"))
}

/// An absolute path below `/`.
pub(super) fn path_below_root(value: &DeValue<'_>) -> Result<PathBuf, Allowed> {
    path(value)
        .ok()
        .filter(|path| path.parent().is_some())
        .ok_or_else(|| format!("an absolute path below /, {NORMALISED}"))
}

const NORMALISED: &str =
    "without \"..\", \".\", doubled or trailing slashes and control characters";

fn is_path(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('/') else { return false };
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    text.len() <= TEXT_MAX
        && !text.contains(char::is_control)
        && (rest.is_empty() || rest.split('/').all(is_part))
}

pub(super) fn agent_name(value: &DeValue<'_>) -> Result<AgentName, Allowed> {
    value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        format!(
            "an agent name: 1 to {} of a-z, 0-9 and '-', beginning with a letter and not ending \
             with '-'",
            AgentName::MAX_LEN
        )
    })
}

/// A user other than root: root owns the files that the cell keeps an agent from.
pub(super) fn user(value: &DeValue<'_>) -> Result<String, Allowed> {
    value
        .as_str()
        .filter(|text| is_account(text) && *text != "root")
        .map(str::to_owned)
        .ok_or_else(|| format!("a user other than root: {ACCOUNT}"))
}

pub(super) fn group(value: &DeValue<'_>) -> Result<String, Allowed> {
    value
        .as_str()
        .filter(|text| is_account(text) && *text != "root")
        .map(str::to_owned)
        .ok_or_else(|| format!("a group other than root: {ACCOUNT}"))
}

const ACCOUNT: &str =
    "1 to 32 of a-z, 0-9, '_' and '-', beginning with a letter or '_' (useradd(8))";

fn is_account(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| b.is_ascii_lowercase() || *b == b'_')
        && bytes.len() <= USER_MAX
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_' || *b == b'-')
}

pub(super) fn capability_name(value: &DeValue<'_>) -> Result<String, Allowed> {
    let found = value.as_str();
    if found == Some(capability::REFUSED) {
        return Err("any other: no agent has CAP_SYS_ADMIN. What needs it is asked of PID 1 over \
                    D-Bus"
            .to_owned());
    }
    found.filter(|text| capability::NAMES.contains(text)).map(str::to_owned).ok_or_else(|| {
        match found.and_then(|text| nearest(text, capability::NAMES.iter().copied())) {
            Some(name) => format!("a capability of capabilities(7); the nearest is {name}"),
            None => "a capability of capabilities(7), like \"CAP_NET_RAW\"".to_owned(),
        }
    })
}

pub(super) fn criticality(value: &DeValue<'_>) -> Result<Criticality, Allowed> {
    match value.as_str() {
        Some("critical") => Ok(Criticality::Critical),
        Some("important") => Ok(Criticality::Important),
        Some("optional") => Ok(Criticality::Optional),
        Some(_) | None => Err("\"critical\", \"important\" or \"optional\"".to_owned()),
    }
}

pub(super) fn restart_when(value: &DeValue<'_>) -> Result<RestartWhen, Allowed> {
    match value.as_str() {
        Some("always") => Ok(RestartWhen::Always),
        Some("on-failure") => Ok(RestartWhen::OnFailure),
        Some("never") => Ok(RestartWhen::Never),
        Some(_) | None => Err("\"always\", \"on-failure\" or \"never\"".to_owned()),
    }
}

/// Whether text can name a check: it stands in keys of findings and in tables on a terminal.
pub(super) fn is_check_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.len() <= 64
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-' || *b == b'_')
}
