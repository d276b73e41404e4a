#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use crate::ids::ChannelName;
use proptest::prelude::*;

const HOUR: i64 = 3_600_000;
const YEARS: i64 = 10 * 365 * 24 * HOUR;

fn every(period_ms: i64, anchor: i64) -> When {
    When::Every { period: Duration::from_millis(period_ms.unsigned_abs()), anchor: Timestamp(anchor) }
}

fn due(slot: i64, skipped: u64, late: bool, next: Option<i64>) -> Due {
    Due { slot: Timestamp(slot), skipped, late, next: next.map(Timestamp) }
}

#[test]
fn times_follow_their_rule() {
    let check = |when: When, now: i64, next: Option<i64>| {
        assert_eq!(when.next_after(Timestamp(now)), next.map(Timestamp), "{when:?} after {now}");
    };
    let at = When::At(Timestamp(500));
    check(at, 499, Some(500));
    check(at, 500, None);
    check(every(HOUR, 100), -YEARS, Some(100));
    check(every(HOUR, 100), 99, Some(100));
    check(every(HOUR, 100), 100, Some(100 + HOUR));
    check(every(HOUR, 100), 99 + HOUR, Some(100 + HOUR));
    check(every(HOUR, 0), i64::MAX, None);
    check(every(HOUR, i64::MIN), i64::MAX, None);
}

#[test]
fn missed_times_become_one_late_run() {
    let check = |now: i64, expected: Due| {
        assert_eq!(every(HOUR, 0).due(Timestamp(HOUR), Timestamp(now)), expected, "at {now}");
    };
    check(HOUR, due(HOUR, 0, false, Some(2 * HOUR)));
    check(HOUR + 120_000, due(HOUR, 0, false, Some(2 * HOUR)));
    check(HOUR + 120_001, due(HOUR, 0, true, Some(2 * HOUR)));
    check(4 * HOUR + 5, due(4 * HOUR, 3, false, Some(5 * HOUR)));
    check(5 * HOUR - 1, due(4 * HOUR, 3, true, Some(5 * HOUR)));
    let at = When::At(Timestamp(HOUR));
    assert_eq!(at.due(Timestamp(HOUR), Timestamp(YEARS)), due(HOUR, 0, true, None));
}

#[test]
fn no_jump_of_the_clock_gives_a_time_twice() {
    for period in [60_000, HOUR, 24 * HOUR, 366 * 24 * HOUR] {
        let when = every(period, 0);
        for jump in [HOUR, -HOUR, YEARS, -YEARS] {
            let first = when.due(Timestamp(period), Timestamp(period));
            let then = when.due(first.next.unwrap(), Timestamp(period + jump));
            assert!(then.slot > first.slot && then.next.unwrap() > then.slot, "{period} {jump}: {then:?}");
        }
    }
}

#[test]
fn a_clock_that_was_years_ahead_silences_nothing_for_years() {
    let when = every(HOUR, 0);
    let pulled = |next_at, now| when.pulled_back(Timestamp(next_at), Timestamp(now)).map(|next| next.0);
    assert_eq!(pulled(2 * HOUR, HOUR), None);
    assert_eq!(pulled(2 * HOUR, 0), None, "an hour back is waited for");
    assert_eq!(pulled(YEARS, 5), Some(HOUR));
    assert_eq!(every(HOUR, YEARS).pulled_back(Timestamp(YEARS), Timestamp(0)), None, "it begins in ten years");
    assert_eq!(When::At(Timestamp(YEARS)).pulled_back(Timestamp(YEARS), Timestamp(0)), None);
}

#[test]
fn what_is_outside_of_the_limits_is_not_taken() {
    let new = NewSchedule {
        name: "tea".to_owned(),
        session: SessionKey::new("tg:7:dm:1"),
        route: Route { channel: ChannelName::new("telegram"), account: 7, chat: 1, thread: None, reply_to: None },
        principal: Principal::Owner,
        user: Some(1),
        when: every(HOUR, 0),
        zone: "Europe/Berlin".to_owned(),
        action: Action::Say("time for tea".to_owned()),
        made_by: "owner 1".to_owned(),
    };
    assert_eq!(new.first(Timestamp(7)), Ok(Timestamp(HOUR)));
    let check = |new: NewSchedule, trouble| assert_eq!(new.first(Timestamp(7)), Err(trouble));
    for name in ["", " ", "a\nb", &"é".repeat(65)] {
        check(NewSchedule { name: name.to_owned(), ..new.clone() }, ScheduleTrouble::Name);
    }
    assert!(NewSchedule { name: "é".repeat(64), ..new.clone() }.first(Timestamp(7)).is_ok());
    for text in [String::new(), "a".repeat(SCHEDULE_TEXT_BYTES_MAX + 1)] {
        check(NewSchedule { action: Action::Ask(text), ..new.clone() }, ScheduleTrouble::Text);
    }
    for period in [0, 59_999, 366 * 24 * HOUR + 1] {
        check(NewSchedule { when: every(period, 0), ..new.clone() }, ScheduleTrouble::Period);
    }
    check(NewSchedule { when: When::At(Timestamp(7)), ..new.clone() }, ScheduleTrouble::Past);
}

#[test]
fn stored_form_of_rules_and_actions() {
    let check = |when: When, stored: &str| {
        assert_eq!(serde_json::to_string(&when).unwrap(), stored);
        assert_eq!(serde_json::from_str::<When>(stored).unwrap(), when);
    };
    check(When::At(Timestamp(5)), r#"{"type":"at","rule":5}"#);
    check(every(HOUR, 7), r#"{"type":"every","rule":{"period_ms":3600000,"anchor":7}}"#);
    let ask = Action::Ask("news?".to_owned());
    assert_eq!(serde_json::to_string(&ask).unwrap(), r#"{"type":"ask","text":"news?"}"#);
    assert_eq!(serde_json::from_str::<Action>(r#"{"type":"say","text":"a"}"#).unwrap(), Action::Say("a".to_owned()));
}

proptest! {
    #[test]
    fn any_numbers_are_computed_with(period: u64, anchor: i64, slot: i64, now: i64) {
        for when in [
            When::Every { period: Duration::from_millis(period), anchor: Timestamp(anchor) },
            When::At(Timestamp(anchor)),
        ] {
            let (slot, now) = (Timestamp(slot), Timestamp(now));
            let next = when.next_after(now);
            prop_assert!(next.is_none_or(|next| next > now && next.0 >= anchor));
            let due = when.due(slot, now);
            prop_assert!(due.slot >= slot && due.slot <= slot.max(now));
            prop_assert!(due.next.is_none_or(|next| next > due.slot && next > now));
            prop_assert!(when.pulled_back(slot, now).is_none_or(|next| next < slot && next > now));
        }
    }

    #[test]
    fn every_time_is_run_for_or_counted_as_missed(
        period in 60_000_i64..1_000_000_000, anchor in -YEARS..YEARS, waits in prop::collection::vec(-HOUR..YEARS, 1..20),
    ) {
        let when = every(period, anchor);
        let (mut slot, mut now, mut seen) = (Timestamp(anchor), Timestamp(anchor), 0);
        for wait in waits {
            now = Timestamp(slot.0.max(now.0).saturating_add(wait));
            if now < slot {
                continue;
            }
            let due = when.due(slot, now);
            seen += 1 + i128::from(due.skipped);
            slot = due.next.unwrap();
            prop_assert_eq!(i128::from(slot.0) - i128::from(anchor), seen * i128::from(period));
        }
    }
}
