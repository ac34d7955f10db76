//! Facts read off kube-scheduler's own plugins (1.36.2), by their numbers in the project's notes.

mod affinity;
mod nodes;
mod resources;
mod spread;
mod volumes;
