//! `blufio cron`: what is said or done at given times. Changes need the running server, which keeps the time; looking does not.

use super::arguments::Cron;
use super::screen::{Screen, local_time, one_line, table};
use super::source::Source;
use crate::client::Client;
use crate::failure::Failure;
use crate::keys::Installation;
use blufio_core::ids::ScheduleId;
use blufio_core::record::{RunState, RunView, ScheduleView};
use blufio_core::schedule::Action;
use blufio_runtime::scheduler::{ScheduleWish, shown, words};
use blufio_runtime::zone_or_system;

/// Characters of a text in a list; JSON has all of it.
const TEXT_CHARS: usize = 50;
/// Characters of names in a list.
const NAME_CHARS: usize = 30;

/// Carries it out.
pub fn run(command: &Cron, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    crate::serve::runtime()?.block_on(async {
        match command {
            Cron::List => list(here, screen).await,
            Cron::History { schedule, limit } => history(schedule, *limit, here, screen).await,
            Cron::Add { name, at, every, timezone, say, ask } => {
                let action = match (say, ask) {
                    (Some(text), _) => Action::Say(text.clone()),
                    (None, Some(text)) => Action::Ask(text.clone()),
                    (None, None) => return Err(Failure::new("say what: --say or --ask", Failure::USAGE)),
                };
                let (at, every, zone) = (at.clone(), every.clone(), timezone.clone());
                change(ScheduleWish::Add { name: name.clone(), at, every, zone, action }, here, screen).await
            }
            Cron::Rm { schedule } => {
                change(ScheduleWish::Remove { id: find(schedule, here).await? }, here, screen).await
            }
            Cron::Enable { schedule } => {
                change(ScheduleWish::Enable { id: find(schedule, here).await?, on: true }, here, screen).await
            }
            Cron::Disable { schedule } => {
                change(ScheduleWish::Enable { id: find(schedule, here).await?, on: false }, here, screen).await
            }
            Cron::Run { schedule } => {
                let id = find(schedule, here).await?;
                server(here).await?.run_schedule(id).await?;
                if screen.json {
                    return screen.write_json(&serde_json::json!({ "id": id }));
                }
                screen.write(&format!("schedule {id} runs; `blufio cron history {id}` says what becomes of it\n"))
            }
        }
    })
}

async fn server(here: Installation<'_>) -> Result<Client, Failure> {
    Client::find(&here.config.data_dir).await?.ok_or_else(|| Failure {
        message: "no server runs here".to_owned(),
        cause: None,
        hint: Some("start it with `blufio serve`; it keeps the time".to_owned()),
        code: Failure::GENERAL,
    })
}

/// The schedule of that number or name.
async fn find(wanted: &str, here: Installation<'_>) -> Result<ScheduleId, Failure> {
    let all = Source::find(here).await?.schedules().await?;
    let number = wanted.parse().ok().map(ScheduleId);
    let found: Vec<ScheduleId> = all
        .iter()
        .map(|view| &view.schedule)
        .filter(|schedule| Some(schedule.id) == number || schedule.name == wanted)
        .map(|schedule| schedule.id)
        .collect();
    let hint = Some("`blufio cron list` shows them, each with its number".to_owned());
    match found.as_slice() {
        [one] => Ok(*one),
        [] => {
            let message = format!("there is no schedule `{}`", wanted.escape_debug());
            Err(Failure { hint, ..Failure::new(message, Failure::GENERAL) })
        }
        _ => {
            Err(Failure { hint, ..Failure::new(format!("several schedules are called `{wanted}`"), Failure::GENERAL) })
        }
    }
}

async fn change(wish: ScheduleWish, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let done = match &wish {
        ScheduleWish::Add { .. } => "made",
        ScheduleWish::Remove { .. } => "removed",
        ScheduleWish::Enable { on: true, .. } => "turned on",
        ScheduleWish::Enable { on: false, .. } => "turned off",
    };
    let schedule = server(here).await?.schedule(&wish).await?;
    if screen.json {
        return screen.write_json(&schedule);
    }
    let zone = zone_or_system(Some(&schedule.zone));
    let next = match (&wish, schedule.next_at) {
        (ScheduleWish::Remove { .. }, _) | (_, None) => String::new(),
        (_, Some(next)) => format!("; next on {}", shown(&zone, next)),
    };
    screen.write(&format!("schedule {} “{}” is {done}{next}\n", schedule.id, schedule.name))
}

async fn list(here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let all = Source::find(here).await?.schedules().await?;
    if screen.json {
        return screen.write_json(&all);
    }
    if all.is_empty() {
        return screen.write("nothing is scheduled\n");
    }
    let row = |ScheduleView { schedule, off, last }: &ScheduleView| {
        let zone = zone_or_system(Some(&schedule.zone));
        let (verb, text) = match &schedule.action {
            Action::Say(text) => ("say", text),
            Action::Ask(text) => ("ask", text),
            Action::Look(text) => ("look", text),
        };
        vec![
            schedule.id.to_string(),
            one_line(&schedule.name, NAME_CHARS),
            words(&schedule.when, &zone),
            schedule.next_at.map_or_else(|| off.clone().unwrap_or_default(), |next| shown(&zone, next)),
            last.as_ref().map_or_else(|| "-".to_owned(), |last| state(last.state).to_owned()),
            format!("{verb}: {}", one_line(text, TEXT_CHARS)),
            one_line(schedule.session.as_str(), NAME_CHARS),
        ]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    screen.write(&table(&["ID", "NAME", "WHEN", "NEXT", "LAST", "WHAT", "SESSION"], &rows))
}

async fn history(wanted: &str, limit: u32, here: Installation<'_>, screen: &Screen) -> Result<(), Failure> {
    let id = find(wanted, here).await?;
    let runs = Source::find(here).await?.runs(id, limit).await?;
    if screen.json {
        return screen.write_json(&runs);
    }
    if runs.is_empty() {
        return screen.write("it has not run yet\n");
    }
    let row = |run: &RunView| {
        let mut about = Vec::new();
        about.extend(run.manual.then(|| "by hand".to_owned()));
        about.extend(run.late.then(|| "late".to_owned()));
        about.extend((run.skipped > 0).then(|| format!("{} missed before", run.skipped)));
        vec![
            local_time(run.slot),
            local_time(run.claimed_at),
            state(run.state).to_owned(),
            one_line(&run.note, TEXT_CHARS),
            about.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
    screen.write(&table(&["FOR", "RUN", "STATE", "DETAIL", ""], &rows))
}

const fn state(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::Done => "done",
        RunState::Failed => "failed",
        RunState::Skipped => "skipped",
        RunState::Unknown => "unknown",
    }
}
