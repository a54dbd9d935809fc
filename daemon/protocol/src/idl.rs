//! The interface files, as text, for `org.varlink.service.GetInterfaceDescription`.

/// Name and text of each interface of the control socket.
pub const CONTROL: [(&str, &str); 6] = [
    ("org.agentos.Agents", include_str!("../varlink/org.agentos.Agents.varlink")),
    ("org.agentos.Events", include_str!("../varlink/org.agentos.Events.varlink")),
    ("org.agentos.Findings", include_str!("../varlink/org.agentos.Findings.varlink")),
    ("org.agentos.Manager", include_str!("../varlink/org.agentos.Manager.varlink")),
    ("org.agentos.Metrics", include_str!("../varlink/org.agentos.Metrics.varlink")),
    ("org.varlink.service", include_str!("../varlink/org.varlink.service.varlink")),
];
