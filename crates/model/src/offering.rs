//! What can be bought.

use serde::{Deserialize, Serialize};

use crate::{HourlyPrice, OfferingId, SizeId};

/// One machine size of one datacenter, as the cloud's catalogue lists it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offering {
    /// The name users put into `offeringIDs`.
    pub id: OfferingId,
    /// The cloud's own id of the size.
    pub size: SizeId,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk in GiB.
    pub disk_gib: u64,
    /// Price; `None` when the catalogue names none (shown as unknown, never as zero).
    pub price: Option<HourlyPrice>,
}
