//! The trace of a run: what two runs with one seed must have in common, byte for byte.

use crate::World;

/// The writes to Kubernetes and the cloud's own trace, merged by time, and the digest of every
/// object that is there at the end.
pub(crate) fn merged(world: &World) -> String {
    let mut lines: Vec<String> = world
        .kube
        .journal()
        .records()
        .iter()
        .filter(|record| record.is_write())
        .map(ToString::to_string)
        .chain(world.cloud.trace())
        .collect();
    // Both begin with the time; a stable sort keeps each one's own order.
    lines.sort_by_key(|line| instant(line));
    lines.push(format!(
        "objects {:016x}",
        digest(&world.kube.dump().to_string())
    ));
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn instant(line: &str) -> Option<jiff::Timestamp> {
    line.split(' ').next()?.parse().ok()
}

fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
