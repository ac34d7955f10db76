//! One scale-up plan, made as often as asked, timed, checked and told in one line.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{HourlyPrice, Pod, SchedulingClass, topology::Preferences};
use planner::{
    audit,
    scale_up::{Input, Placement, Plan, Report, plan},
};
use serde::Serialize;

use crate::{
    Settings, first_fit,
    layout::{Layout, Utilisation, rounded},
    memory, steps,
    stopwatch::{Times, millis, timed},
};

/// What an independent look at a plan found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Checked {
    /// `ok`, or `skipped`.
    Word(&'static str),
    /// The first rules that are broken.
    Broken(Vec<String>),
}

impl Checked {
    /// Of these violations.
    pub(crate) fn of(violations: impl IntoIterator<Item = String>) -> Self {
        let first: Vec<String> = violations.into_iter().take(5).collect();
        if first.is_empty() {
            Self::Word("ok")
        } else {
            Self::Broken(first)
        }
    }

    /// Nothing was found.
    pub(crate) const fn passes(&self) -> bool {
        matches!(self, Self::Word(_))
    }
}

/// The same pods without their preferences.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ignoring {
    millis: f64,
    machines: u32,
    hourly_price: String,
    preference_score: Option<f64>,
    /// The price with preferences to the price without.
    price_ratio: Option<f64>,
}

/// A line; `docs/benchmarks.md` says what each field is.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    workload: String,
    pub(crate) pods: usize,
    nodes: usize,
    repeats: usize,
    millis: f64,
    min_millis: f64,
    pods_per_second: u64,
    audit_millis: f64,
    pub(crate) machines: u32,
    pub(crate) hourly_price: String,
    pub(crate) lower_bound: Option<String>,
    pub(crate) gap: Option<f64>,
    pub(crate) on_existing: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_fit_on_existing: Option<usize>,
    pub(crate) on_new: usize,
    pub(crate) left: usize,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    left_because: BTreeMap<&'static str, usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    utilisation: Option<Utilisation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preference_score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignoring: Option<Ignoring>,
    input_rss_mib: Option<f64>,
    peak_rss_mib: Option<f64>,
    pub(crate) checker: Checked,
}

/// What is bought, an hour; unknown prices count as nothing.
pub(crate) fn price(plan: &Plan) -> HourlyPrice {
    let prices = plan.create.iter().filter_map(|create| {
        let price = create.price?;
        Some(price.times(create.count as usize))
    });
    prices.sum()
}

/// How far `part` is above `whole`, as a share of it.
fn ratio(part: HourlyPrice, whole: HourlyPrice) -> Option<f64> {
    let ratio = part.amount().checked_div(whole.amount())?;
    ratio.to_string().parse().ok().map(rounded)
}

/// `price` to `bound`, where there is one.
pub(crate) fn ratio_to(price: HourlyPrice, bound: Option<HourlyPrice>) -> Option<f64> {
    ratio(price, bound?)
}

/// What an independent look finds wrong with a plan: bounds and amounts by the audit that runs in
/// production, each placement against each rule by the checker.
pub(crate) fn check(input: &Input, plan: &Plan, report: &Report) -> Checked {
    let audited = audit::scale_up(input, plan).into_iter();
    let placed = audit::placements(input, report).into_iter();
    let audited = audited.map(|violation| violation.to_string());
    let placed = placed.map(|violation| violation.to_string());
    Checked::of(
        audited
            .chain(placed)
            .chain(steps::differences(input, plan, report)),
    )
}

/// The input without anything that pods merely prefer.
fn without_preferences(input: &Input) -> Input {
    let mut plain: BTreeMap<Arc<SchedulingClass>, Arc<SchedulingClass>> = BTreeMap::new();
    let mut input = input.clone();
    for pod in &mut input.cluster.waiting {
        let class = plain.entry(Arc::clone(&pod.class)).or_insert_with(|| {
            Arc::new(SchedulingClass {
                preferences: Preferences::default(),
                ..SchedulingClass::clone(&pod.class)
            })
        });
        *pod = Arc::new(Pod {
            class: Arc::clone(class),
            ..Pod::clone(pod)
        });
    }
    input
}

/// Plans as often as asked: the last plan, the times of planning and those of the audit.
fn repeat(input: &Input, repeats: usize) -> (Plan, Report, Times, Times) {
    let (mut planning, mut auditing) = (Times::default(), Times::default());
    let mut last = (Plan::default(), Report::default());
    for _ in 0..repeats.max(1) {
        let (planned, time) = timed(|| plan(input));
        planning.push(time);
        last = planned;
        let (_, time) = timed(|| audit::scale_up(input, &last.0));
        auditing.push(time);
    }
    (last.0, last.1, planning, auditing)
}

/// What is timed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Timed {
    /// The plan.
    Plan,
    /// The plan and the audit that it passes before it is carried out.
    Decision,
    /// The plan, and beside it how many pods first fit puts on the nodes that are there.
    Placing,
    /// The plan, and beside it that of the same pods without their preferences.
    BothPreferences,
}

/// Runs a workload.
pub(crate) fn run(name: &str, input: &Input, what: Timed, settings: Settings) -> Line {
    let input_rss_mib = memory::resident();
    memory::forget_peak();
    let (plan, report, planning, auditing) = repeat(input, settings.repeats);
    let peak_rss_mib = memory::peak();
    let audited = auditing.median();
    let extra = match what {
        Timed::Decision => audited,
        Timed::Plan | Timed::Placing | Timed::BothPreferences => Duration::ZERO,
    };
    let median = planning.median() + extra;
    let placed = |wanted: fn(&Placement) -> bool| {
        let placements = report.pods.values();
        placements.filter(|placement| wanted(placement)).count()
    };
    let mut left_because: BTreeMap<&'static str, usize> = BTreeMap::new();
    for placement in report.pods.values() {
        if let Placement::Left(reason) = placement {
            *left_because.entry(reason.name()).or_default() += 1;
        }
    }
    let price = price(&plan);
    let layout = Layout::new(input, &plan, &report);
    let pods = input.cluster.waiting.len();
    Line {
        workload: name.to_owned(),
        pods,
        nodes: input.cluster.nodes.len(),
        repeats: settings.repeats,
        millis: millis(median),
        min_millis: millis(planning.least() + extra),
        pods_per_second: (pods as f64 / median.as_secs_f64().max(1e-9)) as u64,
        audit_millis: millis(audited),
        machines: plan.machines(),
        hourly_price: price.to_string(),
        lower_bound: report.price_bound.map(|bound| bound.to_string()),
        gap: ratio_to(price, report.price_bound).map(|ratio| rounded(ratio - 1.0)),
        on_existing: placed(|to| matches!(to, Placement::Existing(_))),
        first_fit_on_existing: (what == Timed::Placing).then(|| first_fit::on_existing(input)),
        on_new: placed(|to| matches!(to, Placement::New(..))),
        left: left_because.values().sum(),
        left_because,
        utilisation: layout.utilisation(),
        preference_score: layout.preference_score(),
        ignoring: (what == Timed::BothPreferences)
            .then(|| ignoring(input, price, settings.repeats)),
        input_rss_mib,
        peak_rss_mib,
        checker: if settings.no_check {
            Checked::Word("skipped")
        } else {
            check(input, &plan, &report)
        },
    }
}

fn ignoring(input: &Input, respecting: HourlyPrice, repeats: usize) -> Ignoring {
    let plain = without_preferences(input);
    let (plan, report, planning, _) = repeat(&plain, repeats);
    // What the preferences would have said of it.
    let layout = Layout::new(input, &plan, &report);
    let price = price(&plan);
    Ignoring {
        millis: millis(planning.median()),
        machines: plan.machines(),
        hourly_price: price.to_string(),
        preference_score: layout.preference_score(),
        price_ratio: ratio(respecting, price),
    }
}
