//! The planner's decisions as scenarios and laws.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod asking;
mod audit;
mod collect;
mod draining;
mod lifecycle;
mod machine;
mod planted;
mod price;
mod removal_plan;
mod removal_simulation;
mod rules;
mod scale_up;

use ::planner::scale_up::{Input, Plan, Report};

/// Plans, and holds the plan against the audit and every placement against the checker.
pub(crate) fn plan(input: &Input) -> (Plan, Report) {
    let (plan, report) = ::planner::scale_up::plan(input);
    assert_eq!(::planner::audit::scale_up(input, &plan), []);
    assert_eq!(::planner::audit::placements(input, &report), []);
    (plan, report)
}
