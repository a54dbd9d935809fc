//! `org.varlink.service`: what every varlink service says of itself (varlink.org, "Service").

use agentd_protocol::{Reply, idl};
use serde_json::{Map, Value, json};

use super::dispatch::standard;

/// The interface every varlink service has.
pub(super) const INTERFACE: &str = "org.varlink.service";

pub(super) fn answer(method: &str, parameters: Map<String, Value>) -> Reply {
    match method {
        "GetInfo" => reply(json!({
            "vendor": "agentos",
            "product": "agentd",
            "version": env!("CARGO_PKG_VERSION"),
            "url": "",
            "interfaces": idl::CONTROL.map(|(name, _)| name),
        })),
        "GetInterfaceDescription" => describe(&parameters),
        _ => standard("MethodNotFound", json!({ "method": format!("{INTERFACE}.{method}") })),
    }
}

fn describe(parameters: &Map<String, Value>) -> Reply {
    let Some(Value::String(wanted)) = parameters.get("interface") else {
        return standard("InvalidParameter", json!({ "parameter": "interface" }));
    };
    match idl::CONTROL.iter().find(|(name, _)| name == wanted) {
        Some((_, text)) => reply(json!({ "description": text })),
        None => standard("InterfaceNotFound", json!({ "interface": wanted })),
    }
}

fn reply(parameters: Value) -> Reply {
    match parameters {
        Value::Object(parameters) => Reply { parameters, continues: false, error: None },
        _ => Reply::default(),
    }
}
