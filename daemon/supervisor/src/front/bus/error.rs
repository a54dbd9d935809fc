//! Refusals as the bus sees them. On our interfaces they bear our names (`org.agentos.Error.…`),
//! on the bus's own interfaces the bus's names, which is what generic clients know.

use agentd_model::Chain;
use agentd_protocol::Code;
use zbus::message::{Header, Message};
use zbus::names::ErrorName;
use zbus::{DBusError, fdo};

use crate::control::ControlError;

/// An error reply.
#[derive(Debug)]
pub(super) struct BusError {
    code: Code,
    message: String,
}

impl BusError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The same in the words of `org.freedesktop.DBus.*`.
    pub(super) fn standard(self) -> fdo::Error {
        let Self { code, message } = self;
        match code {
            Code::NotFound => fdo::Error::UnknownObject(message),
            Code::Invalid => fdo::Error::InvalidArgs(message),
            Code::Forbidden => fdo::Error::AccessDenied(message),
            Code::Timeout => fdo::Error::TimedOut(message),
            Code::Exhausted => fdo::Error::LimitsExceeded(message),
            Code::Conflict | Code::Unavailable | Code::Internal => fdo::Error::Failed(message),
        }
    }
}

impl From<ControlError> for BusError {
    fn from(err: ControlError) -> Self {
        Self::new(err.code(), Chain(&err).to_string())
    }
}

impl DBusError for BusError {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name()).build(&(&self.message,))
    }

    fn name(&self) -> ErrorName<'_> {
        ErrorName::try_from(self.code.dbus()).expect("a prefix of ours and a word are a name")
    }

    fn description(&self) -> Option<&str> {
        Some(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_name_that_leads_back_to_it_and_keeps_the_message() {
        let call = Message::method_call("/", "Call").build(&()).unwrap();
        for code in Code::ALL {
            let error = BusError::new(code, "why");
            let reply = error.create_reply(&call.header()).unwrap();
            let name = reply.header().error_name().unwrap().to_string();
            assert_eq!(name, format!("org.agentos.Error.{}", code.as_str()));
            assert_eq!(Code::from_error_name(&name), Some(code));
            assert_eq!(reply.body().deserialize::<String>().unwrap(), "why");
            assert_eq!(error.standard().description(), Some("why"));
        }
    }
}
