//! Money: exact decimals, never floating point.

use std::{fmt, iter::Sum, ops::Add};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// US dollars per hour.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct HourlyPrice(Decimal);

impl HourlyPrice {
    /// Hours in a billing month: VPSie lists prices per month; 730 h is the predecessor's figure.
    pub const HOURS_PER_MONTH: u32 = 730;
    /// Nothing to pay.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// `amount` dollars per hour.
    #[must_use]
    pub const fn new(amount: Decimal) -> Self {
        Self(amount)
    }

    /// The hourly price of something that costs `amount` dollars a month, to 8 decimals.
    #[must_use]
    pub fn from_monthly(amount: Decimal) -> Self {
        Self((amount / Decimal::from(Self::HOURS_PER_MONTH)).round_dp(8))
    }

    /// Dollars per hour.
    #[must_use]
    pub const fn amount(self) -> Decimal {
        self.0
    }

    /// Dollars per month of 730 hours.
    #[must_use]
    pub fn monthly(self) -> Decimal {
        self.0 * Decimal::from(Self::HOURS_PER_MONTH)
    }

    /// The price of `count` of these.
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        Self(self.0 * Decimal::from(count))
    }
}

impl Add for HourlyPrice {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sum for HourlyPrice {
    fn sum<I: Iterator<Item = Self>>(prices: I) -> Self {
        prices.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for HourlyPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.normalize())
    }
}
