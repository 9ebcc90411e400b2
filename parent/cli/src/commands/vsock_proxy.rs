//! `vsock-proxy`: one vsock port of the parent, forwarded to one TCP target.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use anchorhold_proxy::allowlist::Allowlist;
use anchorhold_proxy::proxy::{Proxy, ProxyConfig, ProxyEvent};
use anchorhold_proxy::resolve::{Family, Target};
use anchorhold_proxy::state_dir;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use super::{Outcome, print_line, progress};
use crate::args::ProxyArgs;
use crate::error::AgentError;

/// Forwards until a signal asks it to end.
///
/// # Errors
/// [`AgentError::Allowlist`] when the target is not allowed, [`AgentError::Proxy`] when the port is
/// in use or cannot be listened on.
pub fn run(args: &ProxyArgs) -> Outcome {
    let allowlist = Allowlist::read(&args.config)?;
    let target = Target::new(&args.remote_addr, args.remote_port, family(args));
    allowlist.check_now(&target)?;
    let (stop, stopped) = UnixStream::pair().map_err(AgentError::io("handling signals"))?;
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        let stop = stop
            .try_clone()
            .map_err(AgentError::io("handling signals"))?;
        pipe::register(signal, stop).map_err(AgentError::io("handling signals"))?;
    }
    let config = ProxyConfig::new(state_dir()?, args.local_port, target, allowlist)
        .workers(usize::from(args.workers));
    let proxy = Proxy::bind(config)?;
    print_line(&json!({ "listening": proxy.addresses() }))?;
    let report = |event: ProxyEvent| progress(&event.to_string());
    Ok(proxy.run(stopped.into(), Arc::new(report))?)
}

fn family(args: &ProxyArgs) -> Family {
    match (args.ipv4, args.ipv6) {
        (true, _) => Family::V4,
        (_, true) => Family::V6,
        _ => Family::Any,
    }
}
