#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use super::*;
use proptest::prelude::*;

const DAY: i64 = 86_400_000;

fn catalogue() -> Catalogue {
    Catalogue::parse(include_str!("../../../../data/models/anthropic.toml")).unwrap()
}

fn at(days: i64) -> Timestamp {
    Timestamp(1_795_305_600_000 + days * DAY)
}

fn period(days: i64) -> Period {
    Period { day: at(days), day_end: at(days + 1), month: at(days / 30 * 30), month_end: at(days / 30 * 30 + 30) }
}

fn payer(session: i64, turn: i64, person: &str) -> Payer {
    Payer { session: SessionId(session), turn: TurnNumber(turn), person: person.into(), agent: "main".into() }
}

fn key(payer: &Payer, call: u32) -> CallKey {
    CallKey { session: payer.session, turn: payer.turn, call: CallNumber(call) }
}

fn sonnet() -> Vec<ModelId> {
    vec![ModelId::new("claude-sonnet-5-5")]
}

fn wish<'a>(payer: &'a Payer, call: u32, models: &'a [ModelId], prompt_tokens: u64, max_tokens: u32) -> Wish<'a> {
    Wish { call: key(payer, call), payer, models, prompt_tokens, max_tokens, at: at(0) }
}

fn day_cap(micro: u64) -> Caps {
    Caps { day: Some(MicroUsd(micro)), ..Caps::default() }
}

#[test]
fn a_call_that_does_not_fit_is_shrunk_then_made_cheaper_then_refused() {
    let (catalogue, ann) = (catalogue(), payer(1, 1, "owner"));
    let models = [sonnet(), catalogue.cheaper(&ModelId::new("claude-sonnet-5-5"), at(0))].concat();
    // 10,000 tokens of prompt with 15 % on top at $4 per million are $0.046; 8,192 tokens of answer are $0.08192.
    let reserve = |cap| {
        let mut book = Book::new(day_cap(cap), period(0), &Spent::default());
        book.reserve(&catalogue, &wish(&ann, 1, &models, 10_000, 8_192))
            .map(|granted| (granted.model.to_string(), granted.max_tokens))
    };
    assert_eq!(reserve(127_920), Ok(("claude-sonnet-5-5".into(), 8_192)));
    assert_eq!(reserve(127_919), Ok(("claude-sonnet-5-5".into(), 8_191)));
    assert_eq!(reserve(56_240), Ok(("claude-sonnet-5-5".into(), 1_024)));
    assert_eq!(reserve(56_239), Ok(("claude-haiku-5-5".into(), 8_192)));
    let Err(Denied::Budget(refusal)) = reserve(2_000) else { panic!("it fits nowhere") };
    // On Haiku: 11,500 tokens at $0.20 and 1,024 at $0.50 per million.
    assert_eq!((refusal.budget, refusal.needed, refusal.free_at), (Budget::Day, MicroUsd(2_812), Some(at(1))));
    let text = refusal.text(Some("tomorrow at 00:00"));
    for word in ["today's budget", "$0.00 of $0.002 are", "$0.0029", "tomorrow", "budget.day_usd"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_model_without_a_price_is_not_called() {
    let (ann, models) = (payer(1, 1, "owner"), [ModelId::new("gpt-9")]);
    let refused = Book::default().reserve(&catalogue(), &wish(&ann, 1, &models, 1, 1));
    assert!(matches!(refused, Err(Denied::NoPrice(_))), "{refused:?}");
}

#[test]
fn each_budget_is_asked_and_the_tightest_is_named() {
    let catalogue = catalogue();
    let caps = Caps {
        turn: Some(MicroUsd(100_000)),
        session_day: Some(MicroUsd(150_000)),
        person_day: Some(MicroUsd(200_000)),
        agent_day: Some(MicroUsd(250_000)),
        day: Some(MicroUsd(300_000)),
        month: Some(MicroUsd(350_000)),
    };
    let mut book = Book::new(caps, period(0), &Spent::default());
    let spend = |book: &mut Book, payer: &Payer, call| {
        let models = sonnet();
        let done = book.reserve(&catalogue, &wish(payer, call, &models, 0, 5_000));
        let done = done.map(|granted| granted.held);
        book.settle(key(payer, call), done.clone().unwrap_or_default());
        done.map_err(|denied| match denied {
            Denied::Budget(refusal) => refusal.budget,
            Denied::NoPrice(_) => panic!("it has a price"),
        })
    };
    let fits = Ok(MicroUsd(50_000));
    assert_eq!(spend(&mut book, &payer(1, 1, "a"), 1), fits);
    assert_eq!(spend(&mut book, &payer(1, 1, "a"), 2), fits);
    assert_eq!(spend(&mut book, &payer(1, 1, "a"), 3), Err(Budget::Turn));
    book.turn_over(SessionId(1), TurnNumber(1));
    assert_eq!(spend(&mut book, &payer(1, 2, "a"), 1), fits);
    assert_eq!(spend(&mut book, &payer(1, 3, "a"), 1), Err(Budget::Session));
    assert_eq!(spend(&mut book, &payer(2, 1, "a"), 1), fits);
    assert_eq!(spend(&mut book, &payer(3, 1, "a"), 1), Err(Budget::Person));
    assert_eq!(spend(&mut book, &payer(3, 1, "b"), 1), fits);
    assert_eq!(spend(&mut book, &payer(4, 1, "c"), 1), Err(Budget::Agent));
    let other = Payer { agent: "other".into(), ..payer(4, 1, "c") };
    assert_eq!(spend(&mut book, &other, 1), fits);
    assert_eq!(spend(&mut book, &other, 2), Err(Budget::Day));
    book.roll(Period { month: at(0), month_end: at(30), ..period(1) });
    assert_eq!(spend(&mut book, &payer(5, 1, "a"), 1), fits);
    assert_eq!(spend(&mut book, &payer(5, 2, "a"), 1), Err(Budget::Month));
    book.roll(period(31));
    assert_eq!(spend(&mut book, &payer(5, 2, "a"), 1), fits);
}

#[test]
fn each_share_is_told_once_per_period() {
    let (catalogue, ann, models) = (catalogue(), payer(1, 1, "owner"), sonnet());
    let mut book = Book::new(day_cap(100_000), period(0), &Spent::default());
    let mut told = Vec::new();
    for call in 0..12 {
        let granted = book.reserve(&catalogue, &wish(&ann, call, &models, 0, 1_024)).unwrap();
        told.extend(granted.notices.iter().map(|notice| notice.percent));
        // What is held and never used crosses it, too, and does not cross it twice.
        book.settle(key(&ann, call), if call < 8 { granted.held } else { MicroUsd::ZERO });
    }
    assert_eq!(told, [80]);
    book.roll(period(1));
    let granted = book.reserve(&catalogue, &wish(&ann, 99, &models, 0, 9_600)).unwrap();
    let topics: BTreeSet<String> = granted.notices.iter().map(Notice::topic).collect();
    assert_eq!((granted.notices.len(), topics.len()), (2, 2));
    assert!(granted.notices[0].text().contains("$0.10 of $0.10"), "{}", granted.notices[0].text());
}

#[test]
fn a_call_over_midnight_counts_in_the_day_in_which_it_began() {
    let (catalogue, ann, models) = (catalogue(), payer(1, 1, "owner"), sonnet());
    let mut book = Book::new(day_cap(100_000), period(0), &Spent::default());
    book.reserve(&catalogue, &wish(&ann, 1, &models, 0, 9_000)).unwrap();
    book.roll(period(1));
    assert_eq!(book.settle(key(&ann, 1), MicroUsd(95_000)), Some(MicroUsd(5_000)));
    assert!(book.reserve(&catalogue, &wish(&ann, 2, &models, 0, 9_900)).is_ok());
}

/// A row of the ledger.
struct Entry {
    call: CallKey,
    payer: Payer,
    amount: MicroUsd,
    at: Timestamp,
    held: bool,
}

/// What a test keeps beside the book: the rows as a ledger has them.
#[derive(Default)]
struct Rows(Vec<Entry>);

impl Rows {
    fn spent(&self, period: Period) -> Spent {
        let today = self.0.iter().filter(|entry| entry.at >= period.day);
        Spent {
            today: today
                .map(|Entry { payer, amount, .. }| (payer.session, payer.person.clone(), payer.agent.clone(), *amount))
                .collect(),
            month: MicroUsd(self.sum(|entry| entry.at >= period.month)),
            turns: self.0.iter().map(|entry| (entry.payer.session, entry.payer.turn, entry.amount)).collect(),
            open: self
                .0
                .iter()
                .filter(|entry| entry.held)
                .map(|entry| (entry.call, entry.payer.clone(), entry.amount, entry.at))
                .collect(),
        }
    }

    fn sum(&self, of: impl Fn(&Entry) -> bool) -> u64 {
        self.0.iter().filter(|entry| of(entry)).map(|entry| entry.amount.0).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// 64 turns of 8 conversations of 4 people, calls opened and closed in any order, restarts and days in between: what the
    /// rows sum up to is never over any cap.
    #[test]
    fn no_interleaving_exceeds_any_cap(
        acts in proptest::collection::vec((0..64_i64, 0..40_000_u64, 1..9_000_u32, 0..=100_u64, 0..12_u8), 1..300),
        caps in proptest::array::uniform6(proptest::option::of(0..900_000_u64)),
    ) {
        let catalogue = catalogue();
        let [turn, session_day, person_day, agent_day, day, month] = caps.map(|cap| cap.map(MicroUsd));
        let caps = Caps { turn, session_day, person_day, agent_day, day, month };
        let models = [sonnet(), catalogue.cheaper(&ModelId::new("claude-sonnet-5-5"), at(0))].concat();
        let mut now = period(0);
        let (mut book, mut rows, mut days) = (Book::new(caps, now, &Spent::default()), Rows::default(), 0);
        for (call, (which, prompt, tokens, share, what)) in (0_u32..).zip(acts) {
            let payer = payer(which % 8, which, ["a", "b", "c", "d"][usize::try_from(which).unwrap() % 4]);
            match what {
                // A restart: the book is read from the rows.
                0 => book = Book::new(caps, now, &rows.spent(now)),
                1 => {
                    days += 1;
                    now = period(days);
                    book.roll(now);
                }
                2..=6 => {
                    let wish = Wish { at: now.day, ..wish(&payer, call, &models, prompt, tokens) };
                    if let Ok(granted) = book.reserve(&catalogue, &wish) {
                        prop_assert!(granted.max_tokens >= tokens.min(SHRUNK_TOKENS_MIN));
                        let call = wish.call;
                        rows.0.push(Entry { call, payer, amount: granted.held, at: now.day, held: true });
                    }
                }
                _ => {
                    if let Some(row) = rows.0.iter_mut().find(|row| row.held && row.payer.turn == payer.turn) {
                        row.amount = MicroUsd(row.amount.0 * share / 100);
                        row.held = false;
                        prop_assert_eq!(book.settle(row.call, row.amount), None);
                    }
                }
            }
            let today = |entry: &Entry| entry.at >= now.day;
            let over = |cap: Option<MicroUsd>, used: u64| cap.is_some_and(|cap| used > cap.0);
            prop_assert!(!over(caps.day, rows.sum(today)));
            prop_assert!(!over(caps.agent_day, rows.sum(today)));
            prop_assert!(!over(caps.month, rows.sum(|entry| entry.at >= now.month)));
            prop_assert!(!over(caps.turn, rows.sum(|entry| entry.payer.turn == payer_turn(which))));
            prop_assert!(!over(caps.session_day, rows.sum(|entry| today(entry) && entry.payer.session.0 == which % 8)));
            let person = ["a", "b", "c", "d"][usize::try_from(which).unwrap() % 4];
            prop_assert!(!over(caps.person_day, rows.sum(|entry| today(entry) && entry.payer.person == person)));
        }
    }
}

fn payer_turn(which: i64) -> TurnNumber {
    TurnNumber(which)
}
