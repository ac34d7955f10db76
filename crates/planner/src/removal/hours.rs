//! The hours in which a node may go: `HH:MM-HH:MM`, over midnight too, with a time zone's name after
//! a blank where it is not the default one. Anything else protects the node, and is told.

use std::fmt;

use jiff::{Timestamp, ToSpan, tz::TimeZone};

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// Hours of a day in a time zone, the end not counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hours {
    /// Minutes after midnight.
    from: u16,
    /// Minutes after midnight, the whole day at most.
    until: u16,
    zone: TimeZone,
}

/// Why a text names no hours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HoursError {
    /// It is not of the form.
    Form,
    /// A time is none.
    Time(String),
    /// They begin when they end: never, or always?
    Empty,
    /// The time zone is not known.
    Zone(String),
}

impl fmt::Display for HoursError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("hours are written HH:MM-HH:MM, then perhaps a time zone"),
            Self::Time(time) => write!(f, "{time:?} is no time of the day"),
            Self::Empty => f.write_str("they begin when they end"),
            Self::Zone(zone) => write!(f, "time zone {zone:?} is not known"),
        }
    }
}

impl std::error::Error for HoursError {}

impl Hours {
    /// Reads hours; where they name no time zone, it is that.
    pub fn parse(text: &str, zone: &TimeZone) -> Result<Self, HoursError> {
        let mut words = text.split_whitespace();
        let (Some(hours), zone_name, None) = (words.next(), words.next(), words.next()) else {
            return Err(HoursError::Form);
        };
        let (from, until) = hours.split_once('-').ok_or(HoursError::Form)?;
        let (from, until) = (minutes(from)?, minutes(until)?);
        if from == DAY {
            return Err(HoursError::Time("24:00".into()));
        }
        if from == until {
            return Err(HoursError::Empty);
        }
        let zone = match zone_name {
            Some(name) => TimeZone::get(name).map_err(|_| HoursError::Zone(name.to_owned()))?,
            None => zone.clone(),
        };
        Ok(Self { from, until, zone })
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn contain(&self, now: Timestamp) -> bool {
        let local = self.zone.to_datetime(now);
        let minute =
            u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }

    /// When they begin next. A day whose clock leaves them out is passed over.
    #[must_use]
    pub fn begin_after(&self, now: Timestamp) -> Option<Timestamp> {
        let today = self.zone.to_datetime(now).date();
        (0..=7).find_map(|days: i64| {
            let day = today.checked_add(days.days()).ok()?;
            let hour = i8::try_from(self.from / 60).ok()?;
            let minute = i8::try_from(self.from % 60).ok()?;
            let begin = self.zone.to_timestamp(day.at(hour, minute, 0, 0)).ok()?;
            (begin > now && self.contain(begin)).then_some(begin)
        })
    }
}

/// Minutes after midnight of `HH:MM`.
fn minutes(text: &str) -> Result<u16, HoursError> {
    let wrong = || HoursError::Time(text.to_owned());
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    // `9:5` may be five past nine or ten to ten.
    let number = |digits: &str, least: usize| -> Option<u16> {
        let plain = (least..=2).contains(&digits.len());
        let plain = plain && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    let (hour, minute) = number(hour, 1).zip(number(minute, 2)).ok_or_else(wrong)?;
    let whole = hour * 60 + minute;
    if minute >= 60 || whole > DAY {
        return Err(wrong());
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hours(text: &str) -> Hours {
        Hours::parse(text, &TimeZone::UTC).unwrap()
    }

    #[test]
    fn hours_of_one_day_begin_and_end_on_the_minute() {
        let hours = hours("09:00-17:30");
        for (time, inside) in [
            ("2026-03-02T08:59:59Z", false),
            ("2026-03-02T09:00:00Z", true),
            ("2026-03-02T17:29:59Z", true),
            ("2026-03-02T17:30:00Z", false),
        ] {
            assert_eq!(hours.contain(at(time)), inside, "{time}");
        }
    }

    #[test]
    fn hours_may_go_over_midnight_or_end_at_it() {
        let night = hours("22:00-06:00");
        for (time, inside) in [
            ("2026-03-02T21:59:00Z", false),
            ("2026-03-02T22:00:00Z", true),
            ("2026-03-03T00:00:00Z", true),
            ("2026-03-03T05:59:59Z", true),
            ("2026-03-03T06:00:00Z", false),
        ] {
            assert_eq!(night.contain(at(time)), inside, "{time}");
        }
        let always = hours("00:00-24:00");
        assert!(always.contain(at("2026-03-02T00:00:00Z")));
        assert!(always.contain(at("2026-03-02T23:59:59Z")));
        assert!(!hours("22:00-00:00").contain(at("2026-03-02T00:00:00Z")));
    }

    #[test]
    fn hours_are_those_of_their_time_zone_in_summer_and_in_winter() {
        let berlin = hours("22:00-06:00 Europe/Berlin");
        assert!(berlin.contain(at("2026-01-10T21:00:00Z")));
        assert!(!berlin.contain(at("2026-01-10T20:59:00Z")));
        assert!(berlin.contain(at("2026-07-10T20:00:00Z")));
        assert!(!berlin.contain(at("2026-07-10T19:59:00Z")));
        // Where none is named it is the default one.
        let default = TimeZone::get("Asia/Tokyo").unwrap();
        let tokyo = Hours::parse("09:00-10:00", &default).unwrap();
        assert!(tokyo.contain(at("2026-01-10T00:30:00Z")));
    }

    #[test]
    fn a_night_in_which_the_clock_is_put_forward_leaves_out_what_it_leaves_out() {
        // On 29 March 2026 there is no 02:30 in Berlin.
        let gap = hours("02:00-03:00 Europe/Berlin");
        let before = at("2026-03-28T12:00:00Z");
        assert_eq!(gap.begin_after(before), Some(at("2026-03-30T00:00:00Z")));
        // On 25 October 2026 two o'clock comes twice, and both count.
        assert!(gap.contain(at("2026-10-25T00:30:00Z")));
        assert!(gap.contain(at("2026-10-25T01:30:00Z")));
        assert!(!gap.contain(at("2026-10-25T02:00:00Z")));
    }

    #[test]
    fn the_next_beginning_is_today_or_tomorrow() {
        let hours = hours("22:00-06:00 Europe/Berlin");
        let tonight = at("2026-01-10T21:00:00Z");
        assert_eq!(hours.begin_after(at("2026-01-10T12:00:00Z")), Some(tonight));
        let tomorrow = at("2026-01-11T21:00:00Z");
        assert_eq!(hours.begin_after(tonight), Some(tomorrow));
    }

    #[test]
    fn what_names_no_hours_is_refused_with_what_is_wrong() {
        for (text, wrong) in [
            ("", HoursError::Form),
            ("always", HoursError::Form),
            ("22:00", HoursError::Form),
            ("22:00 - 06:00", HoursError::Form),
            ("22:00-06:00 Europe/Berlin please", HoursError::Form),
            ("25:00-06:00", HoursError::Time("25:00".into())),
            ("22:60-06:00", HoursError::Time("22:60".into())),
            ("9-17", HoursError::Time("9".into())),
            ("9:5-17:00", HoursError::Time("9:5".into())),
            ("-1:00-17:00", HoursError::Time(String::new())),
            ("24:00-06:00", HoursError::Time("24:00".into())),
            ("22:00-24:01", HoursError::Time("24:01".into())),
            ("06:00-06:00", HoursError::Empty),
            (
                "22:00-06:00 Mars/Olympus",
                HoursError::Zone("Mars/Olympus".into()),
            ),
        ] {
            assert_eq!(Hours::parse(text, &TimeZone::UTC), Err(wrong), "{text:?}");
        }
        assert_eq!(hours("  9:00-17:00   UTC "), hours("09:00-17:00"));
    }
}
