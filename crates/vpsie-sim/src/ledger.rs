//! What was paid: per machine from the commit of its purchase to the commit of its deletion.

use std::time::Duration;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::machine::Origin;

/// What the workers and plain machines have cost so far. Control planes are not counted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Ledger {
    /// One bill per machine, oldest first.
    pub machines: Vec<Bill>,
    /// Paid machine time in total.
    pub paid: Duration,
    /// Dollars in total.
    pub cost: Decimal,
    /// Dollars an hour for what is paid at this moment.
    pub hourly_now: Decimal,
    /// Machines that are paid at this moment.
    pub machines_now: usize,
}

/// What one machine has cost so far.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Bill {
    /// UUID.
    pub uuid: String,
    /// Host name as the API spells it.
    pub hostname: String,
    /// Who bought it.
    pub origin: Origin,
    /// Paid time.
    pub paid: Duration,
    /// Dollars an hour.
    pub hourly: Decimal,
    /// Dollars so far.
    pub cost: Decimal,
    /// It is still paid.
    pub running: bool,
}

impl Ledger {
    pub(crate) fn add(&mut self, mut bill: Bill) {
        const MILLIS_PER_HOUR: u32 = 3_600_000;
        let millis = Decimal::from(bill.paid.as_millis() as u64);
        bill.cost = bill.hourly * millis / Decimal::from(MILLIS_PER_HOUR);
        self.paid += bill.paid;
        self.cost += bill.cost;
        if bill.running {
            self.hourly_now += bill.hourly;
            self.machines_now += 1;
        }
        self.machines.push(bill);
    }
}
