//! Whatever happens to turns, the conversation stays one that the service accepts.
//!
//! Random facts (answers of every kind, failures, stops, deadlines, panics, restarts that fold the state anew) drive the
//! machine of a turn over several turns; its orders build the conversation exactly as the rows would. Each conversation that
//! would be sent is judged twice, by rules that were written apart: by the provider's own check of the final bytes, and by the
//! fake's judge.

use blufio_adapters::anthropic::{Anthropic, AnthropicOptions, Limits, check_request};
use blufio_adapters::egress::Egress;
use blufio_core::approval::Verdict;
use blufio_core::context::caching::{Lifetimes, Shape, Size, Ttl, marks};
use blufio_core::context::estimate::{Meter, Milli, Tokenizer};
use blufio_core::ids::{Boot, CallId, EpochNumber, ModelId, ToolName};
use blufio_core::message::{Body, Origin, Part, Role, StopReason, Usage, visible_text};
use blufio_core::port::{Failure, Prompt, PromptMessage, Provider, Replay};
use blufio_core::record::{Shared, Step, ToolRun, ToolState};
use blufio_core::secret::Secret;
use blufio_core::session::{CallFacts, Effect, Input, Timer, Turn, note, results};
use blufio_core::time::Timestamp;
use blufio_testkit::contract::provider::Shelf;
use blufio_testkit::messages::history::{Context, judge_messages};
use blufio_testkit::messages::media;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CONVERSATIONS: u64 = 100_000;
const SEED: u64 = 0x0b1f_1005_eed0_0001;

#[test]
fn every_generated_conversation_is_legal() {
    let (provider, files) = provider();
    let (mut judged, mut longest) = (0, 0);
    for number in 0..CONVERSATIONS {
        let seed = SEED.wrapping_add(number);
        let mut world = World::new(&provider, &files, seed);
        world.live();
        judged += world.judged;
        longest = longest.max(world.messages.len());
    }
    println!("seed {SEED:#x}: {CONVERSATIONS} conversations, {judged} requests judged, longest {longest} messages");
    assert!(judged > CONVERSATIONS && longest > 20, "the generator has become tame");
}

/// A provider that sends nothing, and pictures, a document and one picture that is gone, which it finds or misses.
fn provider() -> (Anthropic, Vec<Part>) {
    let (egress, shelf) = (Egress::new().unwrap(), Arc::new(Shelf::default()));
    let files = vec![
        shelf.image(&media::png(800, 600)),
        shelf.image(&media::jpeg(1, 1)),
        shelf.document("a \"b\".pdf"),
        shelf.image(&media::png(2, 2)),
    ];
    if let Body::Image { attachment, .. } = &files[3].body {
        shelf.forget(attachment);
    }
    let base_url = "https://api.anthropic.com";
    let limits = Limits::default();
    let options =
        AnthropicOptions { base_url, api_key: Secret::new("k".to_owned()), egress: &egress, blobs: shelf, limits };
    (Anthropic::new(options).unwrap(), files)
}

/// The judges are awake: a conversation with any one message taken out of a tool round is refused by all of them.
#[test]
fn the_judges_find_what_is_wrong() {
    let (provider, files) = provider();
    let mut world = World::new(&provider, &files, 1);
    let call = Part {
        origin: Origin::Model,
        private: false,
        body: Body::ToolCall { id: CallId::new("a"), name: ToolName::new("t"), input: "{}".into() },
    };
    let result =
        Part { body: Body::ToolResult { id: CallId::new("a"), content: "x".into(), error: false }, ..call.clone() };
    world.push(Role::User, vec![Part::text(Origin::Owner, "hello")], Paused::No);
    world.push(Role::Assistant, vec![call], Paused::No);
    world.push(Role::User, vec![result], Paused::No);
    assert_eq!(world.verdicts(), [None, None]);
    for place in 0..3 {
        let taken = world.messages.remove(place);
        assert!(world.verdicts().iter().all(Option::is_some), "without message {place}: {:?}", world.verdicts());
        world.messages.insert(place, taken);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Paused {
    Yes,
    No,
}

struct Message {
    role: Role,
    parts: Vec<Part>,
    wire: Shared,
    paused: Paused,
}

/// One conversation and the turn that runs in it.
struct World<'a> {
    provider: &'a Anthropic,
    files: &'a [Part],
    seed: u64,
    chance: u64,
    messages: Vec<Message>,
    judged: u64,
    now: Timestamp,
    next_id: u32,
    tools: Vec<ToolRun>,
    reply: Option<(Vec<Part>, Paused)>,
    /// The conversation of the last request, to be the beginning of the next one; nothing after it was rendered anew.
    sent: Vec<u8>,
}

impl<'a> World<'a> {
    fn new(provider: &'a Anthropic, files: &'a [Part], seed: u64) -> Self {
        Self {
            provider,
            files,
            seed,
            chance: seed,
            messages: Vec::new(),
            judged: 0,
            now: Timestamp(1_000_000),
            next_id: 0,
            tools: Vec::new(),
            reply: None,
            sent: Vec::new(),
        }
    }

    /// SplitMix64, so that a seed is all there is to a run.
    fn below(&mut self, end: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.chance;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % end
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        let place = self.below(of.len() as u64);
        of[usize::try_from(place).unwrap()].clone()
    }

    fn live(&mut self) {
        for _ in 0..=self.below(4) {
            let text = self.one(&["hello", " indented\n", "\u{1F600}\"quoted\\\"", "[stopped]"]);
            let mut parts = vec![Part::text(Origin::Owner, text)];
            for _ in 0..self.below(6).saturating_sub(3) {
                let place = usize::try_from(self.below(parts.len() as u64 + 1)).unwrap();
                parts.insert(place, self.one(self.files));
            }
            if parts.len() > 2 && self.below(2) == 0 {
                // Pictures without a word.
                parts.retain(|part| !matches!(part.body, Body::Text { .. }));
            }
            self.push(Role::User, parts, Paused::No);
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.tools.clear();
        let mut turn = Turn::default();
        let mut steps: Vec<Step> = Vec::new();
        let deadline = self.now.plus(Duration::from_secs(900));
        let rounds_max = self.one(&[1, 2, 25]);
        let mut input = Input::Admitted { rounds_max, fallback: true, deadline };
        for _ in 0..40 {
            self.now = self.now.plus(Duration::from_millis(700));
            let mut out = Vec::new();
            if turn.step(input.clone(), self.now, &mut out).is_ok() {
                let seq = u32::try_from(steps.len()).unwrap() + 1;
                steps.push(Step { seq, at: self.now, boot: Boot(1), input });
                out.iter().for_each(|effect| self.carry_out(effect, turn.round()));
            }
            if turn.outcome().is_some() {
                return;
            }
            input = self.fact();
            if matches!(input, Input::Restarted { .. }) {
                turn = Turn::fold(&steps).expect("what was committed can be folded");
            }
        }
        // Whatever is still open ends with the next stop.
        let mut out = Vec::new();
        turn.step(Input::Stop, self.now, &mut out).expect("a running turn can be stopped");
        out.iter().for_each(|effect| self.carry_out(effect, turn.round()));
    }

    /// The next fact; it may be late news that the machine refuses.
    fn fact(&mut self) -> Input {
        let failure = [
            Failure::Overloaded,
            Failure::Transport,
            Failure::Rejected,
            Failure::ThinkingMismatch,
            Failure::PromptTooLong,
        ];
        match self.below(100) {
            0..=44 => self.answer(),
            45..=74 => match self.in_state(|state| matches!(state, ToolState::Started(_))) {
                Some(call) => self.tool_done(call),
                None => self.answer(),
            },
            75..=79 => match self.in_state(|state| *state == ToolState::AwaitingApproval) {
                Some(call) => Input::Decided { call, verdict: self.one(&[Verdict::Allow, Verdict::Deny]) },
                None => Input::Fired { timer: Timer::Approval },
            },
            80..=85 => Input::CallFailed {
                failure: self.one(&failure),
                retry_after_ms: self.one(&[None, Some(0), Some(500_000)]),
                shown: self.below(4) == 0,
                jitter: 500,
            },
            86..=90 => Input::Fired { timer: Timer::Retry },
            91 => Input::Fired { timer: Timer::Deadline },
            92..=93 => Input::Stop,
            94 => Input::Panicked,
            _ => Input::Restarted { attempts: u32::try_from(self.below(6)).unwrap() },
        }
    }

    fn in_state(&mut self, is: impl Fn(&ToolState) -> bool) -> Option<CallId> {
        let calls: Vec<CallId> = self.tools.iter().filter(|run| is(&run.state)).map(|run| run.call.clone()).collect();
        (!calls.is_empty()).then(|| self.one(&calls))
    }

    fn tool_done(&mut self, call: CallId) -> Input {
        let content = self.one(&["", " \n", "12:00", "{\"a\":[\"]}\"]}", "é\u{0}\u{7f}\u{2028}"]).to_owned();
        let error = self.below(3) == 0;
        self.set(&call, ToolState::Done { content, error });
        Input::ToolDone { call }
    }

    fn set(&mut self, call: &CallId, state: ToolState) {
        let run = self.tools.iter_mut().find(|run| run.call == *call).expect("the machine knows the call");
        run.state = state;
    }

    /// What the adapter makes of an answer, and the fact that the runtime makes of that.
    fn answer(&mut self) -> Input {
        let stops = [
            StopReason::EndTurn,
            StopReason::ToolUse,
            StopReason::ToolUse,
            StopReason::MaxTokens,
            StopReason::PauseTurn,
            StopReason::Refusal,
            StopReason::ContextWindow,
        ];
        let stop = self.one(&stops);
        let blocks = self.below(5);
        let parts: Vec<Part> = (0..blocks).map(|_| self.part()).collect();
        let calls: Vec<CallFacts> = parts.iter().filter_map(|part| self.judge(part)).collect();
        let cut = stop == StopReason::MaxTokens && parts.last().is_some_and(is_call) && self.below(2) == 0;
        let text = !visible_text(&parts).is_empty();
        let content = !parts.is_empty();
        let paused = if stop == StopReason::PauseTurn && calls.is_empty() { Paused::Yes } else { Paused::No };
        self.reply = Some((parts, paused));
        Input::CallDone { stop, calls, text, content, cut }
    }

    fn part(&mut self) -> Part {
        let body = match self.below(5) {
            0 => Body::Opaque { kind: "thinking".into() },
            1 => Body::Text { text: self.one(&["I look.", "\n\nDone.", "\u{202e}"]).to_owned() },
            _ => {
                self.next_id += 1;
                let input = self.one(&["{}", r#"{"a": 1.0}"#, r#"{"a":"#, "[]", ""]).to_owned();
                Body::ToolCall { id: CallId::new(format!("toolu_{}", self.next_id)), name: ToolName::new("t"), input }
            }
        };
        Part { origin: Origin::Model, private: false, body }
    }

    fn judge(&mut self, part: &Part) -> Option<CallFacts> {
        let Body::ToolCall { id, name, input } = &part.body else { return None };
        let refused = !input.starts_with('{') || input.ends_with(':');
        Some(CallFacts {
            id: id.clone(),
            name: name.clone(),
            replay: self.one(&[Replay::Pure, Replay::Idempotent, Replay::Effectful]),
            fingerprint: self.below(6),
            refused: refused.then(|| "the arguments are not valid JSON".to_owned()),
            ask: self.below(20) == 0,
            ask_from: None,
        })
    }

    fn carry_out(&mut self, effect: &Effect, round: u8) {
        match effect {
            Effect::KeepReply => {
                let (parts, paused) = self.reply.take().expect("there is an answer to keep");
                for (place, part) in parts.iter().enumerate() {
                    if let Body::ToolCall { id, name, input } = &part.body {
                        self.tools.push(ToolRun {
                            call: id.clone(),
                            place: u32::try_from(place).unwrap(),
                            round,
                            name: name.clone(),
                            input: input.clone(),
                            replay: Replay::Pure,
                            bound: None,
                            state: ToolState::Planned,
                        });
                    }
                }
                self.push(Role::Assistant, parts, paused);
            }
            Effect::RefuseTool { call, why } => {
                self.set(call, ToolState::Done { content: why.clone(), error: true });
            }
            Effect::ForgetTool { call } => self.set(call, ToolState::Unknown),
            Effect::StartTool { call } => self.set(call, ToolState::Started(Boot(1))),
            Effect::AppendResults { last } => {
                let runs: Vec<ToolRun> = self.tools.drain(..).collect();
                self.push(Role::User, results(&runs, *last), Paused::No);
            }
            Effect::AppendNote(which) => self.push(Role::Assistant, note(*which), Paused::No),
            Effect::DropThinking => self.drop_thinking(),
            Effect::DropFiles => {
                for part in self.messages.iter_mut().flat_map(|message| &mut message.parts) {
                    if matches!(part.body, Body::Image { .. } | Body::Document { .. }) {
                        *part = Part::text(Origin::Engine, "[a file]");
                    }
                }
                self.drop_thinking();
            }
            Effect::CallModel { .. } => self.judge_request(),
            Effect::AskApproval { call } => self.set(call, ToolState::AwaitingApproval),
            Effect::Finish { .. } | Effect::Arm { .. } | Effect::Cancel | Effect::CloseApprovals => {}
        }
    }

    fn push(&mut self, role: Role, parts: Vec<Part>, paused: Paused) {
        let wire = self.wire(role, &parts);
        self.messages.push(Message { role, parts, wire, paused });
    }

    /// The bytes as they came: with a thinking block in place of the neutral part that stands for it.
    fn wire(&self, role: Role, parts: &[Part]) -> Shared {
        let thinks = parts.iter().any(|part| matches!(part.body, Body::Opaque { .. }));
        let rendered = self.provider.render_message(role, parts);
        if !thinks {
            return rendered.expect("there is something to keep");
        }
        let block = r#"{"type":"thinking","thinking":"","signature":"c2ln"}"#;
        let head = r#"{"role":"assistant","content":["#;
        let rest = rendered.map_or("]}".to_owned(), |wire| {
            format!(",{}", std::str::from_utf8(&wire).unwrap().strip_prefix(head).expect("the model's message"))
        });
        format!("{head}{block}{rest}").into_bytes().into()
    }

    /// Everything is rendered anew from the neutral parts; what was nothing but thinking becomes a note of ours.
    fn drop_thinking(&mut self) {
        self.sent.clear();
        for message in &mut self.messages {
            let nothing = || self.provider.render_message(message.role, &note(blufio_core::session::Note::NoReply));
            let wire = self.provider.render_message(message.role, &message.parts).or_else(nothing);
            message.wire = wire.expect("a note is something");
        }
    }

    fn judge_request(&mut self) {
        self.judged += 1;
        let body = self.provider.request_body(&self.prompt());
        assert_eq!(self.verdicts_on(&body), [None, None], "seed {:#x}: {}", self.seed, self.shown());
        let sent = conversation(&body);
        assert!(sent.starts_with(&self.sent), "seed {:#x}: a request does not begin with the one before", self.seed);
        self.sent = sent;
    }

    fn shown(&self) -> String {
        let lines = self.messages.iter().map(|message| String::from_utf8_lossy(&message.wire).into_owned());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn prompt(&self) -> Prompt {
        let messages: Vec<PromptMessage> = self
            .messages
            .iter()
            .map(|Message { role, wire, .. }| PromptMessage {
                role: *role,
                wire: wire.clone(),
                shape: self.provider.shape(*role, wire),
            })
            .collect();
        let shapes: Vec<Shape> = messages.iter().map(|message| message.shape).collect();
        let size = Size { frozen: 1, whole: 1, cache_min: 1 };
        Prompt {
            marks: marks(&shapes, size, Lifetimes { system: Ttl::Hour, messages: Ttl::FiveMinutes }),
            request: String::new(),
            model: ModelId::new("claude-sonnet-5-5"),
            max_tokens: 1,
            effort: None,
            thinking: None,
            person: String::new(),
            system: Shared::from(&b"[]"[..]),
            tools: Shared::from(&b"[]"[..]),
            messages,
        }
    }

    fn verdicts(&self) -> [Option<String>; 2] {
        self.verdicts_on(&self.provider.request_body(&self.prompt()))
    }

    /// What the two judges find wrong: the provider, the fake.
    fn verdicts_on(&self, body: &[u8]) -> [Option<String>; 2] {
        let sent: Value = serde_json::from_slice(body).expect("a request is JSON");
        let paused = |content: &Value| {
            let same =
                |message: &&Message| serde_json::from_slice::<Value>(&message.wire).unwrap()["content"] == *content;
            self.messages.iter().filter(|message| message.paused == Paused::Yes).any(|message| same(&message))
        };
        let context = Context { paused: &paused, system_role: true, compaction: false };
        [
            check_request(body).err().map(|illegal| illegal.to_string()),
            judge_messages(&sent["messages"], &context).err(),
        ]
    }
}

/// What two requests of one epoch have in common: the messages without the marks of the cache, which do not count, and
/// without the brackets that close them.
fn conversation(body: &[u8]) -> Vec<u8> {
    let body = std::str::from_utf8(body).unwrap().replace(r#","cache_control":{"type":"ephemeral"}"#, "");
    let (_, messages) = body.split_once(r#","messages":["#).expect("there are messages");
    messages.strip_suffix("]}").expect("messages come last").as_bytes().to_vec()
}

fn is_call(part: &Part) -> bool {
    matches!(part.body, Body::ToolCall { .. })
}

/// What is done for every call of a long conversation: estimate, marks, body, and the last look at it.
#[test]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn a_conversation_of_two_thousand_messages_is_put_together_at_once() {
    let (provider, _) = provider();
    let text = "A sentence of about the length that people write to each other on their phones. ".repeat(3);
    let messages: Vec<PromptMessage> = (0..2_001)
        .map(|number| {
            let role = if number % 2 == 0 { Role::User } else { Role::Assistant };
            let wire = provider.render_message(role, &[Part::text(Origin::Owner, text.clone())]).unwrap();
            PromptMessage { role, shape: provider.shape(role, &wire), wire }
        })
        .collect();
    let (epoch, model) = (EpochNumber(1), ModelId::new("claude-sonnet-5-5"));
    let mut meter = Meter::default();
    let counted = Usage { input: 120_000, output: 90, ..Usage::default() };
    meter.settled(epoch, &model, messages.len() - 2, &counted);
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let started = Instant::now();
            let measure = |message: &PromptMessage| provider.measure(message, Tokenizer::Newer);
            let tokens = meter.estimate(epoch, &model, &messages, || Milli(0), measure);
            let shapes: Vec<Shape> = messages.iter().map(|message| message.shape).collect();
            let size = Size { frozen: 1_000, whole: tokens, cache_min: 512 };
            let marks = marks(&shapes, size, Lifetimes { system: Ttl::Hour, messages: Ttl::Hour });
            let prompt = Prompt {
                request: String::new(),
                model: model.clone(),
                max_tokens: 1,
                effort: None,
                thinking: None,
                person: String::new(),
                system: provider.render_system("You are the subject of a test."),
                tools: provider.render_tools(&[]),
                messages: messages.clone(),
                marks,
            };
            let body = provider.request_body(&prompt);
            assert!(body.len() > 400_000 && tokens > 120_090);
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("2,001 messages: {:?} at best, {:?} in the middle, {:?} at worst", times[0], times[10], times[19]);
    assert!(times[0] <= Duration::from_millis(2), "{times:?}");
}
