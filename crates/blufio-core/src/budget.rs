//! What may be spent. Before a call its worst case is held in every budget that applies; after it, what it cost takes the
//! place of that. So no order of calls, however many run at once, can spend more than any cap allows.
//!
//! The book is the memory of the ledger's rows: it is filled from them at the start and changes with them.

use crate::catalogue::{Catalogue, NoPrice};
use crate::ids::{CallNumber, ModelId, SessionId, TurnNumber};
use crate::money::MicroUsd;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// The least room for an answer to which a call is shrunk, in tokens. What fits less is not called.
pub const SHRUNK_TOKENS_MIN: u32 = 1_024;
/// Shares of a cap at which its owner is told, in percent.
pub const NOTICES: [u8; 2] = [80, 95];

/// What a cap is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// One turn.
    Turn,
    /// One conversation in a day.
    Session,
    /// One person in a day.
    Person,
    /// One agent in a day.
    Agent,
    /// Everything in a day.
    Day,
    /// Everything in a month.
    Month,
}

impl Budget {
    /// The configuration key of its cap.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Turn => "budget.turn_usd",
            Self::Session => "budget.session_day_usd",
            Self::Person => "budget.person_day_usd",
            Self::Agent => "budget.agent_day_usd",
            Self::Day => "budget.day_usd",
            Self::Month => "budget.month_usd",
        }
    }

    /// In words, as the subject of a sentence.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Turn => "the budget of one answer",
            Self::Session => "today's budget of this conversation",
            Self::Person => "today's budget of the person who asks",
            Self::Agent => "today's budget of this agent",
            Self::Day => "today's budget",
            Self::Month => "this month's budget",
        }
    }
}

/// The caps; `None`: no cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Of one turn.
    pub turn: Option<MicroUsd>,
    /// Of one conversation in a day.
    pub session_day: Option<MicroUsd>,
    /// Of one person in a day.
    pub person_day: Option<MicroUsd>,
    /// Of one agent in a day.
    pub agent_day: Option<MicroUsd>,
    /// Of everything in a day.
    pub day: Option<MicroUsd>,
    /// Of everything in a month.
    pub month: Option<MicroUsd>,
}

impl Caps {
    const fn of(&self, budget: Budget) -> Option<MicroUsd> {
        match budget {
            Budget::Turn => self.turn,
            Budget::Session => self.session_day,
            Budget::Person => self.person_day,
            Budget::Agent => self.agent_day,
            Budget::Day => self.day,
            Budget::Month => self.month,
        }
    }
}

/// The day and the month that count now, in the time zone of the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// When the day began.
    pub day: Timestamp,
    /// When the next one begins.
    pub day_end: Timestamp,
    /// When the month began.
    pub month: Timestamp,
    /// When the next one begins.
    pub month_end: Timestamp,
}

impl Period {
    /// When a budget is free again; never for a turn's.
    #[must_use]
    pub const fn free_at(&self, budget: Budget) -> Option<Timestamp> {
        match budget {
            Budget::Turn => None,
            Budget::Session | Budget::Person | Budget::Agent | Budget::Day => Some(self.day_end),
            Budget::Month => Some(self.month_end),
        }
    }
}

/// On whose account a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payer {
    /// The conversation.
    pub session: SessionId,
    /// Its turn.
    pub turn: TurnNumber,
    /// Who asked, in the ledger's word.
    pub person: String,
    /// The agent.
    pub agent: String,
}

/// Something that is counted against a cap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Account {
    Turn(SessionId, TurnNumber),
    Session(SessionId),
    Person(String),
    Agent(String),
    Day,
    Month,
}

impl Account {
    fn all(payer: &Payer) -> [Self; 6] {
        [
            Self::Turn(payer.session, payer.turn),
            Self::Session(payer.session),
            Self::Person(payer.person.clone()),
            Self::Agent(payer.agent.clone()),
            Self::Day,
            Self::Month,
        ]
    }

    const fn budget(&self) -> Budget {
        match self {
            Self::Turn(..) => Budget::Turn,
            Self::Session(_) => Budget::Session,
            Self::Person(_) => Budget::Person,
            Self::Agent(_) => Budget::Agent,
            Self::Day => Budget::Day,
            Self::Month => Budget::Month,
        }
    }

    /// Its name among those of its kind, for the topic of a notice.
    fn name(&self) -> String {
        match self {
            Self::Turn(session, turn) => format!("{session}/{turn}"),
            Self::Session(session) => session.to_string(),
            Self::Person(person) | Self::Agent(person) => person.clone(),
            Self::Day | Self::Month => String::new(),
        }
    }
}

/// Which call something is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallKey {
    /// The conversation.
    pub session: SessionId,
    /// The turn.
    pub turn: TurnNumber,
    /// The call of the turn.
    pub call: CallNumber,
}

/// A call that somebody wants to make.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// Which.
    pub call: CallKey,
    /// On whose account.
    pub payer: &'a Payer,
    /// The model, and after it those that may take its place if there is too little money, cheaper ones later.
    pub models: &'a [ModelId],
    /// Tokens of the prompt, estimated.
    pub prompt_tokens: u64,
    /// Tokens wanted for the answer.
    pub max_tokens: u32,
    /// Now.
    pub at: Timestamp,
}

/// A call that may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// With this model.
    pub model: ModelId,
    /// With so much room for the answer, in tokens.
    pub max_tokens: u32,
    /// The worst case, which is held.
    pub held: MicroUsd,
    /// Caps of which a share is used up by it for the first time.
    pub notices: Vec<Notice>,
}

/// Why a call may not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Nobody knows what it costs.
    NoPrice(NoPrice),
    /// It does not fit, not even a small one on the cheapest model.
    Budget(Refusal),
}

/// A budget in which a call has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which budget; of several the one with the least room.
    pub budget: Budget,
    /// Its cap.
    pub cap: MicroUsd,
    /// What is spent and held.
    pub used: MicroUsd,
    /// The least that the call would need.
    pub needed: MicroUsd,
    /// When it is free again.
    pub free_at: Option<Timestamp>,
}

impl Refusal {
    /// What is told; `when`: [`Refusal::free_at`] as people say it.
    #[must_use]
    pub fn text(&self, when: Option<&str>) -> String {
        let Self { budget, cap, used, needed, .. } = self;
        let again = when.map_or_else(String::new, |when| format!(" It is free again {when}."));
        format!(
            "I stop here to stay within {}: {} of {} are spent or reserved, and going on may cost {}.{again} `{}` in the configuration \
             changes it.",
            budget.words(),
            used.cents(),
            cap.cents(),
            needed.cents(),
            budget.key()
        )
    }
}

/// A share of a cap is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which budget.
    pub budget: Budget,
    /// Which one of its kind; empty where there is but one.
    pub name: String,
    /// The share, in percent.
    pub percent: u8,
    /// What is spent and held.
    pub used: MicroUsd,
    /// The cap.
    pub cap: MicroUsd,
    /// When its period began.
    pub since: Timestamp,
}

impl Notice {
    /// Names it once per period.
    #[must_use]
    pub fn topic(&self) -> String {
        format!("{} {} {} % since {}", self.budget.key(), self.name, self.percent, self.since.0)
    }

    /// What is told.
    #[must_use]
    pub fn text(&self) -> String {
        let name = if self.name.is_empty() { String::new() } else { format!(" ({})", self.name) };
        format!(
            "{} % of {}{name} are used: {} of {} are spent or reserved. What does not fit any more is not called. /cost says more.",
            self.percent,
            self.budget.words(),
            self.used.cents(),
            self.cap.cents()
        )
    }
}

/// What a ledger says of a period, held amounts included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Since the day began: session, person, agent, amount.
    pub today: Vec<(SessionId, String, String, MicroUsd)>,
    /// Since the month began.
    pub month: MicroUsd,
    /// Of turns that are not over, whenever they began.
    pub turns: Vec<(SessionId, TurnNumber, MicroUsd)>,
    /// Calls that are not over: which, on whose account, what is held, since when.
    pub open: Vec<(CallKey, Payer, MicroUsd, Timestamp)>,
}

#[derive(Clone, Debug)]
struct Held {
    payer: Payer,
    amount: MicroUsd,
    period: Period,
}

/// How a budget stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub budget: Budget,
    /// Spent and held.
    pub used: MicroUsd,
    /// Its cap; `None`: none.
    pub cap: Option<MicroUsd>,
}

/// What is spent and held under each cap.
///
/// It holds one account per conversation and person of the day and one per running turn.
#[derive(Clone, Debug, Default)]
pub struct Book {
    caps: Caps,
    period: Period,
    used: BTreeMap<Account, MicroUsd>,
    held: BTreeMap<CallKey, Held>,
    told: BTreeSet<(Account, u8)>,
}

impl Book {
    /// The book of a ledger that says this of the period.
    #[must_use]
    pub fn new(caps: Caps, period: Period, spent: &Spent) -> Self {
        let mut book = Self { caps, period, ..Self::default() };
        for (session, person, agent, amount) in &spent.today {
            for account in [
                Account::Session(*session),
                Account::Person(person.clone()),
                Account::Agent(agent.clone()),
                Account::Day,
            ] {
                book.count(account, *amount);
            }
        }
        book.count(Account::Month, spent.month);
        for (session, turn, amount) in &spent.turns {
            book.count(Account::Turn(*session, *turn), *amount);
        }
        for (call, payer, amount, at) in &spent.open {
            let old = Timestamp(i64::MIN);
            let day = if *at >= period.day { period.day } else { old };
            let month = if *at >= period.month { period.month } else { old };
            let held = Held { payer: payer.clone(), amount: *amount, period: Period { day, month, ..period } };
            book.held.insert(*call, held);
        }
        // What was crossed before was told before.
        let crossed: Vec<_> = book.used.keys().flat_map(|account| book.crossed(account)).collect();
        book.told.extend(crossed.into_iter().map(|(account, notice)| (account, notice.percent)));
        book
    }

    /// Whether `now` lies in the day that counts.
    #[must_use]
    pub fn is_in(&self, now: Timestamp) -> bool {
        self.period.day <= now && now < self.period.day_end
    }

    /// It is this day and month now. What was counted in an earlier one does not count any more.
    pub fn roll(&mut self, period: Period) {
        let (day, month) = (period.day != self.period.day, period.month != self.period.month);
        self.period = period;
        let over = |account: &Account| match account {
            Account::Turn(..) => false,
            Account::Session(_) | Account::Person(_) | Account::Agent(_) | Account::Day => day,
            Account::Month => month,
        };
        self.used.retain(|account, _| !over(account));
        self.told.retain(|(account, _)| !over(account));
    }

    /// Holds the worst case of a call; if that does not fit, of a smaller one, then of one on a cheaper model.
    ///
    /// # Errors
    /// A model has no price, or nothing fits. Nothing is held then.
    pub fn reserve(&mut self, catalogue: &Catalogue, wish: &Wish<'_>) -> Result<Granted, Denied> {
        // What an attempt that was never written down has left behind.
        self.settle(wish.call, MicroUsd::ZERO);
        let tightest = self.tightest(wish.payer);
        let room = tightest.map(|(_, cap, used)| MicroUsd(cap.0.saturating_sub(used.0)));
        let mut needed = MicroUsd(u64::MAX);
        for model in wish.models {
            let known = catalogue.get(model).map_or(u32::MAX, |model| model.max_output);
            let wanted = wish.max_tokens.min(known);
            let reserve =
                |tokens| catalogue.reserve(model, wish.prompt_tokens, tokens, wish.at).map_err(Denied::NoPrice);
            let most = match room {
                None => wanted,
                Some(room) => catalogue
                    .affordable(model, wish.prompt_tokens, room, wish.at)
                    .map_err(Denied::NoPrice)?
                    .map_or(0, |tokens| tokens.min(wanted)),
            };
            if most >= wanted.min(SHRUNK_TOKENS_MIN) {
                let held = reserve(most)?;
                let period = self.period;
                self.add(wish.payer, held, period);
                self.held.insert(wish.call, Held { payer: wish.payer.clone(), amount: held, period });
                return Ok(Granted { model: model.clone(), max_tokens: most, held, notices: self.notices(wish.payer) });
            }
            needed = needed.min(reserve(wanted.min(SHRUNK_TOKENS_MIN))?);
        }
        let (budget, cap, used) = tightest.unwrap_or((Budget::Day, MicroUsd::ZERO, MicroUsd::ZERO));
        Err(Denied::Budget(Refusal { budget, cap, used, needed, free_at: self.period.free_at(budget) }))
    }

    /// Counts something of a known price, if it fits.
    ///
    /// # Errors
    /// It does not. Nothing is counted then.
    pub fn pay(&mut self, payer: &Payer, price: MicroUsd) -> Result<Vec<Notice>, Refusal> {
        if let Some((budget, cap, used)) = self.tightest(payer)
            && cap.0.saturating_sub(used.0) < price.0
        {
            return Err(Refusal { budget, cap, used, needed: price, free_at: self.period.free_at(budget) });
        }
        let period = self.period;
        self.add(payer, price, period);
        Ok(self.notices(payer))
    }

    /// The call is over and cost this; says by how much it cost more than was held.
    pub fn settle(&mut self, call: CallKey, cost: MicroUsd) -> Option<MicroUsd> {
        let Held { payer, amount, period } = self.held.remove(&call)?;
        for account in Account::all(&payer) {
            if self.counts(&account, period)
                && let Some(used) = self.used.get_mut(&account)
            {
                used.0 = used.0.saturating_sub(amount.0);
            }
        }
        self.add(&payer, cost, period);
        cost.0.checked_sub(amount.0).filter(|more| *more > 0).map(MicroUsd)
    }

    /// The turn is over; its account is closed.
    pub fn turn_over(&mut self, session: SessionId, turn: TurnNumber) {
        self.used.remove(&Account::Turn(session, turn));
    }

    /// How the budgets of a conversation and a person stand, and those of all.
    #[must_use]
    pub fn standings(&self, payer: &Payer) -> Vec<Standing> {
        let standing = |account: &Account| Standing {
            budget: account.budget(),
            used: self.used(account),
            cap: self.caps.of(account.budget()),
        };
        Account::all(payer).iter().skip(1).map(standing).collect()
    }

    fn used(&self, account: &Account) -> MicroUsd {
        self.used.get(account).copied().unwrap_or_default()
    }

    fn counts(&self, account: &Account, period: Period) -> bool {
        match account {
            Account::Turn(..) => true,
            Account::Session(_) | Account::Person(_) | Account::Agent(_) | Account::Day => {
                period.day == self.period.day
            }
            Account::Month => period.month == self.period.month,
        }
    }

    fn add(&mut self, payer: &Payer, amount: MicroUsd, period: Period) {
        for account in Account::all(payer) {
            if self.counts(&account, period) {
                self.count(account, amount);
            }
        }
    }

    fn count(&mut self, account: Account, amount: MicroUsd) {
        let used = self.used.entry(account).or_default();
        *used = used.plus(amount);
    }

    /// The budget with the least room, its cap and what is used of it.
    fn tightest(&self, payer: &Payer) -> Option<(Budget, MicroUsd, MicroUsd)> {
        let capped = Account::all(payer).into_iter().filter_map(|account| {
            let budget = account.budget();
            self.caps.of(budget).map(|cap| (budget, cap, self.used(&account)))
        });
        capped.min_by_key(|(_, cap, used)| cap.0.saturating_sub(used.0))
    }

    /// What is to be told of the caps of a payer, each once.
    fn notices(&mut self, payer: &Payer) -> Vec<Notice> {
        let mut notices = Vec::new();
        for account in Account::all(payer) {
            for (account, notice) in self.crossed(&account) {
                if self.told.insert((account, notice.percent)) {
                    notices.push(notice);
                }
            }
        }
        notices
    }

    fn crossed(&self, account: &Account) -> Vec<(Account, Notice)> {
        let budget = account.budget();
        let Some(cap) = self.caps.of(budget).filter(|_| budget != Budget::Turn) else { return Vec::new() };
        let used = self.used(account);
        let reached = |percent: &u8| u128::from(used.0) * 100 >= u128::from(cap.0) * u128::from(*percent);
        let since = if budget == Budget::Month { self.period.month } else { self.period.day };
        let notice = |percent| (account.clone(), Notice { budget, name: account.name(), percent, used, cap, since });
        NOTICES.into_iter().filter(reached).map(notice).collect()
    }
}

#[cfg(test)]
mod tests;
