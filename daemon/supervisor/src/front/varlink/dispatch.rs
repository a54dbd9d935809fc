//! From a call to Control and back: names, parameters, errors.

use agentd_model::Chain;
use agentd_protocol::control::{
    AGENTS, AgentArg, AgentReply, EVENTS, EventQuery, FINDINGS, FindingQuery, MANAGER, METRICS,
    MetricQuery, ReloadArg, RequestReply,
};
use agentd_protocol::{Call, Code, Reply, message};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::service;
use crate::caller::Caller;
use crate::control::{Control, ControlError, Follow};
use crate::owner::Verb;

/// What becomes of a call.
pub(super) enum Answer {
    Once(Reply),
    Stream(Box<Follow>),
}

/// The parameters of a method that has none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// A call that Control does not see, or that it refuses.
enum Refusal {
    Control(ControlError),
    Parameter(String),
    Method,
    Interface,
}

impl From<ControlError> for Refusal {
    fn from(err: ControlError) -> Self {
        Self::Control(err)
    }
}

pub(super) async fn answer(call: Call, caller: &Caller, control: &Control) -> Answer {
    let full = call.method.clone();
    let (interface, method) = full.rsplit_once('.').unwrap_or(("", &full));
    if interface == service::INTERFACE {
        return Answer::Once(service::answer(method, call.parameters));
    }
    let answered = match (interface, method) {
        (EVENTS, "Follow") => follow(call.parameters, caller, control),
        _ => once(interface, method, call.parameters, caller, control)
            .await
            .map(|parameters| Answer::Once(Reply { parameters, continues: false, error: None })),
    };
    answered.unwrap_or_else(|refusal| Answer::Once(refused(interface, &full, &refusal)))
}

fn follow(
    parameters: Map<String, Value>,
    caller: &Caller,
    control: &Control,
) -> Result<Answer, Refusal> {
    let query: EventQuery = decode(parameters)?;
    Ok(Answer::Stream(Box::new(control.follow(caller, query)?)))
}

async fn once(
    interface: &str,
    method: &str,
    parameters: Map<String, Value>,
    caller: &Caller,
    control: &Control,
) -> Result<Map<String, Value>, Refusal> {
    match (interface, method) {
        (AGENTS, "List") => {
            let Nothing {} = decode(parameters)?;
            encode(&control.list(caller)?)
        }
        (AGENTS, "Get") => {
            let AgentArg { name } = decode(parameters)?;
            encode(&AgentReply { agent: control.get(caller, &name)? })
        }
        (AGENTS, "Explain") => {
            let AgentArg { name } = decode(parameters)?;
            encode(&control.explain(caller, &name).await?)
        }
        (AGENTS, _) => {
            let verb = verb(method).ok_or(Refusal::Method)?;
            let AgentArg { name } = decode(parameters)?;
            let disposition = control.ask(caller, verb, &name).await?;
            encode(&RequestReply { disposition })
        }
        (EVENTS, "List") => {
            let query: EventQuery = decode(parameters)?;
            encode(&control.events(caller, &query).await?)
        }
        (FINDINGS, "List") => {
            let query: FindingQuery = decode(parameters)?;
            encode(&control.findings(caller, &query).await?)
        }
        (METRICS, "List") => {
            let Nothing {} = decode(parameters)?;
            encode(&control.metrics(caller).await?)
        }
        (METRICS, "Read") => {
            let query: MetricQuery = decode(parameters)?;
            encode(&control.series(caller, query).await?)
        }
        (MANAGER, "Version") => {
            let Nothing {} = decode(parameters)?;
            encode(&control.version())
        }
        (MANAGER, "Status") => {
            let Nothing {} = decode(parameters)?;
            encode(&control.status(caller)?)
        }
        (MANAGER, "Reload") => {
            let ReloadArg { dry_run } = decode(parameters)?;
            encode(&control.reload(caller, dry_run).await?)
        }
        (EVENTS | FINDINGS | METRICS | MANAGER, _) => Err(Refusal::Method),
        (_, _) => Err(Refusal::Interface),
    }
}

fn verb(method: &str) -> Option<Verb> {
    match method {
        "Start" => Some(Verb::Start),
        "Stop" => Some(Verb::Stop),
        "Restart" => Some(Verb::Restart),
        "Enable" => Some(Verb::Enable),
        "Disable" => Some(Verb::Disable),
        _ => None,
    }
}

fn decode<T: DeserializeOwned>(parameters: Map<String, Value>) -> Result<T, Refusal> {
    serde_json::from_value(Value::Object(parameters))
        .map_err(|err| Refusal::Parameter(err.to_string()))
}

fn encode(value: &impl Serialize) -> Result<Map<String, Value>, Refusal> {
    message::parameters("reply", value).map_err(|err| {
        tracing::error!(err = %Chain(&err), "reply was not encoded");
        Refusal::Control(ControlError::Broken { what: "encoding the reply" })
    })
}

fn refused(interface: &str, method: &str, refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::Control(err) => failure(interface, err.code(), &Chain(err).to_string()),
        // varlink.org, "org.varlink.service": these errors are everybody's. The parameter is not
        // always known by name; the message says which.
        Refusal::Parameter(why) => standard("InvalidParameter", json!({ "parameter": why })),
        Refusal::Method => standard("MethodNotFound", json!({ "method": method })),
        Refusal::Interface => standard("InterfaceNotFound", json!({ "interface": interface })),
    }
}

/// An error of ours, as the interface that was called declares it.
pub(super) fn failure(interface: &str, code: Code, message: &str) -> Reply {
    let mut parameters = Map::new();
    parameters.insert("message".into(), message.into());
    Reply { parameters, continues: false, error: Some(code.varlink(interface)) }
}

/// An error of `org.varlink.service`.
pub(super) fn standard(name: &str, parameters: Value) -> Reply {
    let parameters = match parameters {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let error = Some(format!("{}.{name}", service::INTERFACE));
    Reply { parameters, continues: false, error }
}
