//! vpsie-sim
