//! vpsie-autoscaler
