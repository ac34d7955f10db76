//! Everything that touches the world: the cluster index, leadership, the effects gate and the
//! control loops. Decisions are made in `planner`; here they are fed and carried out.

pub mod cloud_state;
pub mod cluster_state;
pub mod context;
pub mod controllers;
pub mod effects;
pub mod events;
pub mod leader;
pub mod metrics;
pub mod pulse;
