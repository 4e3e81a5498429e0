//! Schedules in cron's notation. Pure.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

/// Days looked at before a schedule counts as one that never comes: the 29th of February can be eight years away.
const HORIZON: i32 = 9 * 366;

/// A parsed schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schedule {
    /// One bit for each value.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Day of the month and day of the week are both restricted: either suffices.
    either_day: bool,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    /// Parses five fields, or one of the `@` names.
    pub(super) fn parse(text: &str) -> Option<Schedule> {
        let text = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else { return None };
        let any = |field: &str| field.starts_with(['*', '?']);
        let sunday_is_seven = |bits: u64| (bits | bits >> 7) & 0x7f;
        Some(Schedule {
            minutes: bits(minutes, 0, 59, &[])?,
            hours: bits(hours, 0, 23, &[])?,
            days: bits(days, 1, 31, &[])?,
            months: bits(months, 1, 12, &MONTHS)?,
            weekdays: sunday_is_seven(bits(weekdays, 0, 7, &WEEKDAYS)?),
            either_day: !any(days) && !any(weekdays),
        })
    }

    /// The first time after `after`, on the clock of `zone`.
    pub(super) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let start = after.to_zoned(zone.clone()).datetime();
        let minute = Span::new().try_minutes(1).ok()?;
        let mut time = start.with().second(0).subsec_nanosecond(0).build().ok()?.checked_add(minute).ok()?;
        let mut days = 0;
        loop {
            if !self.has_day(time) {
                days += 1;
                if days > HORIZON {
                    return None;
                }
                time = time.checked_add(1.day()).ok()?.with().hour(0).minute(0).build().ok()?;
            } else if !has(self.hours, time.hour()) {
                time = time.with().minute(0).build().ok()?.checked_add(1.hour()).ok()?;
            } else if !has(self.minutes, time.minute()) {
                time = time.checked_add(minute).ok()?;
            } else {
                let found = time.to_zoned(zone.clone()).ok()?.timestamp();
                // The hour that a clock shows twice comes once.
                if found > after {
                    return Some(found);
                }
                time = time.checked_add(minute).ok()?;
            }
        }
    }

    fn has_day(&self, time: DateTime) -> bool {
        let day = has(self.days, time.day());
        let weekday = has(self.weekdays, time.weekday().to_sunday_zero_offset());
        has(self.months, time.month()) && if self.either_day { day || weekday } else { day && weekday }
    }
}

fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| bits >> value & 1 == 1)
}

/// `*`, `5`, `1-5`, `*/2`, `10-40/5`, `mon,wed`.
fn bits(field: &str, low: u32, high: u32, names: &[&str]) -> Option<u64> {
    let value = |text: &str| {
        let name = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = name.and_then(|index| u32::try_from(index).ok()).map(|index| index + low);
        named.or_else(|| text.parse().ok()).filter(|value| (low..=high).contains(value))
    };
    let mut bits = 0;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<usize>().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if matches!(range, "*" | "?") => (low, high),
            Some((first, last)) => (value(first)?, value(last)?),
            None if part.contains('/') => (value(range)?, high),
            None => (value(range)?, value(range)?),
        };
        if first > last {
            return None;
        }
        bits |= (first..=last).step_by(step).fold(0, |bits, value| bits | 1 << value);
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central Europe, spelt out so that the test needs no time zone database.
    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    fn check_in(zone: &str, schedule: &str, after: &str, expected: &[&str]) {
        let zone = TimeZone::posix(zone).unwrap();
        let schedule = Schedule::parse(schedule).unwrap();
        let mut time: Timestamp = after.parse().unwrap();
        for expected in expected {
            time = schedule.next(time, &zone).unwrap();
            assert_eq!(time.to_string(), *expected);
        }
    }

    fn check(schedule: &str, after: &str, expected: &[&str]) {
        check_in("UTC0", schedule, after, expected);
    }

    #[test]
    fn fields_hold_numbers_names_ranges_steps_and_lists() {
        check(
            "*/20 * * * *",
            "2030-01-01T00:10:30Z",
            &["2030-01-01T00:20:00Z", "2030-01-01T00:40:00Z", "2030-01-01T01:00:00Z"],
        );
        check("5 8-9 * * *", "2030-01-01T08:05:00Z", &["2030-01-01T09:05:00Z", "2030-01-02T08:05:00Z"]);
        check("0 0 1 jan,JUL *", "2030-01-01T00:00:00Z", &["2030-07-01T00:00:00Z", "2031-01-01T00:00:00Z"]);
        check("0 0 * * 7", "2030-01-01T00:00:00Z", &["2030-01-06T00:00:00Z"]);
        check("@hourly", "2030-01-01T23:59:59Z", &["2030-01-02T00:00:00Z"]);
    }

    #[test]
    fn either_day_suffices_when_both_are_restricted() {
        check(
            "0 0 13 * fri",
            "2030-01-01T00:00:00Z",
            &["2030-01-04T00:00:00Z", "2030-01-11T00:00:00Z", "2030-01-13T00:00:00Z"],
        );
        check("0 0 29 2 *", "2030-01-01T00:00:00Z", &["2032-02-29T00:00:00Z"]);
    }

    #[test]
    fn the_clock_of_the_zone_counts_and_its_double_hour_comes_once() {
        check_in(BERLIN, "30 2 * * *", "2030-01-01T00:00:00Z", &["2030-01-01T01:30:00Z"]);
        check_in(
            BERLIN,
            "30 2 * * *",
            "2030-10-26T12:00:00Z",
            &["2030-10-27T00:30:00Z", "2030-10-28T01:30:00Z"],
        );
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in
            ["", "* * * *", "60 * * * *", "* * 0 * *", "*/0 * * * *", "9-5 * * * *", "@often", "a * * * *"]
        {
            assert_eq!(Schedule::parse(text), None, "{text}");
        }
        let never = Schedule::parse("0 0 31 2 *").unwrap();
        assert_eq!(never.next("2030-01-01T00:00:00Z".parse().unwrap(), &TimeZone::UTC), None);
    }
}
