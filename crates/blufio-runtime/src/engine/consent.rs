//! Whose words are before the model, and whether a call of its may run.
//!
//! What the prompt of an epoch shows only grows, so a conversation that has read foreign text stays so until an epoch begins
//! without it. The person's own words are looked up when a decision needs them, and kept nowhere else.

use super::Engine;
use super::session::Session;
use super::toolwork::{digest, pretty};
use super::turn::Run;
use crate::herald::News;
use blufio_core::access::Principal;
use blufio_core::approval::is_showable;
use blufio_core::audit::{AuditEntry, AuditKind};
use blufio_core::exposure::{Exposure, Words};
use blufio_core::ids::{CallId, GrantId, ToolName};
use blufio_core::ingress::framed;
use blufio_core::message::{Body, Origin, Part};
use blufio_core::policy::{CallFacts, Decision, FOREIGN_FETCHES_MAX, POLICY_VERSION, Rule, decide, is_grantable};
use blufio_core::port::{AnyTool, Asker, Egress, Hops, Replay, StoreError, ToolCall};
use blufio_core::record::{Grant, InboxRow, Record, Route, ToolRun};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

const NOT_SHOWABLE: &str =
    "not run: it needs an owner's yes, and its arguments are too long to be shown; use shorter ones";

/// The verdict about one call.
#[derive(Clone, Debug)]
pub(super) enum Judgement {
    Run(Rule),
    Ask(Rule),
    Refuse(String),
}

/// A call of the newest answer, judged.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub call: CallId,
    pub judgement: Judgement,
    /// What a yes is held to besides the arguments.
    pub bound: Option<String>,
    /// What an "always" would hold for; `None`: it cannot be given.
    pub grant: Option<String>,
    /// The "always" because of which it runs.
    granted: Option<GrantId>,
}

impl Session {
    /// What the prompt shows.
    pub async fn exposure(&mut self, engine: &Engine) -> Result<Exposure, StoreError> {
        if let Some(known) = self.exposed {
            return Ok(known);
        }
        let mut exposure = Exposure::default();
        if self.epoch.as_ref().is_some_and(|epoch| epoch.private) {
            exposure.add_private();
        }
        for message in self.shown(engine, self.first()).await? {
            exposure.add(&message.parts);
        }
        self.exposed = Some(exposure);
        Ok(exposure)
    }
}

impl Run<'_> {
    /// Judges the calls of an answer, and records what was decided.
    pub(super) async fn judge(&mut self, parts: &[Part]) -> Result<(), StoreError> {
        self.judged.clear();
        let principal = self.row.principal.clone();
        let shown = self.session.exposure(self.engine).await?.to(&principal);
        let mut words = None;
        let mut fetches = self.fetches();
        for part in parts {
            let Body::ToolCall { id, name, input } = &part.body else { continue };
            let refuse = |why| Judged::new(id, Judgement::Refuse(why));
            let judged = match self.engine.tools.get(name).cloned() {
                None => refuse(format!("there is no tool named `{name}`")),
                Some(tool) => {
                    match arguments(tool.as_ref(), input).and_then(|value| self.without_secrets(&tool, value)) {
                        Err(why) => refuse(why),
                        Ok(arguments) => {
                            let words = match &mut words {
                                Some(words) => words,
                                // Without foreign text before the model nothing is compared.
                                none if shown.foreign => none.insert(self.words().await?),
                                none => none.insert(Words::default()),
                            };
                            let left = FOREIGN_FETCHES_MAX.saturating_sub(fetches);
                            fetches += u32::from(is_fetch(tool.as_ref()));
                            let facts = CallFacts {
                                tool: tool.spec(),
                                arguments: &arguments,
                                principal: &principal,
                                ask_first: self.engine.settings.ask.contains(name),
                                shown,
                                shared: self.is_shared(),
                                own: &words.own,
                                foreign_urls: &words.foreign_urls,
                                foreign_fetches_left: left,
                            };
                            self.judge_one(id, tool.as_ref(), &facts, input).await?
                        }
                    }
                }
            };
            self.record(name, input, &judged);
            self.judged.push(judged);
        }
        Ok(())
    }

    async fn judge_one(
        &mut self,
        call: &CallId,
        tool: &dyn AnyTool,
        facts: &CallFacts<'_>,
        input: &str,
    ) -> Result<Judged, StoreError> {
        let rule = match decide(facts) {
            Decision::Allow(rule) => return Ok(Judged::new(call, Judgement::Run(rule))),
            Decision::Deny(why) => return Ok(Judged::new(call, Judgement::Refuse(why))),
            Decision::Ask(rule) => rule,
        };
        if !is_showable(&pretty(input)) {
            return Ok(Judged::new(call, Judgement::Refuse(NOT_SHOWABLE.to_owned())));
        }
        let binding = match tool.binding(&self.tool_call(call, facts.arguments)).await {
            Ok(binding) => binding,
            Err(error) => return Ok(Judged::new(call, Judgement::Refuse(error.to_string()))),
        };
        let own = *facts.principal == Principal::Owner;
        let always = own && is_grantable(facts) && binding.as_ref().is_none_or(|binding| binding.always);
        let bound = binding.map(|binding| binding.hash);
        let grant = always.then(|| grant_hash(facts, bound.as_deref()));
        let granted = match &grant {
            // The list that an owner looks at must say what is used: a row that says something else is none.
            Some(hash) => {
                let grant = self.engine.adapters.storage.grant(hash.clone()).await?;
                grant.filter(|grant| is_for(grant, facts)).map(|grant| grant.id)
            }
            None => None,
        };
        let judgement = if granted.is_some() { Judgement::Run(Rule::Granted) } else { Judgement::Ask(rule) };
        Ok(Judged { call: call.clone(), judgement, bound, grant, granted })
    }

    /// Refuses arguments that hold a secret of ours; if they go to a place of their own choice, also what looks like one.
    fn without_secrets(&self, tool: &Arc<dyn AnyTool>, arguments: Value) -> Result<Value, String> {
        let (leaks, text) = (&self.engine.settings.leaks, arguments.to_string());
        let found = leaks.holds_exact(&text).or_else(|| {
            let leaves = matches!(tool.spec().egress, Egress::Anywhere | Egress::Service);
            leaves.then(|| leaks.scanner().scan(&text).into_iter().next().map(|found| found.name.to_string())).flatten()
        });
        match found {
            None => Ok(arguments),
            Some(name) => {
                tracing::warn!(tool = %tool.spec().name, name, "a call with a secret in its arguments was refused");
                Err(format!("not run: the arguments hold a secret ({name})"))
            }
        }
    }

    /// What the model wrote, as people may see it.
    pub(super) fn speakable(&self, text: String) -> String {
        let leaks = &self.engine.settings.leaks;
        if let Some(name) = leaks.holds_exact(&text) {
            let text = format!("I was about to write the secret `{name}` into a conversation; it was taken out.");
            self.engine.herald.say(News::Tell { topic: format!("leak {name}"), text, about: None });
        }
        leaks.redact(&text).into_owned()
    }

    /// The call as a tool gets it.
    fn tool_call(&self, call: &CallId, arguments: &Value) -> ToolCall {
        ToolCall {
            id: call.clone(),
            session: self.session.id,
            key: self.key_of(call).into(),
            input: arguments.clone(),
            zone: self.session.zone.clone().or_else(|| self.engine.settings.timezone.clone()),
            sends_files: self.engine.dispatchers.contains_key(&self.row.route.channel),
            bound: None,
            hops: Hops::default(),
            asker: self.asker(),
        }
    }

    /// Who wants what is done in this turn.
    pub(super) fn asker(&self) -> Arc<Asker> {
        let InboxRow { route, principal, user, .. } = &self.row;
        let (route, principal) = (Route { reply_to: None, ..route.clone() }, principal.clone());
        Arc::new(Asker { session: self.session.key.clone(), route, principal, user: *user })
    }

    /// The same for every run of a call.
    pub(super) fn key_of(&self, call: &CallId) -> String {
        digest(&format!("{}/{}/{call}", self.session.id, self.number))
    }

    /// Writes the decision down, with the step that follows from it.
    fn record(&mut self, name: &ToolName, input: &str, judged: &Judged) {
        let (outcome, rule) = match &judged.judgement {
            Judgement::Run(rule) => ("allowed", Some(*rule)),
            Judgement::Ask(rule) => ("asked", Some(*rule)),
            Judgement::Refuse(_) => ("refused", None),
        };
        metrics::counter!("blufio_tool_calls_total", "decision" => outcome).increment(1);
        let entry = self.tool_entry((name, input, &judged.call), outcome, json!({ "rule": rule }));
        self.audit.push(entry);
        if let Some(id) = judged.granted {
            self.records.push(Record::GrantUsed { id, call: judged.call.clone() });
        }
    }

    /// What the audit log says of a call; `detail` is added to what it says of each.
    pub(super) fn tool_entry(
        &self,
        (name, input, call): (&ToolName, &str, &CallId),
        outcome: &str,
        mut detail: Value,
    ) -> AuditEntry {
        let tool = self.engine.tools.get(name);
        if let Some(detail) = detail.as_object_mut() {
            detail.insert("turn".to_owned(), json!(self.number));
            detail.insert("call".to_owned(), json!(call));
            detail.insert("arguments_sha256".to_owned(), json!(sha256(input)));
            detail.insert("replay".to_owned(), json!(tool.map(|tool| tool.spec().replay)));
        }
        AuditEntry {
            kind: AuditKind::ToolRun,
            actor: actor(&self.row.principal),
            session: Some(self.session.key.clone()),
            target: name.to_string(),
            outcome: outcome.to_owned(),
            detail,
        }
    }

    /// What was decided about a call of the newest answer.
    pub(super) fn judged(&self, call: &CallId) -> Option<&Judged> {
        self.judged.iter().find(|judged| judged.call == *call)
    }

    /// Fetches of addresses in this turn.
    fn fetches(&self) -> u32 {
        let fetches = |run: &&ToolRun| self.engine.tools.get(&run.name).is_some_and(|tool| is_fetch(tool.as_ref()));
        u32::try_from(self.tools.iter().filter(fetches).count()).unwrap_or(u32::MAX)
    }

    /// Others read along: it is a group, whose numbers are negative on every channel that has groups.
    fn is_shared(&self) -> bool {
        self.row.route.chat < 0
    }

    /// What the person wrote in this conversation, and the addresses in the words of others.
    async fn words(&mut self) -> Result<Words, StoreError> {
        let mut words = Words::default();
        for message in self.session.shown(self.engine, self.session.first()).await? {
            words.add(&message.parts, &self.row.principal);
        }
        Ok(words)
    }

    /// The origin of what the model writes now.
    pub(super) fn model_origin(&self) -> Origin {
        // What nobody has looked at may hold anything.
        let foreign = self.session.exposed.is_none_or(|exposed| exposed.to(&self.row.principal).foreign);
        if foreign { Origin::Derived } else { Origin::Model }
    }

    /// Marks what a round's tools returned that others may have written, or that is the owner's.
    pub(super) async fn label(&mut self, results: &mut [Part]) -> Result<(), StoreError> {
        let foreign = self.session.exposure(self.engine).await?.to(&self.row.principal).foreign;
        for part in results {
            let Body::ToolResult { id, content, error } = &mut part.body else { continue };
            let run = self.tools.iter().find(|run| run.call == *id);
            let Some(tool) = run.and_then(|run| self.engine.tools.get(&run.name)) else {
                // There is no such tool, and its name was the model's choice.
                part.origin = if foreign { Origin::Derived } else { part.origin };
                continue;
            };
            // What a service says to the owner's secret is the owner's.
            let with_secret = run.and_then(|run| serde_json::from_str(&run.input).ok());
            part.private = tool.spec().private || with_secret.is_some_and(|input| tool.spec().uses_secret(&input));
            part.origin = tool.spec().origin(*error, foreign);
            if tool.spec().returns.is_foreign() {
                *content = framed(content, self.engine.adapters.rng.bits());
            }
        }
        Ok(())
    }
}

impl Judged {
    fn new(call: &CallId, judgement: Judgement) -> Self {
        Self { call: call.clone(), judgement, bound: None, grant: None, granted: None }
    }
}

/// Equal calls of the same tool under the same rules, with the same things outside: canonical JSON has its keys in order.
fn grant_hash(facts: &CallFacts<'_>, bound: Option<&str>) -> String {
    sha256(&format!("{POLICY_VERSION}\0{}\0{}\0{}", facts.tool.name, facts.arguments, bound.unwrap_or_default()))
}

/// What the row of an "always" shows is this call.
fn is_for(grant: &Grant, facts: &CallFacts<'_>) -> bool {
    let arguments: Option<Value> = serde_json::from_str(&grant.arguments).ok();
    grant.tool == facts.tool.name && arguments.as_ref() == Some(facts.arguments)
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As the audit log names who acts.
pub(super) fn actor(principal: &Principal) -> String {
    match principal {
        Principal::Owner => "owner".to_owned(),
        Principal::Person(id) => format!("person:{id}"),
    }
}

/// Reads from an address that its arguments choose.
fn is_fetch(tool: &dyn AnyTool) -> bool {
    tool.spec().replay == Replay::Pure && tool.spec().egress == Egress::Anywhere
}

/// The arguments, if they are what the tool takes.
fn arguments(tool: &dyn AnyTool, input: &str) -> Result<Value, String> {
    let input = serde_json::from_str(input).map_err(|error| format!("the arguments are not valid JSON: {error}"))?;
    crate::tools::schema::check(&tool.spec().schema, &input)?;
    Ok(input)
}
