//! What cannot be decided while a kind may not be read, as under the rights of an older release.
//!
//! The rules that would have to look at it are marked as not evaluated, so that the pods they are
//! of are left alone and are told why. Every other pod is decided on as always.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{Cluster, LabelSelector, Pod, PodTerm, SchedulingClass, UnevaluatedRule};

use super::Kind;

/// Marks in `cluster` what the kinds in `unknown` decide of the pods that wait.
pub(super) fn mark(cluster: &mut Cluster, unknown: &BTreeSet<Kind>) {
    let namespaces = unknown.contains(&Kind::Namespaces);
    let storage = unknown.iter().any(|kind| kind.is_of_storage());
    if !namespaces && !storage {
        return;
    }
    let repelling = if namespaces {
        repelling(&cluster.bound)
    } else {
        BTreeSet::new()
    };
    let mut marked: BTreeMap<Arc<SchedulingClass>, Option<Arc<SchedulingClass>>> = BTreeMap::new();
    for pod in &mut cluster.waiting {
        let class = marked.entry(Arc::clone(&pod.class)).or_insert_with(|| {
            let rules = [
                (
                    UnevaluatedRule::InterPodAffinity,
                    namespaces && asks_for_namespaces(&pod.class, &repelling),
                ),
                (
                    UnevaluatedRule::Volumes,
                    storage && asks_for_storage(&pod.class),
                ),
            ];
            let rules: Vec<_> = rules.into_iter().filter(|(_, asked)| *asked).collect();
            (!rules.is_empty()).then(|| {
                let mut class = SchedulingClass::clone(&pod.class);
                class
                    .unevaluated
                    .extend(rules.iter().map(|(rule, _)| *rule));
                Arc::new(class)
            })
        });
        if let Some(class) = class {
            *pod = Arc::new(Pod {
                class: Arc::clone(class),
                ..Pod::clone(pod)
            });
        }
    }
}

fn asks_for_storage(class: &SchedulingClass) -> bool {
    !class.claims.is_empty() || !class.disks.is_empty()
}

fn asks_for_namespaces(class: &SchedulingClass, repelling: &BTreeSet<LabelSelector>) -> bool {
    let mut own = class.affinity.iter().chain(&class.anti_affinity);
    own.any(selects_namespaces)
        || repelling
            .iter()
            .any(|selector| selector.matches(&class.labels))
}

/// The pods that running ones may keep away, if theirs is a namespace that is selected.
fn repelling(bound: &[Arc<Pod>]) -> BTreeSet<LabelSelector> {
    bound
        .iter()
        .flat_map(|pod| &pod.class.anti_affinity)
        .filter(|term| selects_namespaces(term))
        .filter_map(|term| term.selector.clone())
        .collect()
}

/// By their labels, that is; the empty selector is every namespace, known or not.
fn selects_namespaces(term: &PodTerm) -> bool {
    let selector = term.namespaces.selector.as_ref();
    selector.is_some_and(|selector| !selector.requirements.is_empty())
}

#[cfg(test)]
mod tests {
    use model::{
        Labels, Namespaces, NodeName, Operator, PodKey, PodRole, PodState, Requirement, Uid,
        storage::ClaimUse,
    };

    use super::*;

    fn selector(key: &str, value: &str) -> LabelSelector {
        LabelSelector {
            requirements: vec![Requirement {
                key: key.into(),
                operator: Operator::In,
                values: vec![value.into()],
            }],
        }
    }

    fn term(namespaces: Option<LabelSelector>) -> PodTerm {
        PodTerm {
            selector: Some(selector("app", "db")),
            namespaces: Namespaces {
                selector: namespaces,
                ..Namespaces::default()
            },
            topology_key: "zone".into(),
        }
    }

    fn labels(app: &str) -> Labels {
        Labels::from([("app".into(), app.into())])
    }

    fn pod(name: &str, class: SchedulingClass, state: PodState) -> Arc<Pod> {
        Arc::new(Pod {
            key: PodKey::new("default", name),
            uid: Uid::new(name),
            class: Arc::new(class),
            state,
            role: PodRole::Ordinary,
            terminating: None,
            nominated: None,
            created_at: None,
            started_at: None,
            health: model::PodHealth::Ready,
            upkeep: Arc::default(),
        })
    }

    /// The rules marked of each pod that waits, when these kinds are unknown.
    fn marked(
        waiting: &[SchedulingClass],
        bound: &[SchedulingClass],
        unknown: &[Kind],
    ) -> Vec<Vec<UnevaluatedRule>> {
        let pods = |classes: &[SchedulingClass], state: PodState| {
            let classes = classes.iter().enumerate();
            classes
                .map(|(i, class)| pod(&i.to_string(), class.clone(), state.clone()))
                .collect()
        };
        let mut cluster = Cluster {
            waiting: pods(waiting, PodState::Waiting),
            bound: pods(bound, PodState::Bound(NodeName::new("n"))),
            ..Cluster::default()
        };
        let bound = cluster.bound.clone();
        mark(&mut cluster, &unknown.iter().copied().collect());
        assert_eq!(cluster.bound, bound, "running pods stay as they are");
        let rules = |pod: &Arc<Pod>| pod.class.unevaluated.iter().copied().collect();
        cluster.waiting.iter().map(rules).collect()
    }

    fn with_claim() -> SchedulingClass {
        SchedulingClass {
            claims: vec![ClaimUse {
                name: "data".into(),
                owner: None,
            }],
            ..SchedulingClass::default()
        }
    }

    #[test]
    fn without_any_kind_of_storage_pods_with_claims_are_left_alone_and_no_others() {
        let pods = [with_claim(), SchedulingClass::default()];
        let volumes = vec![UnevaluatedRule::Volumes];
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_of_storage()) {
            assert_eq!(marked(&pods, &[], &[kind]), [volumes.clone(), vec![]]);
        }
        assert_eq!(marked(&pods, &[], &[Kind::Namespaces]), [vec![], vec![]]);
        assert_eq!(marked(&pods, &[], &[]), [vec![], vec![]]);
    }

    #[test]
    fn without_namespaces_pods_that_select_some_are_left_alone_and_no_others() {
        let of = |namespaces| SchedulingClass {
            affinity: vec![term(namespaces)],
            ..SchedulingClass::default()
        };
        let away = |namespaces| SchedulingClass {
            anti_affinity: vec![term(namespaces)],
            ..SchedulingClass::default()
        };
        let some = || Some(selector("team", "a"));
        let all = || Some(LabelSelector::default());
        let pods = [of(some()), away(some()), of(all()), of(None), with_claim()];
        let between = vec![UnevaluatedRule::InterPodAffinity];
        assert_eq!(
            marked(&pods, &[], &[Kind::Namespaces]),
            [between.clone(), between, vec![], vec![], vec![]]
        );
        let storage = marked(&pods, &[], &[Kind::CSINodes]);
        assert_eq!(storage[..4], [vec![], vec![], vec![], vec![]]);
    }

    #[test]
    fn without_namespaces_pods_that_a_running_one_may_keep_away_are_left_alone() {
        let app = |app: &str| SchedulingClass {
            labels: labels(app),
            ..SchedulingClass::default()
        };
        let keeps_away = |namespaces| SchedulingClass {
            anti_affinity: vec![term(namespaces)],
            ..SchedulingClass::default()
        };
        let pods = [app("db"), app("web")];
        let some = keeps_away(Some(selector("team", "a")));
        let kinds = [Kind::Namespaces];
        assert_eq!(
            marked(&pods, &[some], &kinds),
            [vec![UnevaluatedRule::InterPodAffinity], vec![]]
        );
        assert_eq!(marked(&pods, &[keeps_away(None)], &kinds), [vec![], vec![]]);
    }
}
