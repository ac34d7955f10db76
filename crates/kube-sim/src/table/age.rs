//! Ages as people read them: two figures at most, coarser as they grow.

use jiff::Timestamp;
use serde_json::Value;

/// The time from `then` to `now`.
pub(super) fn between(then: Timestamp, now: Timestamp) -> String {
    span(now.as_second() - then.as_second())
}

/// A number of seconds.
pub(super) fn span(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let pair = |big: i64, unit: &str, small: i64, part: &str| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{part}")
        }
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        pair(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        pair(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        pair(days, "d", hours % 24, "h")
    } else if days < 730 {
        format!("{days}d")
    } else if days < 2_920 {
        pair(days / 365, "y", days % 365, "d")
    } else {
        format!("{}y", days / 365)
    }
}

/// The age of what a text time says; `<unknown>` when there is none.
pub(super) fn since(text: &str, now: Timestamp) -> String {
    text.parse()
        .map_or_else(|_| "<unknown>".to_owned(), |then| between(then, now))
}

/// The age of an object.
pub(super) fn created(object: &Value, now: Timestamp) -> Value {
    since(crate::object::meta_str(object, "creationTimestamp"), now).into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn ages_grow_coarser() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (660, "11m"),
            (10_800, "3h"),
            (11_100, "3h5m"),
            (36_000, "10h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (864_000, "10d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
        ] {
            assert_eq!(super::span(seconds), text, "{seconds}");
        }
    }
}
