//! NodePorts: ports of the host must not be taken by a pod on the node (scheduler plugin
//! `nodeports`).
//!
//! `0.0.0.0` stands for every address; `::` is an address like others. Protocols never clash.

use model::HostPort;

use crate::{Failure, class::Class, snapshot::Snapshot};

const EVERY_ADDRESS: &str = "0.0.0.0";

pub(crate) fn check(snapshot: &Snapshot, class: &Class, node: usize) -> Vec<Failure> {
    let wanted = &class.source.host_ports;
    wanted
        .iter()
        .filter(|wanted| is_taken(snapshot, wanted, node))
        .map(|wanted| Failure::PortInUse {
            port: format!(
                "{} {}:{}",
                format!("{:?}", wanted.protocol).to_uppercase(),
                wanted.address,
                wanted.port
            ),
        })
        .collect()
}

pub(crate) fn passes(snapshot: &Snapshot, class: &Class, node: usize) -> bool {
    let wanted = &class.source.host_ports;
    !wanted.iter().any(|wanted| is_taken(snapshot, wanted, node))
}

/// Equal pods want equal ports.
pub(crate) fn at_most(class: &Class) -> u32 {
    if class.source.host_ports.iter().any(|port| port.port > 0) {
        1
    } else {
        u32::MAX
    }
}

fn is_taken(snapshot: &Snapshot, wanted: &HostPort, node: usize) -> bool {
    snapshot.classes_on(node).any(|running| {
        running
            .source
            .host_ports
            .iter()
            .any(|port| clash(port, wanted))
    })
}

fn clash(a: &HostPort, b: &HostPort) -> bool {
    let address = |port: &HostPort| match &*port.address {
        "" => EVERY_ADDRESS.to_owned(),
        other => other.to_owned(),
    };
    a.port == b.port
        && a.port > 0
        && a.protocol == b.protocol
        && (a.address == b.address || address(a) == EVERY_ADDRESS || address(b) == EVERY_ADDRESS)
}
