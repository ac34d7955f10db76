//! What is planted: a line or two of each filter, of what they count by, and of what is read of pods.

use super::{
    Finder::{Oracle, Test},
    Plant,
};

macro_rules! plants {
    ($($file:literal { $($wrong:literal: $old:literal => $new:literal, $finder:expr;)+ })+) => {
        &[$($(Plant { file: $file, wrong: $wrong, old: $old, new: $new, finder: $finder },)+)+]
    };
}

pub(crate) const PLANTS: &[Plant] = plants! {
    // === Filters ===
    "crates/scheduling/src/filters/node_unschedulable.rs" {
        "the toleration of a cordon is asked for with the wrong effect":
            "effect: TaintEffect::NoSchedule," => "effect: TaintEffect::NoExecute,", Oracle;
    }
    "crates/scheduling/src/filters/node_name.rs" {
        "the node that is named refuses, the others do not":
            "wanted.as_str() != node.name" => "wanted.as_str() == node.name",
            Test("facts::nodes::names_and_hostnames_are_asked_node_by_node_though_shapes_are_equal");
    }
    "crates/scheduling/src/filters/taint_toleration.rs" {
        "`PreferNoSchedule` keeps pods away":
            ".filter(|taint| taint.effect.repels())" => ".filter(|_| true)", Oracle;
        "one tolerated taint is enough":
            ".find(|taint| !tolerations.iter().any(|t| t.tolerates(taint)))"
            => ".find(|_| !node.shape.taints.iter().any(|taint| tolerations.iter().any(|t| t.tolerates(taint))))",
            Oracle;
    }
    "crates/scheduling/src/filters/node_affinity.rs" {
        "all terms must match, not one": "            .any(|term|" => "            .all(|term|", Oracle;
        "beside a node selector, required affinity is not looked at":
            "if !is_affine(class.required_terms.as_deref(), node) {"
            => "if class.node_selector.is_empty() && !is_affine(class.required_terms.as_deref(), node) {",
            Oracle;
        "spread: either of node selector and required affinity is enough to count":
            "unmet(node_selector, node).is_none() && is_affine(required_terms, node)"
            => "unmet(node_selector, node).is_none() || is_affine(required_terms, node)",
            Oracle;
    }
    "crates/scheduling/src/filters/node_ports.rs" {
        "`::` is the address that clashes with all":
            "const EVERY_ADDRESS: &str = \"0.0.0.0\";" => "const EVERY_ADDRESS: &str = \"::\";", Oracle;
        "protocols clash with each other":
            "        && a.protocol == b.protocol\n" => "", Oracle;
        "the address of the new pod clashes with all, that of a running one does not":
            "address(a) == EVERY_ADDRESS || address(b)" => "address(b)", Oracle;
    }
    "crates/scheduling/src/filters/node_resources_fit.rs" {
        "a pod does not fit into exactly what is free":
            "        if asked > free {" => "        if asked >= free {", Oracle;
        "what is not asked for is compared, too":
            "            if *amount <= 0 {" => "            if *amount < 0 {", Oracle;
        "extended resources are not compared":
            "        .chain(asked.extended.keys().map(AsRef::as_ref));"
            => "        .chain(asked.extended.keys().take(0).map(AsRef::as_ref));", Oracle;
        "the count of pods is not looked at":
            "    add(\"pods\"," => "    let _ = (\"pods\",",
            Oracle;
    }
    "crates/scheduling/src/filters/node_volume_limits.rs" {
        "one volume less than the limit": "attached + added > limit" => "attached + added >= limit", Oracle;
        "a volume that a running pod has counts again":
            "snapshot.driver(handle) == driver && !mounted.uses(handle)"
            => "snapshot.driver(handle) == driver", Oracle;
        "a claim that is missing is no failure here":
            "        .map(|used| say(&used.name, ClaimProblem::NotFound));"
            => "        .take(0)\n        .map(|used| say(&used.name, ClaimProblem::NotFound));", Oracle;
    }
    "crates/scheduling/src/filters/volume_restrictions.rs" {
        "readers share an EBS volume":
            "(DiskId::Ebs(a), DiskId::Ebs(b)) => a == b," => "(DiskId::Ebs(a), DiskId::Ebs(b)) => a == b && !shared,",
            Oracle;
        "readers do not share other disks":
            "            a == b && !shared" => "            a == b", Oracle;
        "the monitors of an RBD image do not matter":
            "            a_monitors\n                .iter()\n                .any(|monitor| b_monitors.contains(monitor))\n                && a_pool"
            => "            a_monitors.len() + b_monitors.len() > 0\n                && a_pool", Oracle;
        "a claim for one pod is refused to the third pod only":
            ".filter(|(id, _)| snapshot.users(*id) > 0)" => ".filter(|(id, _)| snapshot.users(*id) > 1)", Oracle;
    }
    "crates/scheduling/src/filters/volume_binding.rs" {
        "the largest claim chooses first":
            "waiting.sort_by_key(|(_, claim)| claim.requested)"
            => "waiting.sort_by_key(|(_, claim)| -claim.requested)", Oracle;
        "a claim that is being deleted will do":
            "    if claim.deleting {" => "    if claim.deleting && claim.lost {", Oracle;
        "the capacity goes before the largest size of a volume":
            "                .maximum_volume_size\n                .or(capacity.capacity)"
            => "                .capacity\n                .or(capacity.maximum_volume_size)", Oracle;
        "a class's topologies are not looked at":
            "if !reachable(class, node) {" => "if !reachable(class, node) && class.provisioner.is_empty() {", Oracle;
        "two claims of a pod get one volume":
            "                chosen.insert(volume);" => "                drop(volume);", Oracle;
        "a claim with a node chosen for it may take a volume that is there":
            "            Some(_) => None,\n            None => free"
            => "            _ => free", Oracle;
        "a disk whose plugin has moved to CSI is looked for by its old labels":
            "Some(in_tree) => matches(in_tree.node_affinity.as_deref(), node),"
            => "Some(_) => within_reach(volume, node),", Oracle;
    }
    "crates/scheduling/src/volumes.rs" {
        "a claim gets the largest volume":
            ".min_by_key(|(_, volume)| volume.capacity)" => ".max_by_key(|(_, volume)| volume.capacity)", Oracle;
        "a volume of exactly the size is too small":
            "volume.capacity >= claim.requested" => "volume.capacity > claim.requested", Oracle;
        "a volume that is kept for the claim has to be within reach no more":
            "return within_reach(volume, node).then_some(name);" => "return Some(name);", Oracle;
        "a volume that is kept for a claim of that name is for the next of that name, too":
            "kept.uid.is_none() || kept.uid == claim.uid" => "kept.uid.is_none() || claim.uid.is_some()", Oracle;
    }
    "crates/scheduling/src/filters/volume_zone.rs" {
        "a volume's beta label matches no label of today":
            "node.label(key).or_else(|| node.label(current(key)))" => "{ let _ = current; node.label(key) }", Oracle;
        "a list of zones is one zone": "value.split(\"__\")" => "value.split(\"--\")", Oracle;
        "a node without any zone refuses": "    if !has_zone {" => "    if !has_zone && volume.labels.is_empty() {", Oracle;
    }
    "crates/scheduling/src/filters/pod_topology_spread.rs" {
        "a skew of exactly the most is too much":
            "        <= i64::from(spread.max_skew)" => "        < i64::from(spread.max_skew)", Oracle;
        "`minDomains` is not looked at":
            "i64::from(territory.domains()) < i64::from(spread.min_domains)"
            => "i64::from(territory.domains()) < i64::from(spread.min_domains).min(1)", Oracle;
        "as many domains as wanted are too few":
            "i64::from(territory.domains()) < i64::from(spread.min_domains)"
            => "i64::from(territory.domains()) <= i64::from(spread.min_domains)", Oracle;
        "the pod counts itself whether or not it matches":
            "i64::from(spread.matches_itself)" => "1", Oracle;
    }
    "crates/scheduling/src/filters/inter_pod_affinity.rs" {
        "anti-affinity of running pods is not looked at":
            "    let forbidding = refused_by.iter().filter(occupied);"
            => "    let forbidding = refused_by.iter().filter(occupied).take(0);",
            Oracle;
        "the first of a group need not match its own terms":
            "        near.matches_itself\n            && near" => "        near", Oracle;
        "the first of a group may begin where a key is missing":
            "    if missing.is_empty() && is_first(snapshot, class) {"
            => "    if is_first(snapshot, class) {", Oracle;
    }
    "crates/scheduling/src/filters/node_declared_features.rs" {
        "the first feature is not looked at":
            "        .find(|feature| !node" => "        .skip(1)\n        .find(|feature| !node", Oracle;
    }
    "crates/scheduling/src/filters.rs" {
        "the fast answer leaves out zones":
            "                && volume_zone::check(class, storage, node).is_empty()))" => "))", Oracle;
    }
    // === What is counted ===
    "crates/scheduling/src/topology.rs" {
        "terminating pods count for spreading":
            "        if pods.terminating {\n            return;\n        }\n        for &group in who.spread_by.iter()"
            => "        for &group in who.spread_by.iter()", Oracle;
        "an empty selector of a spread constraint counts every pod":
            ".filter(|selector| !selector.requirements.is_empty())" => ".filter(|_| true)", Oracle;
    }
    "crates/scheduling/src/topology/counters.rs" {
        "a pod that matches one of several terms helps":
            "if all.iter().all(|&matcher| identity.is_matched_by(matcher)) {\n                        identity.counted_by.push(id);"
            => "if all.iter().any(|&matcher| identity.is_matched_by(matcher)) {\n                        identity.counted_by.push(id);",
            Oracle;
        "pods are not summed up over domains":
            "        counter.total += u64::from(count);" => "        counter.total += u64::from(count) * 0;", Oracle;
    }
    "crates/scheduling/src/topology/identities.rs" {
        "an identity is found by its first label only":
            "        for (key, value) in labels {" => "        for (key, value) in labels.iter().take(1) {", Oracle;
    }
    "crates/scheduling/src/topology/keys.rs" {
        "nodes without the label are a domain of their own":
            "            None => NONE," => "            None => self.domain(\"\"),", Oracle;
    }
    "crates/scheduling/src/topology/matchers.rs" {
        "a running pod's term is asked for no labels as a new pod's is":
            "(side == Side::Incoming && nameless)" => "({ let _ = side; nameless })", Oracle;
        "namespaces without an object are selected by nothing":
            "                scope.missing = nameless;" => "                scope.missing = false;", Oracle;
        "listed namespaces are forgotten beside a selector":
            "                scope.names.extend(selected);" => "                scope.names = selected.collect();", Oracle;
    }
    "crates/scheduling/src/topology/spread.rs" {
        "the fullest domain is the emptiest":
            "        self.levels.first().map_or(0, |&(pods, _)| pods)"
            => "        self.levels.last().map_or(0, |&(pods, _)| pods)", Oracle;
        "domains without pods are forgotten":
            "        if self.occupied < domains {\n            return 0;" => "        if self.occupied < domains.min(1) {\n            return 0;", Oracle;
    }
    "crates/scheduling/src/topology/tally.rs" {
        "of the pods of a domain the first is counted":
            "                        few[index].1 = after;" => "                        few[index].1 = before;", Oracle;
    }
    "crates/scheduling/src/topology/territories.rs" {
        "a node with one of the keys counts":
            "        let has_keys = wanted.all(" => "        let has_keys = wanted.any(", Oracle;
        "nodes are counted as domains":
            "            self.domains += u32::from(self.nodes[domain] == 1);" => "            self.domains += 1;", Oracle;
        "`nodeTaintsPolicy: Honor` changes nothing":
            "taint_toleration::untolerated(tolerations, view).is_none()"
            => "taint_toleration::untolerated(tolerations, view).is_none() || true", Oracle;
    }
    "crates/scheduling/src/snapshot/classes.rs" {
        "`nodeAffinityPolicy: Ignore` changes nothing":
            "(honours(constraint.node_affinity_policy) && is_restricted)" => "(is_restricted)", Oracle;
        "running pods own no anti-affinity": "owns.push(self.topology.owners(running, key));" => "let _ = running;", Oracle;
    }
    "crates/scheduling/src/attachments.rs" {
        "what is attached without a pod takes no place":
            "                .entry(attachments.driver(handle))\n                .or_default() += 1;"
            => "                .entry(attachments.driver(handle))\n                .or_default() += 0;", Oracle;
        "a volume that is not made yet takes no place":
            "        driver: class.driver.clone()?," => "        driver: class.driver.clone().filter(|_| false)?,", Oracle;
    }
    // === What is read ===
    "crates/model/src/selector.rs" {
        "`NotIn` fails where the label is missing":
            "Operator::NotIn => value.is_none_or(|value| !listed(value))"
            => "Operator::NotIn => value.is_some_and(|value| !listed(value))", Oracle;
        "`Gt` holds for what is equal": "|value, bound| value > bound" => "|value, bound| value >= bound", Oracle;
        "a toleration without an effect tolerates none":
            "self.effect.is_none_or(|effect| effect == taint.effect)"
            => "self.effect.is_some_and(|effect| effect == taint.effect)", Oracle;
    }
    "crates/intake/src/pod/requests.rs" {
        "overhead is forgotten":
            "        sum.add(&Exact::read(self.overhead.as_ref())?);" => "        let _ = &self.overhead;", Oracle;
        "sidecars do not run beside later init containers":
            "                needed.add(&sidecars);" => "                needed.add(&Exact::default());", Oracle;
        "sidecars do not run beside the containers":
            "                sum.add(&needed);" => "                sum.add(&Exact::default());", Oracle;
        "init containers ask for nothing":
            "        sum.raise_to(&peak);" => "        drop(peak);", Oracle;
        "a resize that is infeasible leaves the specification in":
            "            infeasible: status.infeasible()," => "            infeasible: status.infeasible() && false,", Oracle;
        "what is allocated does not count":
            "        effective.raise_to(&Exact::read(allocated)?);" => "        let _ = allocated;", Oracle;
        "huge pages of the whole pod are those of its containers":
            "filter(|name| name.is_pod_level()) {"
            => "filter(|name| name.is_pod_level() && !name.is_huge_page()) {", Oracle;
    }
    "crates/intake/src/pod/ports.rs" {
        "ordinary init containers take ports":
            "            .flatten()\n            .filter(|container| container.is_sidecar());\n        let mut ports"
            => "            .flatten();\n        let mut ports", Oracle;
        "the host's network makes no host ports":
            "            0 if host_network => " => "            0 if host_network && self.host_ip.is_some() => ", Oracle;
    }
    "crates/intake/src/pod/spread.rs" {
        "`matchLabelKeys` is not merged":
            "            merge(selector, self.match_label_keys.as_ref(), Operator::In, own);"
            => "            let _ = (merge, Operator::In, own, &*selector);", Oracle;
    }
    "crates/intake/src/pod/affinity.rs" {
        "the pod's own namespace stands beside a selector, too":
            "names.is_empty() && self.namespace_selector.is_none()" => "names.is_empty()", Oracle;
    }
    "crates/intake/src/storage/claim.rs" {
        "a claim without the annotation is bound":
            "bind_completed: annotation(meta, \"pv.kubernetes.io/bind-completed\").is_some()," => "bind_completed: true,", Oracle;
    }
};
