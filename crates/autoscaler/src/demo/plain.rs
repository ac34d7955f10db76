//! The story as lines, for pipes and logs.

use sim::{Decision, Progress, Verdict};

/// Prints what changed since the last time.
#[derive(Debug, Default)]
pub(super) struct Lines {
    state: String,
    /// The newest decision shown, and how often it had been said.
    newest: Option<Decision>,
}

/// What is shown of a group: phases and their counts.
pub(super) fn group_line(progress: &Progress) -> String {
    let groups: Vec<String> = progress
        .groups
        .iter()
        .map(|(name, group)| {
            let phases: Vec<String> = group
                .phases
                .iter()
                .map(|(phase, count)| format!("{count} {phase}"))
                .collect();
            let short = name.split('/').next_back().unwrap_or(name);
            let what = if phases.is_empty() {
                "none".to_owned()
            } else {
                phases.join(", ")
            };
            format!("{short} [{}..{}]: {what}", group.min, group.max)
        })
        .collect();
    groups.join(" | ")
}

/// Minutes and seconds.
pub(super) fn clock(seconds: u64) -> String {
    format!("{:>3}:{:02}", seconds / 60, seconds % 60)
}

impl Lines {
    pub(super) fn show(&mut self, progress: &Progress) {
        let fresh = progress
            .decisions
            .iter()
            .take_while(|decision| Some(*decision) != self.newest.as_ref())
            .collect::<Vec<_>>();
        for decision in fresh.into_iter().rev() {
            println!(
                "{}  {} {}: {}",
                clock(progress.elapsed_seconds),
                decision.reason,
                decision.object,
                decision.message
            );
        }
        self.newest = progress.decisions.first().cloned().or(self.newest.take());
        let counts = &progress.counts;
        let state = format!(
            "pods {} pending, {} running | {} | {} USD/h",
            counts.pending,
            counts.running,
            group_line(progress),
            progress.per_hour
        );
        if state != self.state {
            println!("{}  {state}", clock(progress.elapsed_seconds));
            self.state = state;
        }
    }
}

/// Says how it ended.
pub(super) fn verdict(verdict: &Verdict) {
    println!(
        "\n{}: {} in {} of the world's time; {} machines bought, at most {} at once, {} left; {} USD; {} requests to the cloud",
        verdict.scenario,
        if verdict.passed {
            "ended as it must"
        } else {
            "FAILED"
        },
        clock(verdict.elapsed_seconds).trim(),
        verdict.machines_bought,
        verdict.machines_at_once,
        verdict.machines_left,
        verdict.cost,
        verdict.cloud_requests
    );
    for failure in &verdict.failures {
        println!("  {failure}");
    }
}
