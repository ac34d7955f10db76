//! One term of leadership: the loops, side by side, until the term ends.

use controller::{
    context::Context,
    controllers::{machines, node_group, scale_down, scale_up},
    effects::Effects,
};

/// Runs every loop; ends only by being dropped.
pub(crate) async fn run(ctx: &Context, effects: &Effects) {
    ctx.state.wait_synced().await;
    tracing::info!(epoch = effects.epoch(), "the loops begin");
    futures::future::join5(
        Box::pin(ctx.cloud.run()),
        Box::pin(machines::run(ctx, effects)),
        Box::pin(node_group::run(ctx, effects)),
        Box::pin(scale_up::run(ctx, effects)),
        Box::pin(scale_down::run(ctx, effects)),
    )
    .await;
}
