//! The contract suite: what every provider must do.
