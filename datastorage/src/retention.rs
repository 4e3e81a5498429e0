//! How long events are kept.

use std::str::FromStr;

use api::audit::EventCategory;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Days to keep events, by category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// For categories that are not named.
    pub days: u32,
    /// For those that are.
    pub categories: Vec<(EventCategory, u32)>,
}

impl Policy {
    /// What happened before has been kept for `days` at `now`.
    pub fn cutoff(&self, now: Timestamp, days: u32) -> Timestamp {
        now.checked_sub(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MIN)
    }
}

/// `gateway=90`: an exception of a [`Policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CategoryDays(pub EventCategory, pub u32);

impl FromStr for CategoryDays {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (category, days) =
            text.split_once('=').ok_or("write `<category>=<days>`, for example `gateway=90`")?;
        let days: u32 = days.parse().map_err(|_| format!("`{days}` is not a number of days"))?;
        if days == 0 {
            return Err("events are kept for at least a day".to_owned());
        }
        let category = serde_json::from_value(Value::String(category.to_owned()))
            .map_err(|error| format!("`{category}`: {error}"))?;
        Ok(Self(category, days))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_names_a_category_and_days() {
        assert_eq!("gateway=90".parse(), Ok(CategoryDays(EventCategory::Gateway, 90)));
        for wrong in ["gateway", "gateway=", "gateway=0", "gateway=-1", "other=3", "=3"] {
            assert!(wrong.parse::<CategoryDays>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_longest_time_reaches_no_further_back_than_time_itself() {
        let policy = Policy { days: u32::MAX, categories: Vec::new() };
        assert_eq!(policy.cutoff(Timestamp::UNIX_EPOCH, u32::MAX), Timestamp::MIN);
    }
}
