//! What a reader gets to see of a refusal.

use scheduling::{ClaimProblem, Failure, Filter};

fn claim(problem: ClaimProblem) -> Failure {
    Failure::Claim {
        filter: Filter::VolumeBinding,
        claim: "data-0".into(),
        problem,
    }
}

#[test]
fn every_refusal_says_what_is_in_the_way() {
    let key = || "topology.kubernetes.io/zone".to_owned();
    let domain = || "a".to_owned();
    for (failure, reason, text) in [
        (
            Failure::SelectorMismatch {
                wanted: "pool=gpu".into(),
                found: None,
            },
            "SelectorMismatch",
            "the node selector asks for pool=gpu, a label the node lacks",
        ),
        (
            Failure::SelectorMismatch {
                wanted: "pool=gpu".into(),
                found: Some("cpu".into()),
            },
            "SelectorMismatch",
            "the node selector asks for pool=gpu, the node has \"cpu\"",
        ),
        (
            Failure::UnevenSpread {
                key: key(),
                domain: domain(),
                pods: 3,
                minimum: 2,
                max_skew: 1,
            },
            "UnevenSpread",
            "topology.kubernetes.io/zone=a has 3 of these pods and the emptiest domain 2: one more \
             would exceed maxSkew 1",
        ),
        (
            Failure::ForbiddenByPod {
                key: key(),
                domain: domain(),
            },
            "ForbiddenByPod",
            "the required pod anti-affinity of a pod running in topology.kubernetes.io/zone=a \
             forbids this pod",
        ),
        (
            Failure::TooManyVolumes {
                driver: "csi.a.io".into(),
                attached: 15,
                added: 2,
                limit: 16,
            },
            "TooManyVolumes",
            "the node takes 16 volumes of csi.a.io: 15 are attached, 2 would be added",
        ),
        (
            claim(ClaimProblem::NotFound),
            "ClaimNotFound",
            "claim data-0 does not exist",
        ),
        (
            claim(ClaimProblem::OtherZone {
                volume: "v1".into(),
                wanted: format!("{}=b", key()),
            }),
            "VolumeInOtherZone",
            "claim data-0 is bound to volume v1 with topology.kubernetes.io/zone=b, which the node \
             has not",
        ),
        (
            claim(ClaimProblem::NoVolume {
                class: "local".into(),
            }),
            "NoFreeVolume",
            "claim data-0 finds no free volume that fits, and storage class local provisions none",
        ),
        (
            Failure::NotEvaluated {
                rule: model::UnevaluatedRule::ResourceClaims,
            },
            "NotEvaluated",
            "the pod uses DynamicResources, which is not evaluated",
        ),
    ] {
        assert_eq!(failure.to_string(), text);
        assert_eq!(failure.reason(), reason);
    }
}
