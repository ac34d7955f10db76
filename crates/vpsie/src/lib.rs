//! vpsie
