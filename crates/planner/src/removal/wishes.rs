//! What people say about the removal of a pod, in the spellings of Cluster Autoscaler, Karpenter and
//! this product. Values are trimmed and read without case; protection wins over permission; a value
//! that means nothing protects, and is told (requirement E8).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use model::{Pod, PodKey};
use planted::Bug;

use super::refusal::Refusal;

/// `true` permits, `false` protects, `on-completion` protects until the pod has finished.
pub const SAFE_TO_EVICT: [&str; 2] = [
    "cluster-autoscaler.kubernetes.io/safe-to-evict",
    "autoscaler.vpsie.com/safe-to-evict",
];
/// `true` protects, as does a duration counted from the pod's start.
pub const DO_NOT_DISRUPT: [&str; 2] = [
    "karpenter.sh/do-not-disrupt",
    "autoscaler.vpsie.com/do-not-disrupt",
];
/// `true` protects.
pub const PROTECTED: [&str; 2] = [
    "karpenter.sh/do-not-evict",
    "autoscaler.vpsie.com/protected",
];
/// Volumes whose data may be lost, with commas between.
pub const LOCAL_VOLUMES: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

/// What is said of one pod.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Wishes {
    /// What forbids to disturb it.
    pub(super) refusals: Vec<Refusal>,
    /// It may go although it is bare, has local data or is of the system.
    pub(super) may_go: bool,
}

impl Wishes {
    pub(super) fn of(pod: &Pod, now: Timestamp) -> Self {
        let mut wishes = Self::default();
        if pod.upkeep.wishes.is_empty() || planted::is(Bug::IgnoreWishes) {
            return wishes;
        }
        for key in SAFE_TO_EVICT {
            wishes.read(pod, key, |value| match value {
                "true" => Said::MayGo,
                "false" => Said::Stays(None),
                "on-completion" => Said::Finishes,
                _ => Said::Unclear,
            });
        }
        for key in DO_NOT_DISRUPT {
            wishes.read(pod, key, |value| match value {
                "true" => Said::Stays(None),
                "false" => Said::Nothing,
                _ => for_a_while(value, pod, now),
            });
        }
        for key in PROTECTED {
            wishes.read(pod, key, |value| match value {
                "true" => Said::Stays(None),
                "false" => Said::Nothing,
                _ => Said::Unclear,
            });
        }
        wishes.may_go &= wishes.refusals.is_empty();
        wishes
    }

    fn read(&mut self, pod: &Pod, key: &str, meaning: impl FnOnce(&str) -> Said) {
        let Some(value) = pod.upkeep.wishes.get(key) else {
            return;
        };
        let pod: PodKey = pod.key.clone();
        let refusal = match meaning(&value.trim().to_ascii_lowercase()) {
            Said::Nothing => return,
            Said::MayGo => {
                self.may_go = true;
                return;
            }
            Said::Stays(until) => Refusal::PodProtected {
                pod,
                by: format!("{key}={}", value.trim()),
                until,
            },
            Said::Finishes => Refusal::OnCompletion(pod),
            Said::Unclear => Refusal::AnnotationNotUnderstood {
                pod,
                key: key.to_owned(),
                value: value.to_string(),
            },
        };
        self.refusals.push(refusal);
    }
}

/// What one value says.
enum Said {
    Nothing,
    MayGo,
    Stays(Option<Timestamp>),
    Finishes,
    Unclear,
}

/// A duration from the pod's start on; a pod of which nobody knows when it began stays for good.
fn for_a_while(value: &str, pod: &Pod, now: Timestamp) -> Said {
    let starts_with_digit = value.starts_with(|c: char| c.is_ascii_digit());
    let Some(length) = (value.parse::<SignedDuration>().ok()).filter(|_| starts_with_digit) else {
        return Said::Unclear;
    };
    let Some(start) = pod.started_at.or(pod.created_at) else {
        return Said::Stays(None);
    };
    // One beyond the end of time never ends.
    match start.checked_add(length) {
        Ok(until) if until <= now => Said::Nothing,
        Ok(until) => Said::Stays(Some(until)),
        Err(_) => Said::Stays(None),
    }
}

/// The local volumes of a pod that nobody said could be lost.
pub(super) fn kept_volumes(pod: &Pod) -> Vec<String> {
    let named = pod.upkeep.wishes.get(LOCAL_VOLUMES);
    let may_be_lost = |volume: &Arc<str>| {
        let mut named = named.into_iter().flat_map(|list| list.split(','));
        named.any(|name| name.trim() == &**volume)
    };
    let volumes = pod.upkeep.local_volumes.iter();
    volumes
        .filter(|volume| !may_be_lost(volume))
        .map(ToString::to_string)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{PodHealth, PodRole, PodState, Uid, Upkeep};

    use super::*;

    const CA: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
    const OWN: &str = "autoscaler.vpsie.com/safe-to-evict";
    const KARPENTER: &str = "karpenter.sh/do-not-disrupt";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn pod(wishes: &[(&str, &str)]) -> Pod {
        let wishes: BTreeMap<Arc<str>, Arc<str>> = (wishes.iter())
            .map(|(key, value)| (Arc::from(*key), Arc::from(*value)))
            .collect();
        Pod {
            key: PodKey::new("a", "p"),
            uid: Uid::new("p"),
            class: Arc::default(),
            state: PodState::Bound("n".into()),
            role: PodRole::Ordinary,
            terminating: None,
            nominated: None,
            created_at: Some(at(500)),
            started_at: Some(at(1000)),
            health: PodHealth::Ready,
            upkeep: Arc::new(Upkeep {
                wishes,
                local_volumes: vec!["cache".into(), "data".into()],
                ..Upkeep::default()
            }),
        }
    }

    /// `go`, nothing, or the names of the refusals.
    fn said(wishes: &[(&str, &str)]) -> String {
        let wishes = Wishes::of(&pod(wishes), at(2000));
        let mut words: Vec<&str> = wishes.refusals.iter().map(Refusal::name).collect();
        words.extend(wishes.may_go.then_some("go"));
        words.join(" ")
    }

    #[test]
    fn every_spelling_is_read_trimmed_and_without_case_and_nonsense_protects() {
        for key in SAFE_TO_EVICT {
            for (value, expected) in [
                ("true", "go"),
                (" TRUE ", "go"),
                ("false", "PodProtected"),
                ("False", "PodProtected"),
                ("on-completion", "OnCompletion"),
                ("On-Completion ", "OnCompletion"),
                ("yes", "AnnotationNotUnderstood"),
                ("", "AnnotationNotUnderstood"),
                ("5m", "AnnotationNotUnderstood"),
            ] {
                assert_eq!(said(&[(key, value)]), expected, "{key}={value:?}");
            }
        }
        for key in DO_NOT_DISRUPT.into_iter().chain(PROTECTED) {
            for (value, expected) in [
                ("true", "PodProtected"),
                ("\tTrue\n", "PodProtected"),
                ("false", ""),
                ("FALSE", ""),
                ("no", "AnnotationNotUnderstood"),
                ("  ", "AnnotationNotUnderstood"),
                ("-5m", "AnnotationNotUnderstood"),
            ] {
                assert_eq!(said(&[(key, value)]), expected, "{key}={value:?}");
            }
        }
        assert_eq!(said(&[]), "");
        assert_eq!(said(&[("example.com/safe-to-evict", "false")]), "");
        assert_eq!(
            said(&[("karpenter.sh/do-not-evict", "1h")]),
            "AnnotationNotUnderstood"
        );
    }

    #[test]
    fn protection_wins_over_permission_whoever_says_it() {
        assert_eq!(said(&[(CA, "true"), (OWN, "false")]), "PodProtected");
        assert_eq!(said(&[(CA, "true"), (KARPENTER, "true")]), "PodProtected");
        assert_eq!(
            said(&[(OWN, "true"), (CA, "maybe")]),
            "AnnotationNotUnderstood"
        );
        assert_eq!(said(&[(CA, "true"), (KARPENTER, "false")]), "go");
        assert_eq!(said(&[(CA, "true"), (OWN, "true")]), "go");
    }

    #[test]
    fn a_duration_protects_from_the_pods_start_until_it_is_over() {
        for key in DO_NOT_DISRUPT {
            for (value, until) in [
                ("17m", Some(at(2020))),
                ("1h30m", Some(at(6400))),
                ("1000s", None),
                ("1001s", Some(at(2001))),
                ("0s", None),
            ] {
                let found = Wishes::of(&pod(&[(key, value)]), at(2000)).refusals;
                let expected: Vec<Refusal> = (until.into_iter())
                    .map(|until| Refusal::PodProtected {
                        pod: PodKey::new("a", "p"),
                        by: format!("{key}={value}"),
                        until: Some(until),
                    })
                    .collect();
                assert_eq!(found, expected, "{key}={value}");
            }
        }
        // Without a start the pod's creation counts, and without that it is for good.
        let mut pod = pod(&[(KARPENTER, "17m")]);
        pod.started_at = None;
        assert_eq!(Wishes::of(&pod, at(2000)).refusals, []);
        pod.created_at = None;
        let found = Wishes::of(&pod, at(2000)).refusals;
        assert_eq!(found[0].ends_at(), None);
        assert_eq!(found[0].name(), "PodProtected");
    }

    #[test]
    fn local_volumes_that_are_named_may_be_lost() {
        assert_eq!(kept_volumes(&pod(&[])), ["cache", "data"]);
        assert_eq!(kept_volumes(&pod(&[(LOCAL_VOLUMES, "cache")])), ["data"]);
        let all = [(LOCAL_VOLUMES, " data , cache,other")];
        assert_eq!(kept_volumes(&pod(&all)), Vec::<String>::new());
        // Names are told apart by case, as Kubernetes does.
        assert_eq!(kept_volumes(&pod(&[(LOCAL_VOLUMES, "Cache")])).len(), 2);
    }
}
