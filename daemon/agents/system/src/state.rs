//! What the agent remembers over its own restarts, as small JSON files in its folder.

use agentd_kit::{Host, ReadError, WriteError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::STATE;

/// A file of the agent's own could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("what this agent remembered in {file} cannot be read and is begun anew")]
    Format { file: String, source: serde_json::Error },
    #[error("cannot write down what is to be remembered in {file}")]
    Encode { file: String, source: serde_json::Error },
}

/// This boot of this machine, by the kernel's random name for it (random(4)).
pub(crate) fn boot_id(host: &Host) -> Result<String, ReadError> {
    Ok(host.read_text("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// What was saved under `name`; `None` when nothing was.
pub(crate) fn load<T: DeserializeOwned>(host: &Host, name: &str) -> Result<Option<T>, StateError> {
    let file = path(name);
    match host.read_if_there(&file)? {
        Some(text) => match serde_json::from_str(&text) {
            Ok(value) => Ok(Some(value)),
            Err(source) => Err(StateError::Format { file, source }),
        },
        None => Ok(None),
    }
}

/// Saves under `name`, in place of what was there.
pub(crate) fn save(host: &Host, name: &str, value: &impl Serialize) -> Result<(), StateError> {
    let file = path(name);
    match serde_json::to_string(value) {
        Ok(text) => Ok(host.replace(file, &text)?),
        Err(source) => Err(StateError::Encode { file, source }),
    }
}

fn path(name: &str) -> String {
    format!("{STATE}/{name}.json")
}
