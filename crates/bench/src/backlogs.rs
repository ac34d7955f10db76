//! Random backlogs: the plan's price beside its lower bound and beside first fit's.

use anyhow::Result;
use model::HourlyPrice;
use planner::scale_up::{Placement, plan};
use serde::Serialize;

use crate::{
    first_fit::{Outcome, first_fit_decreasing},
    fixtures::backlog,
    layout::rounded,
    outcome::{Checked, check, price, ratio_to},
    stopwatch::{Times, millis, timed},
};

/// The largest and the mean of ratios.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Ratios {
    max: f64,
    mean: f64,
    /// The backlogs with the largest, by seed.
    worst: Vec<(u64, f64)>,
}

/// What all backlogs of a kind come to.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    workload: String,
    count: u64,
    pub(crate) pods: usize,
    pub(crate) left: usize,
    pub(crate) first_fit_left: usize,
    /// The backlogs for which first fit, done once, breaks a rule once all its machines are there…
    first_fit_broken: u64,
    /// …and for which it goes on opening machines however often it is done again.
    first_fit_unsettled: u64,
    hourly_price: String,
    lower_bound: String,
    first_fit_price: String,
    to_lower_bound: Option<Ratios>,
    to_first_fit: Option<Ratios>,
    /// The backlogs for which first fit is cheaper and leaves no more pods, by seed.
    pub(crate) above_first_fit: Vec<u64>,
    max_millis: f64,
    pub(crate) checker: Checked,
}

/// Plans the backlogs of the seeds from `first` on.
pub(crate) fn run(first: u64, count: u64, plain: bool, no_check: bool) -> Result<Summary> {
    let (mut prices, mut bounds, mut fit_prices) = (Vec::new(), Vec::new(), Vec::new());
    let mut times = Times::default();
    let (mut to_bound, mut to_fit) = (Vec::new(), Vec::new());
    let (mut pods, mut left, mut first_fit_left) = (0, 0, 0);
    let (mut first_fit_broken, mut first_fit_unsettled) = (0, 0);
    let mut above = Vec::new();
    let mut broken = Vec::new();
    for seed in first..first + count {
        let input = backlog(seed, plain).input()?;
        let ((plan, report), time) = timed(|| plan(&input));
        times.push(time);
        let placements = report.pods.values();
        let unplaced = placements
            .filter(|to| matches!(to, Placement::Left(_)))
            .count();
        let ours = price(&plan);
        let (at_once, again) = first_fit_decreasing(&input);
        first_fit_broken += u64::from(!at_once.is_valid);
        first_fit_unsettled += u64::from(again.is_none());
        pods += input.cluster.waiting.len();
        left += unplaced;
        prices.push(ours);
        bounds.extend(report.price_bound);
        to_bound.extend(ratio_to(ours, report.price_bound).map(|ratio| (seed, ratio)));
        // What breaks a rule is no plan.
        let fits = [Some(at_once), again].into_iter().flatten();
        let fit = fits
            .filter(|fit| fit.is_valid)
            .min_by_key(|fit| (fit.left, fit.price));
        if let Some(fit) = fit {
            first_fit_left += fit.left;
            fit_prices.push(fit.price);
            if unplaced == fit.left {
                to_fit.extend(ratio_to(ours, Some(fit.price)).map(|ratio| (seed, ratio)));
            }
            if is_better(&fit, ours, unplaced) {
                above.push(seed);
            }
        }
        if !no_check && let Checked::Broken(rules) = check(&input, &plan, &report) {
            broken.extend(rules.into_iter().map(|rule| format!("{seed}: {rule}")));
        }
    }
    let sum = |prices: Vec<HourlyPrice>| prices.into_iter().sum::<HourlyPrice>().to_string();
    Ok(Summary {
        workload: format!("backlogs-{}", if plain { "plain" } else { "mixed" }),
        count,
        pods,
        left,
        first_fit_left,
        first_fit_broken,
        first_fit_unsettled,
        hourly_price: sum(prices),
        lower_bound: sum(bounds),
        first_fit_price: sum(fit_prices),
        to_lower_bound: Ratios::of(to_bound),
        to_first_fit: Ratios::of(to_fit),
        above_first_fit: above,
        max_millis: millis(times.most()),
        checker: if no_check {
            Checked::Word("skipped")
        } else {
            Checked::of(broken)
        },
    })
}

/// Whether first fit does better: as many pods or more for less money, or more pods.
fn is_better(fit: &Outcome, ours: HourlyPrice, left: usize) -> bool {
    fit.left < left || (fit.left == left && fit.price < ours)
}

impl Ratios {
    fn of(mut ratios: Vec<(u64, f64)>) -> Option<Self> {
        ratios.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mean = ratios.iter().map(|(_, ratio)| ratio).sum::<f64>() / ratios.len() as f64;
        Some(Self {
            max: ratios.first()?.1,
            mean: rounded(mean),
            worst: ratios.into_iter().take(5).collect(),
        })
    }
}
