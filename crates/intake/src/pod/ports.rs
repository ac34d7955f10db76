//! Ports of the host that a pod takes (kube-scheduler `GetHostPorts`, `HostPortInfo`).

use std::sync::Arc;

use model::{HostPort, Protocol};
use serde::Deserialize;

use super::spec::PodSpecView;
use crate::metadata::filled;

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PortView {
    host_port: Option<i32>,
    container_port: Option<i32>,
    protocol: Option<String>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
}

impl PortView {
    /// The port of the host; with the host's network every port is one (the API server says so
    /// when a pod is stored).
    fn number(&self, host_network: bool) -> i32 {
        match self.host_port.unwrap_or(0) {
            0 if host_network => self.container_port.unwrap_or(0),
            port => port,
        }
    }

    fn model(&self, host_network: bool) -> Result<Option<HostPort>, String> {
        let number = self.number(host_network);
        if number <= 0 {
            return Ok(None);
        }
        let protocol = match self.protocol.as_deref() {
            None | Some("" | "TCP") => Protocol::Tcp,
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            Some(other) => return Err(format!("hostPort {number}: unknown protocol {other:?}")),
        };
        Ok(Some(HostPort {
            protocol,
            address: Arc::from(filled(self.host_ip.as_ref()).unwrap_or("0.0.0.0")),
            port: u16::try_from(number)
                .map_err(|_| format!("hostPort {number} is beyond the range of ports"))?,
        }))
    }
}

impl PodSpecView {
    /// The ports its containers and sidecars take; in order, each once. Other init containers
    /// take none: they end before the pod runs.
    pub(super) fn host_ports(&self) -> Result<Vec<HostPort>, String> {
        let host_network = self.host_network == Some(true);
        let sidecars = self
            .init_containers
            .iter()
            .flatten()
            .filter(|container| container.is_sidecar());
        let mut ports = self
            .containers
            .iter()
            .chain(sidecars)
            .flat_map(|container| container.ports.iter().flatten())
            .filter_map(|port| port.model(host_network).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        ports.sort();
        ports.dedup();
        Ok(ports)
    }
}
