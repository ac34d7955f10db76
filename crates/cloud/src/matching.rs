//! Which Kubernetes Node runs on which machine: by host name, confirmed by what else is known.
//! Disagreement is a conflict, never a guess.

use std::net::IpAddr;

use model::{Hostname, Instance, NodeName};

/// What a Node says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeFacts {
    /// The Node's name.
    pub name: NodeName,
    /// The `kubernetes.io/hostname` label, where present.
    pub hostname_label: Option<String>,
    /// `status.addresses` of the internal and external kinds.
    pub addresses: Vec<String>,
    /// `spec.providerID`, where present.
    pub provider_id: Option<String>,
    /// Carries a control-plane label or taint.
    pub control_plane: bool,
}

/// What [`match_node`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeMatch {
    /// This Node runs on the machine.
    Matched(NodeName),
    /// No Node has the machine's name.
    None,
    /// These Nodes claim to be the machine, or the one that does contradicts it: nothing is
    /// adopted.
    Conflict {
        /// The Nodes involved.
        nodes: Vec<NodeName>,
        /// What contradicts.
        detail: String,
    },
}

/// Finds the Node that runs on `instance` among `nodes`.
///
/// The host name decides, without case (the only rule that two working
/// clients share). A `providerID` that names another machine, or a control-plane role, is a
/// conflict; addresses are compared only when both sides list any of one kind, public or private:
/// the cloud may know the one and the kubelet the other.
#[must_use]
pub fn match_node(instance: &Instance, nodes: &[NodeFacts]) -> NodeMatch {
    let claims: Vec<&NodeFacts> = nodes
        .iter()
        .filter(|node| {
            Hostname::new(node.name.as_str()) == instance.hostname
                || node
                    .hostname_label
                    .as_deref()
                    .is_some_and(|label| Hostname::new(label) == instance.hostname)
        })
        .collect();
    let conflict = |detail: String| NodeMatch::Conflict {
        nodes: claims.iter().map(|node| node.name.clone()).collect(),
        detail,
    };
    let node = match claims.as_slice() {
        [] => return NodeMatch::None,
        [node] => node,
        several => {
            let names: Vec<&str> = several.iter().map(|node| node.name.as_str()).collect();
            return conflict(format!(
                "several nodes have the host name {} when case is ignored: {}",
                instance.hostname,
                names.join(", ")
            ));
        }
    };
    if node.control_plane {
        return conflict(format!("node {} belongs to the control plane", node.name));
    }
    if let Some(id) = node.provider_id.as_deref().filter(|id| !id.is_empty()) {
        let named = id.rsplit('/').next().unwrap_or(id);
        if is_uuid(named) && !named.eq_ignore_ascii_case(instance.id.as_str()) {
            return conflict(format!("node {} has providerID {id}", node.name));
        }
    }
    let comparable = [true, false].into_iter().any(|private| {
        let any = |all: &[String]| all.iter().any(|text| is_private(text) == Some(private));
        any(&node.addresses) && any(&instance.addresses)
    });
    if comparable
        && !node
            .addresses
            .iter()
            .any(|a| instance.addresses.contains(a))
    {
        return conflict(format!(
            "node {} has none of the machine's addresses",
            node.name
        ));
    }
    NodeMatch::Matched(node.name.clone())
}

/// `None` for what is no address.
fn is_private(text: &str) -> Option<bool> {
    match text.parse().ok()? {
        IpAddr::V4(address) => Some(
            address.is_private()
                || address.is_link_local()
                || address.is_loopback()
                || matches!(address.octets(), [100, 64..=127, ..]),
        ),
        IpAddr::V6(address) => Some(
            address.is_unique_local() || address.is_unicast_link_local() || address.is_loopback(),
        ),
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use model::{InstanceId, InstancePhase, Role};

    use super::*;

    fn instance() -> Instance {
        Instance {
            id: InstanceId::new("3f2b0a7e-0000-4000-8000-000000000001"),
            numeric_id: None,
            hostname: Hostname::new("HEL-Kubernetes-49ab-slave-11cc"),
            addresses: vec!["10.0.0.5".into()],
            role: Role::Worker,
            phase: InstancePhase::Running,
            pool: None,
            shape: None,
            created_at: None,
        }
    }

    fn node(name: &str) -> NodeFacts {
        NodeFacts {
            name: NodeName::new(name),
            hostname_label: None,
            addresses: vec!["10.0.0.5".into()],
            provider_id: None,
            control_plane: false,
        }
    }

    #[test]
    fn a_node_matches_by_host_name_whatever_its_case() {
        let nodes = [
            node("hel-kubernetes-49ab-slave-22dd"),
            node("hel-kubernetes-49ab-slave-11cc"),
        ];
        assert_eq!(
            match_node(&instance(), &nodes),
            NodeMatch::Matched(nodes[1].name.clone())
        );
        assert_eq!(match_node(&instance(), &nodes[..1]), NodeMatch::None);
    }

    #[test]
    fn two_nodes_that_differ_only_by_case_are_a_conflict() {
        let mut upper = node("other");
        upper.hostname_label = Some("HEL-KUBERNETES-49ab-slave-11cc".into());
        let nodes = [node("hel-kubernetes-49ab-slave-11cc"), upper];
        assert!(
            matches!(match_node(&instance(), &nodes), NodeMatch::Conflict { nodes, .. } if nodes.len() == 2)
        );
    }

    #[test]
    fn a_public_address_does_not_contradict_a_private_one() {
        for (listed, own, matches) in [
            ("203.0.113.9", "10.0.0.5", true),
            ("10.0.0.5", "203.0.113.9", true),
            ("203.0.113.9", "203.0.113.8", false),
            ("10.0.0.5", "100.64.1.2", false),
            ("2001:db8::1", "fd00::1", true),
            ("2001:db8::1", "2001:db8::2", false),
        ] {
            let mut machine = instance();
            machine.addresses = vec![listed.into()];
            let mut facts = node("hel-kubernetes-49ab-slave-11cc");
            facts.addresses = vec![own.into()];
            let found = match_node(&machine, &[facts.clone()]);
            let matched = NodeMatch::Matched(facts.name);
            assert_eq!(found == matched, matches, "{listed} {own}");
        }
    }

    #[test]
    fn a_control_plane_node_or_a_contradiction_is_never_adopted() {
        let mut control_plane = node("hel-kubernetes-49ab-slave-11cc");
        control_plane.control_plane = true;
        let mut elsewhere = node("hel-kubernetes-49ab-slave-11cc");
        elsewhere.addresses = vec!["10.9.9.9".into()];
        let mut other_machine = node("hel-kubernetes-49ab-slave-11cc");
        other_machine.provider_id = Some("vpsie://3f2b0a7e-0000-4000-8000-000000000002".into());
        for contradiction in [control_plane, elsewhere, other_machine] {
            assert!(matches!(
                match_node(&instance(), &[contradiction]),
                NodeMatch::Conflict { .. }
            ));
        }
    }
}
