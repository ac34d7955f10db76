//! The control loops. Each observes, calls the planner, and carries out what it says.

pub mod brakes;
pub mod collector;
pub mod expected;
pub mod groups;
pub mod machines;
pub mod node_group;
pub mod scale_down;
pub mod scale_up;
pub mod vpsie_node;
