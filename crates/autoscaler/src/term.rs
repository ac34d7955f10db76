//! One term of leadership: the loops, side by side, until the term ends.

use controller::{
    context::Context,
    controllers::{collector, machines, node_group, scale_down, scale_up},
    effects::Effects,
    pulse::Pulse,
};
use tokio_util::sync::CancellationToken;

/// Runs every loop until `stop`. Only the machines' loop has something to bring to an end then;
/// what the others write is where the next leader goes on.
pub(crate) async fn run(ctx: &Context, effects: &Effects, pulse: &Pulse, stop: &CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => return,
        () = ctx.state.wait_synced() => {}
    }
    tracing::info!(epoch = effects.epoch(), "the loops begin");
    let [cloud, groups, up, down, collector] = [
        "cloud",
        "node groups",
        "scale-up",
        "scale-down",
        "collector",
    ]
    .map(|name| pulse.begin(name));
    let others = futures::future::join5(
        Box::pin(ctx.cloud.run(&cloud)),
        Box::pin(node_group::run(ctx, effects, &groups)),
        Box::pin(scale_up::run(ctx, effects, &up)),
        Box::pin(scale_down::run(ctx, effects, &down)),
        Box::pin(collector::run(ctx, effects, &collector)),
    );
    let others = async {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _ = others => {}
        }
    };
    futures::future::join(Box::pin(machines::run(ctx, effects, pulse, stop)), others).await;
}
