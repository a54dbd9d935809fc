//! Files as people write them, well and badly.

mod bad;
mod good;
mod properties;
mod set;

use super::*;

/// The spec of DESIGN section 6, without the keys of later issues, and with checks.
const NETWORK: &str = r#"
[agent]
name = "network"
summary = "links, addresses, routes, name resolution"
exec = ["/usr/lib/agentos/agents/network", "--quiet"]
after = ["system"]              # order only; `needs` is a requirement
needs = ["storage"]
criticality = "important"       # critical | important | optional
kit = true
enabled = true

[restart]
when = "on-failure"             # always | on-failure | never
first_delay = "0s"              # the first restart is immediate
max_delay = "30s"               # then doubling, with jitter
budget = { starts = 5, within = "5min" }
stable_after = "1min"
ready_within = "10s"
heartbeat = "5s"                # three missed: killed and restarted
stop_grace = "5s"

[cell]
user = "agentos-network"
groups = ["systemd-journal"]
capabilities = ["CAP_NET_ADMIN", "CAP_NET_RAW"]
read = ["/etc/agentos", "/run/systemd/netif"]
write = []
memory_max = "64MiB"
tasks_max = 32
cpu_weight = 50
files_max = 256

[checks.gateway]
every = "30s"
timeout = "5s"
raise_after = 2
clear_after = 3

[checks.errors]
enabled = false
warning = 10
critical = 50.5
margin = 1
allow = ["eth0", "lo"]
"#;

/// Everything wrong with a file called `f`, a line each.
fn problems(text: &str) -> String {
    parse_spec("f", text).expect_err(text).to_string()
}

/// A good file with `line` put into `table`, and the number of that line.
fn with(table: &str, line: &str) -> (String, usize) {
    let agent = if table == "agent" { line } else { "" };
    let mut text = format!("[agent]\n{agent}\n");
    if !line.starts_with("name ") {
        text.push_str("name = \"x\"\n");
    }
    if !line.starts_with("exec ") {
        text.push_str("exec = [\"/bin/x\"]\n");
    }
    if table == "agent" {
        return (text, 2);
    }
    text.push_str(&format!("[{table}]\n"));
    let number = text.lines().count() + 1;
    text.push_str(line);
    text.push('\n');
    (text, number)
}
