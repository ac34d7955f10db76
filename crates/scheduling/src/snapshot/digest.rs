//! A number that is equal for equal states: tests and measurements hold `revert` against it.

use super::Snapshot;

/// FNV-1a, 64 bits.
struct Digest(u64);

impl Digest {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self
    }

    fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }
}

impl Snapshot {
    /// A digest of nodes, pods and every counter. The order in which pods came to a node plays no
    /// part. Costs a look at everything.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut sum = 0_u64;
        for node in self.nodes() {
            let Some(detail) = self.detail(node) else {
                continue;
            };
            let mut digest = Digest::new()
                .number(u64::from(node.0))
                .bytes(detail.node.name.as_str().as_bytes())
                .bytes(detail.hostname.as_deref().unwrap_or_default().as_bytes());
            for (key, value) in &detail.node.shape.labels {
                digest = digest.bytes(key.as_bytes()).bytes(value.as_bytes());
            }
            for amount in self.slots[node.index()].free.0 {
                digest = digest.number(amount as u64);
            }
            for (resource, amount) in detail.extended.iter().enumerate() {
                if *amount != 0 {
                    digest = digest.number(resource as u64).number(*amount as u64);
                }
            }
            sum = sum.wrapping_add(digest.0);
            for pods in &detail.pods {
                let pods = Digest::new()
                    .number(u64::from(node.0))
                    .number(u64::from(pods.class.0))
                    .number(u64::from(pods.terminating))
                    .number(u64::from(pods.count));
                sum = sum.wrapping_add(pods.0);
            }
        }
        let counters = self.topology.counters.numbers();
        for (id, domain, pods) in counters {
            let digest = Digest::new()
                .number(1)
                .number(id as u64)
                .number(u64::from(domain));
            sum = sum.wrapping_add(digest.number(u64::from(pods)).0);
        }
        for (id, domain, pods) in self.topology.groups.numbers() {
            let digest = Digest::new()
                .number(2)
                .number(id as u64)
                .number(u64::from(domain));
            sum = sum.wrapping_add(digest.number(u64::from(pods)).0);
        }
        for (id, domain, nodes) in self.topology.territories.numbers() {
            let digest = Digest::new()
                .number(4)
                .number(id as u64)
                .number(domain as u64);
            sum = sum.wrapping_add(digest.number(u64::from(nodes)).0);
        }
        for (claim, users) in self.attachments.numbers() {
            let digest = Digest::new().number(3).number(claim as u64);
            sum = sum.wrapping_add(digest.number(u64::from(users)).0);
        }
        sum
    }
}
