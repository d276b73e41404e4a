//! The one book of what is held and spent, with the clock and the calendar that it needs. What is decided is
//! [`blufio_core::budget`]'s.

use crate::herald::{Herald, News};
use blufio_core::budget::{
    Book, Budget, CallKey, Caps, Denied, Granted, Notice, Payer, Period, Refusal, Spent, Standing, Wish,
};
use blufio_core::catalogue::Catalogue;
use blufio_core::ids::{SessionId, SessionKey, TurnNumber};
use blufio_core::money::MicroUsd;
use blufio_core::time::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{ToSpan as _, Zoned};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How the day and the hour are said at which a budget is free again.
const WHEN: &str = "on %A, %-d %B at %H:%M";

/// What is held and spent, for everybody.
pub(crate) struct Money {
    book: Mutex<Book>,
    zone: TimeZone,
    herald: Herald,
}

impl Money {
    /// The book as the ledger has it.
    pub fn new(caps: Caps, zone: TimeZone, spent: &Spent, now: Timestamp, herald: Herald) -> Self {
        let book = Mutex::new(Book::new(caps, period(&zone, now), spent));
        Self { book, zone, herald }
    }

    /// Holds what a call may cost; `session` is the conversation's name for people.
    pub fn reserve(&self, catalogue: &Catalogue, wish: &Wish<'_>, session: &SessionKey) -> Result<Granted, Denied> {
        let granted = self.book(wish.at).reserve(catalogue, wish)?;
        self.tell(&granted.notices, session);
        Ok(granted)
    }

    /// Counts something of a known price, if it fits.
    pub fn pay(&self, payer: &Payer, price: MicroUsd, session: &SessionKey, now: Timestamp) -> Result<(), Refusal> {
        let notices = self.book(now).pay(payer, price)?;
        self.tell(&notices, session);
        Ok(())
    }

    fn tell(&self, notices: &[Notice], session: &SessionKey) {
        for notice in notices {
            let topic = notice.topic();
            let name = if notice.budget == Budget::Session { session.to_string() } else { notice.name.clone() };
            let text = Notice { name, ..notice.clone() }.text();
            self.herald.say(News::Budget { topic, text });
        }
    }

    /// A call is over.
    pub fn settle(&self, call: CallKey, cost: MicroUsd, now: Timestamp) {
        if let Some(more) = self.book(now).settle(call, cost) {
            tracing::error!(session = %call.session, turn = %call.turn, %cost, %more, "a call cost more than its worst case");
            let text = format!(
                "A call of the model cost {} more than I had reserved for it. It is counted in full; the log says which one.",
                more.cents()
            );
            self.herald.say(News::Tell { topic: "a call cost more".to_owned(), text, about: None });
        }
    }

    /// A turn is over.
    pub fn turn_over(&self, session: SessionId, turn: TurnNumber, now: Timestamp) {
        self.book(now).turn_over(session, turn);
    }

    /// How the budgets stand.
    pub fn standings(&self, payer: &Payer, now: Timestamp) -> Vec<Standing> {
        self.book(now).standings(payer)
    }

    /// Why a call was refused, in words.
    pub fn words(&self, refusal: &Refusal) -> String {
        let when = refusal.free_at.and_then(|at| self.local(at)).map(|at| at.strftime(WHEN).to_string());
        refusal.text(when.as_deref())
    }

    /// The day and the month that count now.
    pub fn period(&self, now: Timestamp) -> Period {
        period(&self.zone, now)
    }

    /// The time zone of the agent.
    pub const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    fn local(&self, at: Timestamp) -> Option<Zoned> {
        Some(jiff::Timestamp::from_millisecond(at.0).ok()?.to_zoned(self.zone.clone()))
    }

    /// The book of now.
    fn book(&self, now: Timestamp) -> MutexGuard<'_, Book> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if !book.is_in(now) {
            book.roll(period(&self.zone, now));
        }
        book
    }
}

/// The day and the month of an instant. Where a calendar fails (years beyond 9999), everything is one day.
pub(crate) fn period(zone: &TimeZone, now: Timestamp) -> Period {
    let all =
        Period { day: Timestamp(0), day_end: Timestamp(i64::MAX), month: Timestamp(0), month_end: Timestamp(i64::MAX) };
    let Ok(instant) = jiff::Timestamp::from_millisecond(now.0) else { return all };
    let begin = |date: Result<Date, jiff::Error>| {
        let begin = date.and_then(|date| date.to_zoned(zone.clone()));
        begin.map(|begin| Timestamp(begin.timestamp().as_millisecond()))
    };
    let day = instant.to_zoned(zone.clone()).date();
    let month = day.first_of_month();
    let ends = (begin(Ok(day)), begin(day.tomorrow()), begin(Ok(month)), begin(month.checked_add(1.month())));
    match ends {
        (Ok(day), Ok(day_end), Ok(month), Ok(month_end)) => Period { day, day_end, month, month_end },
        _ => all,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn days_and_months_are_those_of_the_zone() {
        let at = |text: &str| Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        let check = |zone: &str, now: &str, day: [&str; 2], month: [&str; 2]| {
            let Period { day: begin, day_end, month: month_begin, month_end } =
                period(&TimeZone::get(zone).unwrap(), at(now));
            assert_eq!(([begin, day_end], [month_begin, month_end]), (day.map(at), month.map(at)), "{zone} {now}");
        };
        let november = ["2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"];
        check("Europe/Berlin", "2026-11-22T22:59:59Z", ["2026-11-21T23:00:00Z", "2026-11-22T23:00:00Z"], november);
        check("Europe/Berlin", "2026-11-22T23:00:00Z", ["2026-11-22T23:00:00Z", "2026-11-23T23:00:00Z"], november);
        // The day on which clocks go back has 25 hours, and the month ends in another offset than it began.
        let october = ["2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"];
        check("Europe/Berlin", "2026-10-25T12:00:00Z", ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"], october);
        let december = ["2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"];
        check("UTC", "2026-12-31T12:00:00Z", ["2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"], december);
    }
}
