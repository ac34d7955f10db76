//! The recorded corpus.

use oracle::{FILTERS, Recorded, Statistics, Verdicts, cluster, corpus, differences};

#[test]
fn the_corpus_is_what_the_generator_makes_and_every_filter_refuses_in_two_of_a_hundred_verdicts() {
    let mut statistics = Statistics::default();
    for recorded in corpus().unwrap() {
        let Recorded {
            seed,
            cluster: stored,
            verdicts,
        } = recorded.unwrap();
        // Cases on which an implementation once differed are cut.
        if statistics.clusters == seed {
            assert_eq!(
                stored,
                cluster(seed).cluster,
                "record the corpus again: seed {seed}"
            );
            statistics.add(&verdicts);
        }
    }
    assert!(statistics.clusters >= 5000, "{statistics}");
    for filter in FILTERS {
        let share = statistics.share(filter);
        if filter == "NodeName" {
            // It cannot refuse a pod that names no node.
            assert!(share.abs() < f64::EPSILON);
        } else {
            assert!(share >= 0.02, "{filter}: {share}");
        }
    }
}

#[test]
fn an_implementation_that_says_what_is_recorded_differs_nowhere_and_any_other_does() {
    for recorded in corpus().unwrap().take(50) {
        let recorded = recorded.unwrap();
        assert!(differences(&recorded, &|_| Ok(recorded.verdicts.clone())).is_empty());
        let refused = differences(&recorded, &|_| Err("not mine".to_owned()));
        assert_eq!(refused, ["the implementation refuses: not mine"]);

        let wrong = |change: &dyn Fn(&mut Verdicts)| {
            let mut verdicts = recorded.verdicts.clone();
            change(&mut verdicts);
            differences(&recorded, &|_| Ok(verdicts.clone()))
        };
        assert!(!wrong(&|ours| ours.pods.clear()).is_empty());
        assert!(!wrong(&|ours| ours.pods[0].nodes[0].fits ^= true).is_empty());
        let toggled = wrong(&|ours| {
            let node = &mut ours.pods[0].nodes[0];
            let known = node.filters.iter().position(|filter| filter == "NodePorts");
            match known {
                Some(position) => drop(node.filters.remove(position)),
                None => node.filters.push("NodePorts".to_owned()),
            }
            node.fits = node.filters.is_empty();
        });
        assert_eq!(toggled.len(), 1, "{toggled:?}");
        assert!(toggled[0].starts_with("NodePorts"), "{toggled:?}");
    }
}
