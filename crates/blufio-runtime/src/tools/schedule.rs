//! `schedule` and `schedule_list`: what is to be said or done later, in the conversation that asks.

use super::{arguments, blocking, spec};
use crate::quiet::zone_or_system;
use crate::scheduler::{Bell, shown, when, words};
use blufio_core::ids::SessionKey;
use blufio_core::limits::{SCHEDULE_NAME_CHARACTERS_MAX, SCHEDULE_TEXT_BYTES_MAX};
use blufio_core::port::{
    AnyStorage, AnyTool, ArgRole, Clock, Replay, StoreError, Tool, ToolCall, ToolError, ToolOutput, ToolSpec,
};
use blufio_core::record::{Query, ScheduleChange, ScheduleView, View};
use blufio_core::schedule::{Action, NewSchedule, When};
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// Who has made it, in the audit log.
const BY: &str = "the agent";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    name: String,
    at: Option<String>,
    every: Option<String>,
    say: Option<String>,
    ask: Option<String>,
    remove: Option<bool>,
}

struct Keeper {
    storage: Arc<dyn AnyStorage>,
    clock: Arc<dyn Clock>,
    bell: Bell,
}

struct Schedule {
    spec: ToolSpec,
    keeper: Arc<Keeper>,
}

struct ScheduleList {
    spec: ToolSpec,
    keeper: Arc<Keeper>,
}

pub(super) fn tools(storage: Arc<dyn AnyStorage>, clock: Arc<dyn Clock>, bell: Bell) -> [Arc<dyn AnyTool>; 2] {
    let keeper = Arc::new(Keeper { storage, clock, bell });
    let description = "Has something said or done later, once or again and again; or removes it. Needs the present time: \
        see `now`. `say` delivers a text as it is and costs nothing; `ask` gives you a task then.";
    let text = |description: &str, max: usize| json!({"type": "string", "maxLength": max, "description": description});
    let schema = json!({
        "type": "object",
        "properties": {
            "name": text("Short, as the person would call it.", SCHEDULE_NAME_CHARACTERS_MAX),
            "at": text("Local time, such as 2026-11-24T09:00; with `every`, the first time.", 40),
            "every": text("Such as 30m, 2h, 1d, 1w.", 20),
            "say": text("Text for the person.", SCHEDULE_TEXT_BYTES_MAX),
            "ask": text("Task for you.", SCHEDULE_TEXT_BYTES_MAX),
            "remove": {"type": "boolean"}
        },
        "required": ["name"],
        "additionalProperties": false
    });
    // Texts and times have no role: after words of others, they must be the person's own.
    let change = ToolSpec { people: true, ..spec("schedule", description, schema, Replay::Idempotent, &[]) };
    let nothing = json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false});
    let description = "Lists what is scheduled in this conversation.";
    let list = ToolSpec { people: true, ..spec("schedule_list", description, nothing, Replay::Pure, NO_ROLES) };
    [Arc::new(Schedule { spec: change, keeper: keeper.clone() }), Arc::new(ScheduleList { spec: list, keeper })]
}

const NO_ROLES: &[(&str, ArgRole)] = &[];

impl Tool for Schedule {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let arguments: Arguments = arguments(call.input)?;
        let (keeper, asker) = (&self.keeper, call.asker);
        let there = keeper.schedules(&asker.session).await?;
        let same = there.iter().find(|view| view.schedule.name == arguments.name);
        if arguments.remove == Some(true) {
            let Some(view) = same else { return Err(unknown(&arguments.name, &there)) };
            keeper.change(ScheduleChange::Remove { id: view.schedule.id, by: BY.to_owned() }).await?;
            return Ok(ToolOutput::from(format!("removed `{}`", arguments.name)));
        }
        let action = match (arguments.say, arguments.ask) {
            (Some(text), None) => Action::Say(text),
            (None, Some(text)) => Action::Ask(text),
            _ => return Err(ToolError::ToModel("say what is to happen: either `say` or `ask`".to_owned())),
        };
        let (zone, now, (at, every)) = (call.zone, keeper.clock.now(), (arguments.at, arguments.every));
        let (zone, when) = blocking(move || {
            let zone = zone_or_system(zone.as_deref());
            let when = when(at.as_deref(), every.as_deref(), &zone, now);
            Ok((zone, when.map_err(|error| ToolError::ToModel(error.to_string()))?))
        })
        .await?;
        // The same call, run again after a crash.
        if let Some(view) = same.filter(|view| view.schedule.action == action && alike(view.schedule.when, when)) {
            return Ok(ToolOutput::from(line(view, &zone)));
        }
        let new = NewSchedule {
            name: arguments.name,
            session: asker.session.clone(),
            route: asker.route.clone(),
            principal: asker.principal.clone(),
            user: asker.user,
            when,
            zone: zone.iana_name().unwrap_or("UTC").to_owned(),
            action,
            made_by: BY.to_owned(),
        };
        let made = keeper.change(ScheduleChange::Add(Box::new(new))).await?;
        Ok(ToolOutput::from(line(&ScheduleView { schedule: made, off: None, last: None }, &zone)))
    }
}

impl Tool for ScheduleList {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let there = self.keeper.schedules(&call.asker.session).await?;
        if there.is_empty() {
            return Ok(ToolOutput::from("nothing is scheduled here".to_owned()));
        }
        let zone = call.zone;
        let lines = blocking(move || {
            let zone = zone_or_system(zone.as_deref());
            Ok(there.iter().map(|view| line(view, &zone)).collect::<Vec<_>>())
        });
        Ok(ToolOutput::from(lines.await?.join("\n")))
    }
}

impl Keeper {
    async fn schedules(&self, session: &SessionKey) -> Result<Vec<ScheduleView>, ToolError> {
        let query = Query::Schedules { session: Some(session.clone()) };
        match self.storage.view(query, self.clock.now()).await.map_err(broken)? {
            View::Schedules(schedules) => Ok(schedules),
            _ => Err(ToolError::Broken("the store answered another question".to_owned())),
        }
    }

    async fn change(&self, change: ScheduleChange) -> Result<blufio_core::schedule::Schedule, ToolError> {
        let changed = self.storage.schedule(change, self.clock.now()).await.map_err(broken)?;
        self.bell.ring();
        Ok(changed)
    }
}

fn broken(error: StoreError) -> ToolError {
    match error {
        StoreError::Refused(why) | StoreError::NotFound(why) => ToolError::ToModel(why),
        other => ToolError::Broken(other.to_string()),
    }
}

/// A period that begins now is the same as the one that began a moment ago.
fn alike(known: When, wanted: When) -> bool {
    match (known, wanted) {
        (When::At(known), When::At(wanted)) => known == wanted,
        (When::Every { period: known, .. }, When::Every { period: wanted, .. }) => known == wanted,
        (When::At(_), When::Every { .. }) | (When::Every { .. }, When::At(_)) => false,
    }
}

fn unknown(name: &str, there: &[ScheduleView]) -> ToolError {
    let names: Vec<String> = there.iter().map(|view| format!("`{}`", view.schedule.name)).collect();
    let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    ToolError::ToModel(format!("there is no schedule `{}` here; there is {there}", name.escape_debug()))
}

fn line(view: &ScheduleView, zone: &TimeZone) -> String {
    let schedule = &view.schedule;
    let what = match &schedule.action {
        Action::Say(text) => format!("says: {text}"),
        Action::Ask(text) => format!("asks: {text}"),
        Action::Look(text) => format!("looks at {text}"),
    };
    let next = match (schedule.next_at, &view.off) {
        (Some(next), _) => format!("next on {}", shown(zone, next)),
        (None, Some(off)) => format!("off: {off}"),
        (None, None) => "over".to_owned(),
    };
    format!("`{}` {}, {next}; {what}", schedule.name, words(&schedule.when, zone))
}
