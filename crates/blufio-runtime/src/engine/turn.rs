//! Runs one turn: facts in, commit, orders out.
//!
//! The decisions are [`blufio_core::session::Turn`]'s. This file turns orders into rows, commits input and rows together, and
//! only then lets anything happen.

mod acting;
mod ending;
mod routing;
mod spending;
mod steering;

pub(super) use acting::Action;
pub(super) use routing::Course;

use self::spending::WantedCall;
use super::consent::{Judged, Judgement};
use super::live::{LiveText, Previews};
use super::prefix::is_look;
use super::session::{Room, Session};
use super::ticket::Ticket;
use super::toolwork::call_facts;
use super::{Engine, QueueMode, asking, booking};
use crate::sessions::Seat;
use blufio_core::audit::AuditEntry;
use blufio_core::command::{self, Command};
use blufio_core::content::OutgoingFile;
use blufio_core::event::EventKind;
use blufio_core::failpoint::{Failpoint, hit};
use blufio_core::ids::{CallId, CallNumber, InboxId, ModelId, TurnNumber};
use blufio_core::message::{Body, Part, Role, visible_text};
use blufio_core::port::{Boxed, Hops, PreviewOutcome, ProviderError, Replay, Reply, StoreError};
use blufio_core::record::{InboxRow, OpenCall, Record, RunningTurn, ToolRun, ToolState};
use blufio_core::route::Decision;
use blufio_core::session::{Effect, Input, Note, Outcome, Timer, Trouble, Turn, note, results};
use blufio_core::time::Timestamp;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};

/// How long an unfinished preview may hold up the answer.
const PREVIEW_WAIT: Duration = Duration::from_secs(2);
/// The same when the person said stop.
const PREVIEW_WAIT_STOPPED: Duration = Duration::from_millis(200);

/// What a running turn waits for.
pub(super) enum News {
    /// The vendor has counted the prompt for a call that is wanted, or has not.
    Counted(WantedCall, Option<u64>),
    /// The model's try is over.
    Call(Result<Reply, ProviderError>),
    /// A tool is over; these files are for the person.
    Tool(CallId, ToolState, Vec<OutgoingFile>),
    /// A preview was shown, or not.
    Preview { outcome: PreviewOutcome, text: watch::Receiver<String> },
    /// The typing sign is gone.
    TypingOver,
    /// It may run again.
    Ticket(Option<OwnedSemaphorePermit>),
}

/// A turn being run.
pub(super) struct Run<'a> {
    pub(super) engine: &'a Arc<Engine>,
    pub(super) session: &'a mut Session,
    pub(super) row: InboxRow,
    /// Rows that are answered together with it.
    joined: Vec<InboxId>,
    pub(super) number: TurnNumber,
    turn: Turn,
    steps: u32,
    /// Rows that go with the next commit.
    pub(super) records: Vec<Record>,
    /// Things to do after it.
    pub(super) actions: Vec<Action>,
    /// After it, rows wait in chats other than this one.
    pub(super) poke_all: bool,
    pub(super) tools: Vec<ToolRun>,
    /// Tool runs that changed since the last commit.
    changed: Vec<CallId>,
    /// The calls of the newest answer.
    pub(super) judged: Vec<Judged>,
    /// When the questions about them are asked, if not at once.
    pub(super) ask_from: Option<Timestamp>,
    /// What the next commit writes into the audit log.
    pub(super) audit: Vec<AuditEntry>,
    said: Vec<String>,
    /// The model that the person wants for this message.
    forced: Option<ModelId>,
    /// Which model and effort it gets, if that was decided.
    routed: Option<Decision>,
    /// Why a budget had no room for the newest call.
    refused: Option<String>,
    placeholder: Option<i64>,
    call: CallNumber,
    open: Option<OpenCall>,
    pub(super) live: Arc<LiveText>,
    previews: Option<Previews>,
    showing: Option<Boxed<'static, News>>,
    news: FuturesUnordered<Boxed<'static, News>>,
    /// When the timers ring, on the monotonic clock.
    retry_at: Option<Duration>,
    approval_at: Option<Duration>,
    deadline_at: Duration,
    ticket: Ticket,
    /// The places that running calls ask.
    hops: Vec<(CallId, Hops)>,
}

/// Shows that somebody is at work while files are fetched, before there is a turn; never ends.
pub(super) async fn show_reading(engine: &Engine, session: &Session, rows: &[InboxRow]) {
    if let Some(row) = rows.last().filter(|_| rows.iter().any(|row| !row.content.files.is_empty()))
        && let Some(previews) = Previews::new(engine, row)
    {
        previews.typing(&LiveText::new(session.key.clone(), row.id, engine.hub.clone(), String::new())).await;
    }
    std::future::pending().await
}

/// Answers rows together; `parts` is what they come to.
pub(super) async fn begin(
    engine: &Arc<Engine>,
    session: &mut Session,
    (seat, ticket): (&mut Seat, Ticket),
    rows: Vec<InboxRow>,
    parts: Vec<Part>,
) -> Result<(), StoreError> {
    let mut rows = rows.into_iter();
    let Some(row) = rows.next() else { return Ok(()) };
    let settings = &engine.settings;
    let epoch = session.refresh(engine, &parts).await?;
    let words = [&row].into_iter().chain(rows.as_slice()).map(|row| command::said(&row.content.text));
    let words = words.collect::<Vec<_>>().join("\n");
    let mut all = session.appended(&session.prefix);
    all.extend(session.told_to_remember(engine, &row, &words).await);
    all.extend(session.recalled(engine, &words).await);
    all.extend(parts);
    let deadline = engine.adapters.clock.now().plus(settings.turn_deadline);
    session.last_turn = session.last_turn.next();
    let mut run = Run::new(engine, session, row, ticket);
    for also in rows {
        // The answer goes to the last of them.
        run.joined.push(also.id);
        run.row.route = also.route;
    }
    run.records.push(Record::TurnOpened { inbox: run.row.id, also: run.joined.clone(), deadline });
    run.records.extend(epoch);
    run.route(&words, run.now());
    run.records.extend(run.session.append(engine, Role::User, all));
    if !is_look(&run.session.key) {
        run.acknowledge();
    }
    run.start_showing();
    hit(Failpoint::TurnBeforeOpen);
    let fallback = settings.fallback.as_ref().is_some_and(|model| model != run.session.wanted_model(engine));
    run.apply(Input::Admitted { rounds_max: settings.tool_rounds, fallback, deadline }).await?;
    hit(Failpoint::TurnAfterOpen);
    run.drive(seat).await
}

/// Closes a row whose turn could not even be opened without a panic.
pub(super) async fn give_up(engine: &Arc<Engine>, session: &mut Session, row: InboxRow) -> Result<(), StoreError> {
    session.last_turn = session.last_turn.next();
    let ticket = Ticket::new(engine, row.attempts);
    let mut run = Run::new(engine, session, row, ticket);
    let deadline = run.now();
    run.records.push(Record::TurnOpened { inbox: run.row.id, also: Vec::new(), deadline });
    run.finish(Outcome::Error(Trouble::Internal), None).await;
    run.commit(None).await
}

/// Takes up a turn that a crash, a shutdown or a panic interrupted.
pub(super) async fn resume(
    engine: &Arc<Engine>,
    session: &mut Session,
    (seat, ticket): (&mut Seat, Ticket),
    running: RunningTurn,
    panics: u32,
) -> Result<(), StoreError> {
    let panicked = panics > 0;
    let stopped = session.stop_before.max(*seat.stop.borrow()) > running.last_inbox
        || engine.is_killed()
        || engine.settings.queue == QueueMode::Interrupt
            && !engine.adapters.storage.waiting(session.id, 1).await?.is_empty();
    let attempts = running.inbox.attempts;
    let mut run = Run::new(engine, session, running.inbox, ticket);
    if running.last_inbox > run.row.id {
        run.joined.push(running.last_inbox);
    }
    run.number = running.turn;
    run.steps = running.steps.last().map_or(0, |step| step.seq);
    run.call = running.last_call;
    run.tools = running.tools;
    run.placeholder = running.placeholder;
    let said = running.said.iter().map(|parts| visible_text(parts)).filter(|text| !text.is_empty());
    run.said = said.map(|text| run.speakable(text)).collect();
    if panics > 1 {
        // Rendering what was said may be what panics.
        run.said.clear();
    }
    run.live = LiveText::new(run.session.key.clone(), run.row.id, engine.hub.clone(), run.said.join("\n\n"));
    for open in running.open_calls {
        run.book_abandoned(open);
    }
    run.start_showing();
    tracing::info!(session = %run.session.key, turn = %run.number, attempts, panicked, "taking up an interrupted turn");
    match Turn::fold(&running.steps) {
        Ok(turn) if !running.steps.is_empty() => run.turn = turn,
        Ok(_) | Err(_) => {
            tracing::error!(session = %run.session.key, turn = %run.number, "the journal does not fold; the turn is closed");
            return run.close_unreadable().await;
        }
    }
    let input = match (panicked, stopped) {
        (true, _) => Input::Panicked,
        (false, true) => Input::Stop,
        (false, false) => Input::Restarted { attempts },
    };
    run.apply(input).await?;
    run.drive(seat).await
}

impl<'a> Run<'a> {
    fn new(engine: &'a Arc<Engine>, session: &'a mut Session, row: InboxRow, ticket: Ticket) -> Self {
        let live = LiveText::new(session.key.clone(), row.id, engine.hub.clone(), String::new());
        let previews = Previews::new(engine, &row).filter(|_| !is_look(&session.key));
        let forced = match command::parse(&row.content.text, None) {
            Some(Command::Only(tier)) => engine.settings.catalogue.find(tier).map(|model| model.id.clone()),
            _ => None,
        };
        Self {
            forced,
            number: session.last_turn,
            engine,
            session,
            row,
            joined: Vec::new(),
            turn: Turn::default(),
            steps: 0,
            records: Vec::new(),
            actions: Vec::new(),
            poke_all: false,
            tools: Vec::new(),
            changed: Vec::new(),
            judged: Vec::new(),
            ask_from: None,
            audit: Vec::new(),
            said: Vec::new(),
            routed: None,
            refused: None,
            placeholder: None,
            call: CallNumber(0),
            open: None,
            live,
            previews,
            showing: None,
            news: FuturesUnordered::new(),
            retry_at: None,
            approval_at: None,
            deadline_at: Duration::MAX,
            ticket,
            hops: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.engine.adapters.clock.now()
    }

    /// The last row that it answers.
    fn last_inbox(&self) -> InboxId {
        self.joined.iter().copied().fold(self.row.id, InboxId::max)
    }

    /// Shows that the message was read, if that is wanted.
    fn acknowledge(&self) {
        if let Some(channel) = self.engine.adapters.channels.get(&self.row.route.channel).cloned() {
            let route = self.row.route.clone();
            drop(self.engine.tasks.spawn("acknowledge", async move { channel.acknowledge(&route).await }));
        }
    }

    fn start_showing(&mut self) {
        self.live.publish(EventKind::TurnStarted);
        if let Some(previews) = &self.previews {
            self.news.push(previews.typing(&self.live));
            self.showing = Some(previews.first(&self.live, self.placeholder));
        }
    }

    /// Until the turn is over.
    async fn drive(&mut self, seat: &mut Seat) -> Result<(), StoreError> {
        // What was answered while nobody ran it.
        if self.turn.is_asking() {
            self.take_decisions().await?;
        }
        while self.turn.outcome().is_none() {
            if self.turn.is_asking() && self.is_quiet() {
                self.ticket.give_back();
            }
            let waits = self.ticket.is_queued();
            let wait = self.next_timer();
            let clock = self.engine.adapters.clock.clone();
            let mine = self.last_inbox().max(seat.passed);
            tokio::select! {
                biased;
                stopped = stopped(&mut seat.stop, mine) => {
                    if !stopped {
                        return Ok(());
                    }
                    self.apply(Input::Stop).await?;
                }
                () = self.engine.until_killed_is(true) => self.apply(Input::Stop).await?,
                () = seat.decided.notified(), if !waits => self.go_on().await?,
                Some(news) = self.news.next() => self.take(news).await?,
                Some(news) = showing(&mut self.showing) => self.take(news).await?,
                () = clock.sleep(wait), if !waits => self.go_on().await?,
                () = self.engine.draining(), if self.is_quiet() => return Ok(()),
            }
        }
        Ok(())
    }

    /// Nothing is on its way that would be lost by ending the process now.
    fn is_quiet(&self) -> bool {
        self.open.is_none() && self.tools.iter().all(|run| !matches!(run.state, ToolState::Started(_)))
    }

    /// An answer may be there, or a timer has rung; what follows may cost what only a running turn may use.
    async fn go_on(&mut self) -> Result<(), StoreError> {
        if !self.ticket.is_held() {
            let queue = self.ticket.queue();
            self.news.push(Box::pin(async move { News::Ticket(queue.await) }));
            return Ok(());
        }
        if self.turn.is_asking() {
            self.take_decisions().await?;
        }
        self.ring().await
    }

    fn next_timer(&self) -> Duration {
        let timers = [self.retry_at, self.approval_at];
        let at = timers.into_iter().flatten().fold(self.deadline_at, Duration::min);
        at.saturating_sub(self.engine.adapters.clock.monotonic())
    }

    /// A wall time as an instant of the monotonic clock: once armed, a timer does not care who sets the clock.
    fn instant(&self, at: Timestamp) -> Duration {
        self.engine.adapters.clock.monotonic().saturating_add(at.since(self.now()))
    }

    async fn ring(&mut self) -> Result<(), StoreError> {
        let now = self.engine.adapters.clock.monotonic();
        let timer = if now >= self.deadline_at {
            Timer::Deadline
        } else if self.retry_at.is_some_and(|at| now >= at) && !self.engine.is_draining() {
            self.retry_at = None;
            Timer::Retry
        } else if self.approval_at.is_some_and(|at| now >= at) {
            self.approval_at = None;
            Timer::Approval
        } else {
            return Ok(());
        };
        self.apply(Input::Fired { timer }).await
    }

    async fn take(&mut self, news: News) -> Result<(), StoreError> {
        match news {
            News::Counted(wanted, tokens) => self.call_counted(wanted, tokens).await,
            News::Call(Ok(reply)) => self.answered(reply).await,
            News::Call(Err(error)) => self.failed(error).await,
            News::Tool(call, state, files) => {
                hit(Failpoint::ToolAfterRun);
                self.send_files(files);
                self.record_egress(&call);
                let error = !matches!(state, ToolState::Done { error: false, .. });
                if let Some(name) = self.set_tool(&call, state) {
                    self.live.publish(EventKind::ToolDone { tool: name, error });
                }
                self.apply(Input::ToolDone { call }).await
            }
            News::Preview { outcome, text } => self.previewed(outcome, text).await,
            News::TypingOver => Ok(()),
            News::Ticket(held) => {
                self.ticket.keep(held);
                self.go_on().await
            }
        }
    }

    async fn previewed(&mut self, outcome: PreviewOutcome, text: watch::Receiver<String>) -> Result<(), StoreError> {
        self.showing = None;
        let pause = match outcome {
            PreviewOutcome::Stop => return Ok(()),
            PreviewOutcome::Shown { pause } => pause,
            PreviewOutcome::Placed { message, pause } => {
                if self.placeholder != Some(message) {
                    self.placeholder = Some(message);
                    self.records.push(Record::Placeholder { message });
                    self.commit(None).await?;
                }
                pause
            }
        };
        self.showing = self.previews.as_ref().map(|previews| previews.again(text, self.placeholder, pause));
        Ok(())
    }

    // ------------------------------------------------------------ the model's answers

    async fn answered(&mut self, reply: Reply) -> Result<(), StoreError> {
        self.judge(&reply.parts).await?;
        let asks = self.judged.iter().any(|judged| matches!(judged.judgement, Judgement::Ask(_)));
        let left = if asks { asking::questions_left(self.engine, &self.row.principal).await? } else { 0 };
        self.ask_from = if asks { asking::rested(self.engine, &self.row.principal).await } else { None };
        let calls = call_facts(self.engine, &reply.parts, &self.judged, (left, self.ask_from));
        let input = Input::CallDone {
            stop: reply.stop,
            calls,
            text: !visible_text(&reply.parts).is_empty(),
            content: reply.wire.is_some(),
            cut: reply.cut_tool_call,
        };
        if let Some(category) = &reply.refusal {
            self.session.course.declined();
            tracing::warn!(session = %self.session.key, category, "the model declined");
        }
        if let Some(open) = self.open.take() {
            let cost = booking::answered(self.engine, &open, &reply);
            self.close_call(&open, cost, reply.request.clone(), None);
        }
        self.apply_reply(input, Some(reply)).await
    }

    async fn failed(&mut self, error: ProviderError) -> Result<(), StoreError> {
        tracing::warn!(
            session = %self.session.key, failure = ?error.failure, request = error.request.as_deref().unwrap_or("-"),
            "the model call failed: {error}"
        );
        if let Some(open) = self.open.take() {
            let cost = booking::failed(self.engine, &open, &error);
            self.close_call(&open, cost, error.request.clone(), Some(format!("{:?}", error.failure)));
        }
        let kept = self.said.join("\n\n");
        let replaceable = self.previews.is_none()
            || self
                .engine
                .adapters
                .channels
                .get(&self.row.route.channel)
                .is_none_or(|channel| channel.can_replace_preview(&self.row.route));
        let shown = self.live.has_shown() && !replaceable;
        if shown {
            // It stays in the chat, so it stays in the answer.
            self.said = vec![self.speakable(self.live.text())];
        } else {
            self.live.void(kept);
        }
        let retry_after_ms = error.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let jitter = u16::try_from(self.engine.adapters.rng.bits() % 1_001).unwrap_or(0);
        self.apply(Input::CallFailed { failure: error.failure, retry_after_ms, shown, jitter }).await
    }

    // ------------------------------------------------------------ facts to rows

    pub(super) async fn apply(&mut self, input: Input) -> Result<(), StoreError> {
        self.apply_reply(input, None).await
    }

    /// One step: decide, commit the fact and all rows that follow, then act.
    async fn apply_reply(&mut self, input: Input, mut reply: Option<Reply>) -> Result<(), StoreError> {
        let now = self.now();
        let mut effects = Vec::new();
        if self.turn.step(input.clone(), now, &mut effects).is_err() {
            tracing::debug!(session = %self.session.key, ?input, "late news");
            return Ok(());
        }
        let finishing = effects.iter().any(|effect| matches!(effect, Effect::Finish { .. }));
        if effects.contains(&Effect::Cancel) {
            // First of all: what runs costs money, and the person wants it to end now.
            self.news.clear();
        }
        if finishing {
            let stopped = input == Input::Stop;
            self.settle_preview(if stopped { PREVIEW_WAIT_STOPPED } else { PREVIEW_WAIT }).await;
        }
        for effect in effects {
            self.order(effect, &mut reply).await?;
        }
        if finishing {
            hit(Failpoint::ReplyBeforeCommit);
        }
        self.commit(Some((input, now))).await?;
        if finishing {
            hit(Failpoint::ReplyAfterCommit);
        } else if reply.is_some() {
            // The answer was not kept, so what it showed is void.
            self.live.void(self.said.join("\n\n"));
        }
        Ok(())
    }

    /// Turns one order into rows and actions.
    async fn order(&mut self, effect: Effect, reply: &mut Option<Reply>) -> Result<(), StoreError> {
        match effect {
            Effect::KeepReply => {
                if let Some(Reply { wire: Some(wire), parts, .. }) = reply.take() {
                    self.keep(wire, parts);
                }
            }
            Effect::RefuseTool { call, why } => {
                self.set_tool(&call, ToolState::Done { content: why, error: true });
            }
            Effect::ForgetTool { call } => {
                self.record_egress(&call);
                let begun = self.tools.iter().any(|run| run.call == call && matches!(run.state, ToolState::Started(_)));
                let content = "not run: Blufio was restarted before it began".to_owned();
                let state = if begun { ToolState::Unknown } else { ToolState::Done { content, error: true } };
                self.set_tool(&call, state);
            }
            Effect::AppendResults { last } => {
                let round = self.turn.round();
                let runs: Vec<ToolRun> = self.tools.iter().filter(|run| run.round == round).cloned().collect();
                let failed = runs.iter().all(|run| matches!(run.state, ToolState::Done { error: true, .. }));
                self.session.course.round(failed && !runs.is_empty());
                let mut parts = results(&runs, last);
                self.label(&mut parts).await?;
                parts.extend(self.steer().await?);
                let record = self.session.append(self.engine, Role::User, parts);
                self.records.extend(record);
            }
            Effect::AppendNote(line) => {
                let record = self.session.append(self.engine, Role::Assistant, note(line));
                self.records.extend(record);
            }
            Effect::DropThinking => {
                tracing::error!(session = %self.session.key, "the vendor refused the history's thinking: a bug in Blufio; it goes");
                let first = self.session.epoch.as_ref().map_or(blufio_core::ids::MessageSeq(1), |epoch| epoch.first);
                let summary = self.session.summary.clone();
                let epoch = self.session.render_epoch(self.engine, first, summary).await?;
                self.records.push(epoch);
            }
            Effect::DropFiles => {
                tracing::warn!(session = %self.session.key, "the vendor refused a file of the prompt; files are described from now on");
                let first = self.session.epoch.as_ref().map_or(blufio_core::ids::MessageSeq(1), |epoch| epoch.first);
                let epoch = self.session.render(self.engine, first, Room::NONE).await?;
                self.records.push(epoch);
            }
            Effect::CallModel { fallback, more_room } => self.call_model(fallback, more_room),
            Effect::StartTool { call } => self.start_tool(&call),
            Effect::AskApproval { call } => {
                self.set_tool(&call, ToolState::AwaitingApproval);
                self.ask(&call).await;
            }
            Effect::CloseApprovals => {
                self.records.push(Record::ApprovalsClosed { why: "Nobody waits for an answer any more." });
                self.poke_all = true;
            }
            Effect::Arm { timer: Timer::Retry, at } => self.retry_at = Some(self.instant(at)),
            Effect::Arm { timer: Timer::Approval, at } => self.approval_at = Some(self.instant(at)),
            Effect::Arm { timer: Timer::Deadline, at } => self.deadline_at = self.instant(at),
            Effect::Cancel => {
                hit(Failpoint::StopBeforeCancel);
                self.news.clear();
                self.retry_at = None;
                if let Some(open) = self.open.take() {
                    self.book_abandoned(open);
                }
                hit(Failpoint::StopAfterCancel);
            }
            Effect::Finish { outcome, notice } => self.finish(outcome, notice).await,
        }
        Ok(())
    }

    fn keep(&mut self, wire: blufio_core::record::Shared, mut parts: Vec<Part>) {
        let origin = self.model_origin();
        parts.iter_mut().for_each(|part| part.origin = origin);
        self.session.course.said(&parts);
        let text = visible_text(&parts);
        if !text.is_empty() {
            let text = self.speakable(text);
            self.said.push(text);
        }
        let round = self.turn.round();
        for part in &parts {
            if let Body::ToolCall { id, name, input } = &part.body {
                let replay = self.engine.tools.get(name).map_or(Replay::Effectful, |tool| tool.spec().replay);
                self.tools.push(ToolRun {
                    call: id.clone(),
                    place: u32::try_from(self.tools.len()).unwrap_or(u32::MAX),
                    round,
                    name: name.clone(),
                    input: input.clone(),
                    replay,
                    bound: self.judged(id).and_then(|judged| judged.bound.clone()),
                    state: ToolState::Planned,
                });
                self.changed.push(id.clone());
            }
        }
        let record = self.session.append_wire(self.engine, Role::Assistant, parts, wire);
        self.records.push(record);
    }

    fn set_tool(&mut self, call: &CallId, state: ToolState) -> Option<blufio_core::ids::ToolName> {
        let run = self.tools.iter_mut().find(|run| run.call == *call)?;
        run.state = state;
        self.changed.push(call.clone());
        Some(run.name.clone())
    }

    fn start_tool(&mut self, call: &CallId) {
        if self.engine.is_draining() {
            return;
        }
        let Some(tool) = self.set_tool(call, ToolState::Started(self.engine.boot)) else { return };
        if let Err(why) = self.pay_tool(&tool) {
            let (call, refused) = (call.clone(), ToolState::Done { content: why, error: true });
            return self.news.push(Box::pin(async move { News::Tool(call, refused, Vec::new()) }));
        }
        if let Some(run) = self.tools.iter().find(|run| run.call == *call) {
            self.actions.push(Action::Tool(run.clone()));
        }
    }

    // ------------------------------------------------------------ the end

    /// A journal that does not fold (written by a newer or broken version): the turn is closed, the conversation goes on.
    async fn close_unreadable(&mut self) -> Result<(), StoreError> {
        let round = self.tools.iter().map(|run| run.round).max();
        let runs: Vec<ToolRun> = self.tools.iter().filter(|run| Some(run.round) == round).cloned().collect();
        if runs.iter().any(|run| !matches!(run.state, ToolState::Done { .. } | ToolState::Unknown)) {
            let mut parts = results(&runs, false);
            self.label(&mut parts).await?;
            let record = self.session.append(self.engine, Role::User, parts);
            self.records.extend(record);
        }
        let record = self.session.append(self.engine, Role::Assistant, note(Note::Error));
        self.records.extend(record);
        self.finish(Outcome::Error(Trouble::Internal), None).await;
        self.commit(None).await
    }
}

/// True once a `/stop` after row `mine` was given; false if nobody can give one any more.
async fn stopped(stop: &mut watch::Receiver<InboxId>, mine: InboxId) -> bool {
    stop.wait_for(|at| *at > mine).await.is_ok()
}

/// The preview's news, if one is being shown; never resolves to `None` while it is.
async fn showing(showing: &mut Option<Boxed<'static, News>>) -> Option<News> {
    match showing {
        Some(future) => Some(future.await),
        None => None,
    }
}
