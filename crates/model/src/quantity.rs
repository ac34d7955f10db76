//! Kubernetes' `resource.Quantity`: exact, to a billionth, with the suffixes of the API.
//!
//! Source of the rules: `k8s.io/apimachinery/pkg/api/resource`: amounts finer than a billionth are
//! rounded up, amounts beyond a signed 64-bit integer are capped.

use std::{fmt, ops::Add};

/// An amount in billionths of a unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Quantity {
    nano: i128,
}

/// Text that is no quantity.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text:?} is not a quantity")]
pub struct QuantityError {
    /// The text, cut to 64 characters.
    pub text: String,
}

const NANO: i128 = 1_000_000_000;
const MAX: i128 = i64::MAX as i128 * NANO;
/// No quantity of the API is longer; longer text is refused unread.
const MAX_LENGTH: usize = 64;

impl Quantity {
    /// Reads a quantity as the API writes it: `100m`, `1.5Gi`, `2e3`, `12E`, `0.5`.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let error = || QuantityError {
            text: text.chars().take(MAX_LENGTH).collect(),
        };
        if text.is_empty() || text.len() > MAX_LENGTH || !text.is_ascii() {
            return Err(error());
        }
        let (negative, rest) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let digits_end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(digits_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(error());
        }
        let scale = Scale::parse(suffix).ok_or_else(error)?;
        let nano = amount(whole, fraction, scale);
        Ok(Self {
            nano: if negative { -nano } else { nano },
        })
    }

    /// The next whole thousandth: the API server stores no finer amount of a resource
    /// (`SetDefaults_ResourceList`).
    #[must_use]
    pub fn ceil_to_milli(self) -> Self {
        let milli = NANO / 1000;
        Self {
            nano: ceil_div(self.nano, milli).saturating_mul(milli),
        }
    }

    /// Below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// Thousandths of a unit, rounded up (away from zero for what is left of one).
    #[must_use]
    pub fn milli_ceil(self) -> i64 {
        clamp(ceil_div(self.nano, NANO / 1000))
    }

    /// Whole units, rounded up.
    #[must_use]
    pub fn value_ceil(self) -> i64 {
        clamp(ceil_div(self.nano, NANO))
    }
}

impl Add for Quantity {
    type Output = Self;

    /// The exact sum; what leaves even 128 bits stands at their end.
    fn add(self, other: Self) -> Self {
        Self {
            nano: self.nano.saturating_add(other.nano),
        }
    }
}

/// How many times its number a suffix stands for.
#[derive(Clone, Copy)]
enum Scale {
    /// Ten to this power.
    Ten(i32),
    /// Two to this power.
    Two(u32),
}

impl Scale {
    fn parse(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "" => Self::Ten(0),
            "n" => Self::Ten(-9),
            "u" => Self::Ten(-6),
            "m" => Self::Ten(-3),
            "k" => Self::Ten(3),
            "M" => Self::Ten(6),
            "G" => Self::Ten(9),
            "T" => Self::Ten(12),
            "P" => Self::Ten(15),
            "E" => Self::Ten(18),
            "Ki" => Self::Two(10),
            "Mi" => Self::Two(20),
            "Gi" => Self::Two(30),
            "Ti" => Self::Two(40),
            "Pi" => Self::Two(50),
            "Ei" => Self::Two(60),
            exponent => {
                let power = exponent.strip_prefix(['e', 'E'])?;
                let digits = power.trim_start_matches(['+', '-']);
                if digits.is_empty() || power.len() - digits.len() > 1 || digits.len() > 3 {
                    return None;
                }
                Self::Ten(power.parse().ok()?)
            }
        })
    }
}

/// Digits of a fraction that are read; what follows counts as one in the last of them.
const FRACTION_DIGITS: usize = 20;

/// The absolute amount in billionths, rounded up, capped.
fn amount(whole: &str, fraction: &str, scale: Scale) -> i128 {
    let fraction = fraction.trim_end_matches('0');
    let (fraction, dust) = match fraction.split_at_checked(FRACTION_DIGITS) {
        Some((kept, rest)) => (kept, i128::from(!rest.is_empty())),
        None => (fraction, 0),
    };
    let digits = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    let mantissa = match digits {
        "" => Some(dust),
        digits => digits.parse::<i128>().ok().map(|number| number + dust),
    };
    if mantissa == Some(0) {
        return 0;
    }
    let places = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    let (power_of_ten, factor) = match scale {
        Scale::Ten(power) => (power.saturating_sub(places).saturating_add(9), 1),
        Scale::Two(power) => (9 - places, 1_i128 << power),
    };
    let scaled = mantissa.and_then(|mantissa| {
        let mantissa = mantissa.checked_mul(factor)?;
        if power_of_ten >= 0 {
            mantissa.checked_mul(10_i128.checked_pow(power_of_ten.unsigned_abs())?)
        } else {
            match 10_i128.checked_pow(power_of_ten.unsigned_abs()) {
                Some(divisor) => Some(ceil_div(mantissa, divisor)),
                // Finer than anything representable: what is left of it counts as one billionth.
                None => Some(1),
            }
        }
    });
    scaled.unwrap_or(MAX).min(MAX)
}

fn ceil_div(value: i128, divisor: i128) -> i128 {
    let quotient = value / divisor;
    if value % divisor > 0 {
        quotient + 1
    } else {
        quotient
    }
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value > 0 { i64::MAX } else { i64::MIN })
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, suffix) in [(NANO, ""), (NANO / 1000, "m"), (1000, "u"), (1, "n")] {
            if self.nano % unit == 0 {
                return write!(f, "{}{suffix}", self.nano / unit);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn milli(text: &str) -> i64 {
        Quantity::parse(text).unwrap().milli_ceil()
    }

    fn value(text: &str) -> i64 {
        Quantity::parse(text).unwrap().value_ceil()
    }

    #[test]
    fn quantities_mean_what_kubernetes_says() {
        assert_eq!(milli("100m"), 100);
        assert_eq!(milli("0.5"), 500);
        assert_eq!(milli(".5"), 500);
        assert_eq!(milli("2"), 2000);
        assert_eq!(value("1.5Gi"), 1_610_612_736);
        assert_eq!(value("1Ei"), 1_i64 << 60);
        assert_eq!(value("2e3"), 2000);
        assert_eq!(value("2E3"), 2000);
        assert_eq!(value("5E"), 5_000_000_000_000_000_000);
        assert_eq!(value("1.5e-1"), 1);
        assert_eq!(milli("1n"), 1);
        assert_eq!(value("-1500m"), -1);
        assert_eq!(value("128974848000m"), 128_974_848);
    }

    #[test]
    fn amounts_beyond_64_bits_are_capped_and_dust_is_rounded_up() {
        assert_eq!(value("12E"), i64::MAX);
        assert_eq!(value("8Ei"), i64::MAX);
        assert_eq!(value("1e30"), i64::MAX);
        assert_eq!(value("1e999"), i64::MAX);
        assert_eq!(value("1e-30"), 1);
    }

    #[test]
    fn long_fractions_are_rounded_and_never_taken_for_huge_amounts() {
        assert_eq!(value("1.00000000000000000000000000000000000000000000"), 1);
        assert_eq!(value("1.00000000000000000000000000000000000000000001"), 2);
        assert_eq!(value("1.00000000000000000000000000000Ei"), 1_i64 << 60);
        assert_eq!(milli("0.0000000000000000000000000000000000000001"), 1);
        assert_eq!(value("000000000000000000000000000000000000000000000005"), 5);
    }

    #[test]
    fn suffixes_are_what_the_api_defines() {
        // Re-typed from the tables of apimachinery's quantity tests.
        for (text, milli_units) in [
            ("0", 0),
            ("0n", 0),
            ("100n", 1),
            ("1u", 1),
            ("1m", 1),
            ("1k", 1_000_000),
            ("1Ki", 1_024_000),
            ("1M", 1_000_000_000),
            ("1Mi", 1_048_576_000),
            ("1G", 1_000_000_000_000),
            ("1Gi", 1_073_741_824_000),
            ("1T", 1_000_000_000_000_000),
            ("1Ti", 1_099_511_627_776_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("1e-3", 1),
            ("+1.5", 1500),
            ("1.", 1000),
            ("0.5Mi", 524_288_000),
            ("1.1Ki", 1_126_400),
        ] {
            assert_eq!(milli(text), milli_units, "{text}");
        }
        for text in [
            "1K", "1ki", "1mi", "1GI", "1b", "1EI", "1e1.5", "0x10", "NaN", "inf",
        ] {
            assert!(Quantity::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_error_names_the_text_but_never_all_of_it() {
        let error = Quantity::parse(&"x".repeat(10_000)).unwrap_err();
        assert_eq!(error.text.len(), 64);
        assert!(error.to_string().contains("is not a quantity"));
    }

    #[test]
    fn sums_are_exact_and_only_rounded_when_read() {
        let half = Quantity::parse("500m").unwrap();
        assert_eq!((half + half).value_ceil(), 1);
        assert_eq!((half + half + half).value_ceil(), 2);
        let dust = Quantity::parse("1u").unwrap();
        assert_eq!((dust + dust).milli_ceil(), 1);
        let stored = dust.ceil_to_milli();
        assert_eq!((stored + stored).milli_ceil(), 2);
        assert!(Quantity::parse("-1n").unwrap().is_negative() && !half.is_negative());
    }

    #[test]
    fn text_that_is_no_quantity_is_refused() {
        for text in [
            "", "m", "1.2.3", "1x", "--1", "1e", "1e+", "e3", "1 Gi", "1GiB", "٣", "1ee3", ".", "+",
        ] {
            assert!(Quantity::parse(text).is_err(), "{text:?}");
        }
        assert!(Quantity::parse(&"9".repeat(65)).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,80}") {
            let _ = Quantity::parse(&text);
        }

        #[test]
        fn decimals_mean_what_they_say(whole in 0..1_000_000_i64, thousandths in 0..1000_i64) {
            let text = format!("{whole}.{thousandths:03}");
            prop_assert_eq!(milli(&text), whole * 1000 + thousandths);
            prop_assert_eq!(value(&text), whole + i64::from(thousandths > 0));
        }

        #[test]
        fn rounding_up_never_loses(text in "[0-9]{1,25}(\\.[0-9]{0,25})?(|n|u|m|k|M|G|Ki|Mi|Gi|e3|e-3)") {
            let quantity = Quantity::parse(&text).unwrap();
            prop_assert!(i128::from(quantity.milli_ceil()) * (NANO / 1000) >= quantity.nano.min(i128::from(i64::MAX) * (NANO / 1000)));
            prop_assert!(i128::from(quantity.value_ceil()) * NANO >= quantity.nano);
        }

        #[test]
        fn printing_and_reading_is_the_identity(nano in -1_000_000_000_000_000_000_i128..1_000_000_000_000_000_000) {
            let quantity = Quantity { nano };
            prop_assert_eq!(Quantity::parse(&quantity.to_string()).unwrap(), quantity);
        }
    }
}
