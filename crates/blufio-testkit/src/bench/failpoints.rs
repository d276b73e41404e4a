//! SIGKILL at every named failpoint: a scenario that passes it, death there, a start without it, and everything answered.
//!
//! The names come from the table in the core, so a failpoint that no scenario covers, or that its scenario does not pass, is
//! a failure.

use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use blufio_core::keys::{KeySlots, RootKey};
use clap::Args;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Bench;
use super::crash::is_new;
use super::report::Report;
use super::world::{FIRST_USER, Plan, Seen, World, stored};
use crate::botapi::UserFile;
use crate::database;
use crate::invariants;
use crate::process::{Blufio, Setup};

/// Cases that run at once.
const PARALLEL: usize = 2;
/// Longest way to the failpoint; retention begins ten seconds after the start.
const REACH_MAX: Duration = Duration::from_secs(25);
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// A conversation from before there were keys.
const OLD_SESSION: &str = "tg:1:dm:77";
const END_MAX: Duration = Duration::from_secs(12);
/// Where root keys are, in the work folder.
const KEYS: &str = ".config/blufio";

/// Options of the failpoint walk.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Kill at the first pass, and in cases of their own at the second, …, up to this one.
    #[arg(long, default_value_t = 1)]
    pub times: u32,
    /// Only failpoints whose name contains this.
    #[arg(long)]
    pub only: Option<String>,
}

/// What happens to the binary on the way to a failpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    /// A message and its answer.
    Text,
    /// A message whose turn writes a file.
    Tool,
    /// A message with a file, which is fetched and kept.
    File,
    /// An answer of several messages.
    Long,
    /// `/stop` while the model thinks.
    Stop,
    /// A stranger writes and is let in by the command line.
    Pairing,
    /// An answer that streams slowly, shown as drafts.
    Drafts,
    /// The same, shown by edits.
    Edits,
    /// SIGTERM.
    Shutdown,
    /// Long enough for the house to be kept.
    Retention,
    /// The first start on a database from before there were keys.
    Upgrade,
    /// A new root key, by the command line.
    Rotate,
}

/// Scenarios by area, or by full name where points of an area differ.
const SCENARIOS: &[(&str, &[Scenario])] = &[
    ("send.before_mark", &[Scenario::Long]),
    ("send.after_mark", &[Scenario::Long]),
    ("boot", &[Scenario::Text]),
    ("migration", &[Scenario::Text]),
    ("export", &[Scenario::Upgrade, Scenario::Rotate]),
    ("rotation", &[Scenario::Rotate]),
    ("writer", &[Scenario::Text, Scenario::Tool]),
    ("poll", &[Scenario::Text]),
    ("intake", &[Scenario::Text]),
    ("stop", &[Scenario::Stop]),
    ("turn", &[Scenario::Text]),
    ("call", &[Scenario::Text, Scenario::Tool]),
    ("step", &[Scenario::Text, Scenario::Tool]),
    ("tool", &[Scenario::Tool]),
    ("file", &[Scenario::Tool]),
    ("blob", &[Scenario::File]),
    ("reply", &[Scenario::Text, Scenario::Long]),
    ("preview", &[Scenario::Drafts, Scenario::Edits]),
    ("send", &[Scenario::Text, Scenario::Long]),
    ("sent", &[Scenario::Text, Scenario::Long]),
    ("pairing", &[Scenario::Pairing]),
    ("retention", &[Scenario::Retention]),
    ("shutdown", &[Scenario::Shutdown]),
];

/// The scenarios for a failpoint; none for an unknown one.
fn scenarios(name: &str) -> &'static [Scenario] {
    let area = name.split('.').next().unwrap_or_default();
    let found = SCENARIOS.iter().find(|(key, _)| *key == name);
    found.or_else(|| SCENARIOS.iter().find(|(key, _)| *key == area)).map_or(&[], |(_, scenarios)| scenarios)
}

/// One death.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    scenario: Scenario,
    pass: u32,
}

/// What a case showed.
struct Outcome {
    hit: bool,
    extra: u64,
}

/// Walks all failpoints.
///
/// # Errors
/// There is no binary with failpoints, or it does not say their names.
pub async fn run(bench: &Bench, options: &Options) -> Result<Report> {
    let binary = bench.failpoints.clone().context("BLUFIO_FAILPOINTS_BIN is not set, or there is no such program")?;
    let started = Instant::now();
    let all = names(&binary)?;
    let wanted = |name: &&String| options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let names: Vec<&String> = all.iter().filter(wanted).collect();
    let mut report = Report::new(
        "failpoints",
        "SIGKILL at every named failpoint, each in the scenarios that pass it; then a start without it: every message \
         answered in exactly one turn, invariants clean, at most one message seen twice.",
    );
    let (mut cases, mut extra, mut hits) = (Vec::new(), 0, BTreeSet::new());
    for name in &names {
        if scenarios(name).is_empty() {
            report.failures.push(format!("{name} has no scenario"));
        }
        for &scenario in scenarios(name) {
            cases.extend((1..=options.times).map(|pass| Case { name: (*name).clone(), scenario, pass }));
        }
    }
    let count = cases.len();
    let (permits, place) = (Arc::new(Semaphore::new(PARALLEL)), bench.place().to_owned());
    let mut running = JoinSet::new();
    for case in cases {
        let (permits, binary, place) = (Arc::clone(&permits), binary.clone(), place.clone());
        running.spawn(async move {
            let _permit = permits.acquire().await;
            (case.clone(), die_and_recover(&case, &binary, &place).await)
        });
    }
    while let Some(done) = running.join_next().await {
        let (case, outcome) = done?;
        let Case { name, scenario, pass } = case;
        match outcome {
            Ok(outcome) => {
                extra += outcome.extra;
                if outcome.hit {
                    hits.insert(name);
                } else if pass == 1 {
                    report.failures.push(format!("{name} is not passed by {scenario:?}"));
                }
            }
            Err(error) => report.failures.push(format!(
                "{name}, pass {pass}, {scenario:?}: {error:#} (replay: ./dev bench failpoints --only {name} --times {pass})"
            )),
        }
    }
    report.must(
        "failpoints that killed the process",
        format!("{} of {}", hits.len(), names.len()),
        "all",
        hits.len() == names.len(),
    );
    report.figure("cases", count);
    report.must("cases that ended wrongly", report.failures.len(), "0", report.failures.is_empty());
    report.figure("messages seen twice, over all cases", extra);
    report.figure("time of the whole run", format!("{:.0} s", started.elapsed().as_secs_f64()));
    Ok(report)
}

/// All names there are, as the source has them; each must be in the binary, else it was built without some of them.
fn names(binary: &Path) -> Result<Vec<String>> {
    let program = std::fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let names: Vec<String> = source_names().map(str::to_owned).collect();
    for name in &names {
        let found = program.windows(name.len()).any(|bytes| bytes == name.as_bytes());
        ensure!(found, "{} has no failpoint {name}; build it with --features blufio/failpoints", binary.display());
    }
    Ok(names)
}

/// The names between quotes in the table of failpoints.
fn source_names() -> impl Iterator<Item = &'static str> {
    let source = include_str!("../../../blufio-core/src/failpoint.rs");
    let table = source.split_once("\nfailpoints! {").map_or("", |(_, rest)| rest.split('}').next().unwrap_or_default());
    table.split('"').skip(1).step_by(2)
}

async fn die_and_recover(case: &Case, binary: &Path, place: &Path) -> Result<Outcome> {
    let world = case.scenario.world(binary, place).await?;
    let result = case.run(&world).await;
    if result.is_err() {
        let kept = world.keep();
        return result.with_context(|| format!("data and log are kept in {}", kept.display()));
    }
    result
}

impl Case {
    async fn run(&self, world: &World) -> Result<Outcome> {
        let hit = self.die(world).await?;
        if !hit {
            return Ok(Outcome { hit, extra: 0 });
        }
        // Between two migrations a database has an older form, for which the rules are not written.
        if self.scenario == Scenario::Rotate {
            one_key_opens(&world.setup)?;
        } else if !self.name.starts_with("migration.") {
            check(&world.setup.database())?;
        }
        let (mut blufio, _) = Blufio::start(&world.setup).await?;
        let recovered = self.scenario.recover(world).await;
        if let Err(error) = recovered {
            let running = blufio.is_running();
            bail!("{error:#} (running: {running}); the log ends:\n{}", blufio.log_tail());
        }
        let status = blufio.terminate(END_MAX).await?;
        ensure!(status.success(), "the orderly end was {status}");
        check(&world.setup.database())?;
        let extra = self.scenario.compare(world)?;
        Ok(Outcome { hit, extra })
    }

    /// Runs the scenario until the process dies at the failpoint; false if it does not.
    async fn die(&self, world: &World) -> Result<bool> {
        let mut setup = world.setup.clone();
        setup.env.insert("BLUFIO_FAILPOINTS".to_owned(), format!("{}=kill:{}", self.name, self.pass));
        self.scenario.post(world);
        if self.scenario == Scenario::Rotate {
            let ended = setup.run(&["vault", "rotate", "--root"]).await?;
            let told = String::from_utf8_lossy(&ended.stderr);
            ensure!(ended.status.success() || ended.status.signal() == Some(9), "it ended by itself: {told}");
            return Ok(!ended.status.success());
        }
        let mut blufio = Blufio::spawn(&setup)?;
        let way = async {
            tokio::select! {
                status = blufio.wait() => return status,
                done = self.scenario.drive(world) => done?,
            }
            if self.scenario == Scenario::Shutdown {
                blufio.ask_to_end()?;
            }
            blufio.wait().await
        };
        let Ok(status) = timeout(self.scenario.reach_max(), way).await else {
            blufio.kill9().await?;
            return Ok(false);
        };
        let status = status?;
        if status.success() && self.scenario == Scenario::Shutdown {
            return Ok(false);
        }
        ensure!(
            status.signal() == Some(9),
            "the process ended by itself ({status}); its log ends:\n{}",
            blufio.log_tail()
        );
        Ok(true)
    }
}

fn check(database: &Path) -> Result<()> {
    if !database.exists() {
        return Ok(());
    }
    match invariants::check(database) {
        Err(problems) if !is_new(&problems) => bail!("{}", problems.join("; ")),
        Ok(_) | Err(_) => Ok(()),
    }
}

impl Scenario {
    async fn world(self, binary: &Path, place: &Path) -> Result<World> {
        let chats = if self == Self::Pairing { 0 } else { 1 };
        let mut world = World::new(binary, place, Plan { chats, ..Plan::default() }).await?;
        world.setup.set_raw("telegram.text_chunk", "500");
        match self {
            Self::Drafts => world.setup.set("telegram.streaming", "auto"),
            Self::Edits => world.setup.set("telegram.streaming", "edit"),
            Self::Upgrade => plain_database(&world.setup)?,
            Self::Rotate => filled_vault(&world.setup).await?,
            _ => {}
        }
        Ok(world)
    }

    fn reach_max(self) -> Duration {
        // Anything else that takes longer than an answer does not come.
        if self == Self::Retention { REACH_MAX } else { ANSWER_MAX }
    }

    /// What waits at the server when the process starts.
    fn post(self, world: &World) {
        let wish = match self {
            Self::Text | Self::File | Self::Shutdown | Self::Retention | Self::Upgrade | Self::Rotate => "hello",
            Self::Tool => "[tool:write_file {\"path\":\"note.txt\",\"content\":\"a note\"}]",
            Self::Long => "[long:190]",
            Self::Stop => "[slow:60000]",
            Self::Drafts | Self::Edits => "[drip:150] [long:60]",
            Self::Pairing => "may I?",
        };
        let text = format!("#1 {wish}");
        if self == Self::File {
            let file = UserFile::document(FIRST_USER, "note.txt", "text/plain", "a note");
            world.telegram.post_file(file.caption(&text));
        } else {
            world.telegram.send_text(FIRST_USER, &text);
        }
    }

    /// What happens once the process runs, until there is nothing to do but wait.
    async fn drive(self, world: &World) -> Result<()> {
        match self {
            Self::Stop => {
                world.messages.wait_for(|seen| (seen.open_calls > 0).then_some(()), REACH_MAX).await;
                world.telegram.send_text(FIRST_USER, "/stop");
            }
            Self::Pairing => approve(world).await?,
            Self::Shutdown => world.answered(FIRST_USER, 1, REACH_MAX).await?,
            Self::Text
            | Self::Tool
            | Self::File
            | Self::Long
            | Self::Drafts
            | Self::Edits
            | Self::Retention
            | Self::Upgrade
            | Self::Rotate => {}
        }
        Ok(())
    }

    /// What must be true after the death, once the process runs again.
    async fn recover(self, world: &World) -> Result<()> {
        match self {
            Self::Stop => {
                let told = world.telegram.try_wait_for(|state| state.last_bot_text(FIRST_USER).map(|_| ()), ANSWER_MAX);
                told.await.context("nobody said that it was stopped")?;
            }
            Self::Pairing => {
                // If the death came after the commit, there is no such code any more.
                approve(world).await?;
                world.telegram.send_text(FIRST_USER, "#1 hello");
                world.answered(FIRST_USER, 1, ANSWER_MAX).await?;
            }
            Self::Text
            | Self::Tool
            | Self::File
            | Self::Long
            | Self::Drafts
            | Self::Edits
            | Self::Shutdown
            | Self::Retention
            | Self::Upgrade
            | Self::Rotate => {
                world.answered(FIRST_USER, 1, ANSWER_MAX).await?;
            }
        }
        world.telegram.send_text(FIRST_USER, "#2 and now?");
        world.answered(FIRST_USER, 2, ANSWER_MAX).await?;
        if self == Self::Rotate { nothing_is_lost(&world.setup).await } else { Ok(()) }
    }

    /// What people see, and what the database says; gives the messages that were seen twice.
    fn compare(self, world: &World) -> Result<u64> {
        let mut seen = Seen::default();
        seen.add(&world.telegram.transcript(FIRST_USER));
        let stored = stored(&world.setup.database())?;
        let numbers = if self == Self::Stop { vec![2] } else { vec![1, 2] };
        ensure!(seen.lost(&numbers.iter().copied().collect()).is_empty(), "answered are only {:?}", seen.copies);
        ensure!(self != Self::Stop || !seen.copies.contains_key(&1), "a stopped turn was answered");
        // The words of a stranger are not kept, so only the second "#1" of a pairing has a turn.
        ensure!(stored.turns.values().all(|turns| *turns == 1), "turns by number: {:?}", stored.turns);
        ensure!(seen.out_of_order.is_empty(), "answered out of order: {:?}", seen.out_of_order);
        ensure!(stored.sending == 0 && stored.poison == 0, "sending {}, poison {}", stored.sending, stored.poison);
        let spent = world.messages.spend();
        ensure!(stored.booked >= spent, "the model cost {spent}, booked is {}", stored.booked);
        let violations = world.violations();
        ensure!(violations.is_empty(), "illegal requests: {violations:?}");
        if self == Self::Tool {
            let note = std::fs::read_to_string(world.setup.data_dir().join("workspace/note.txt"))?;
            ensure!(note == "a note", "the file says {note:?}");
        }
        if self == Self::Upgrade {
            let database = world.setup.database();
            let old = database::open_read_only(&database)?.query_row(
                "SELECT count(*) FROM sessions WHERE key = ?1",
                [OLD_SESSION],
                |row| row.get::<_, i64>(0),
            )?;
            ensure!(old == 1 && !database::is_plain(&database), "{old} old sessions; the database must be encrypted");
        }
        // A preview that is edited is a message before it is a row.
        let sent = world.telegram.read(|state| state.sent_total());
        let extra = if self == Self::Edits { seen.extra() } else { sent.saturating_sub(stored.rows) };
        ensure!(extra <= 1, "{extra} messages were seen twice");
        Ok(extra)
    }
}

/// A database of the last version that knew no keys, with a conversation in it.
fn plain_database(setup: &Setup) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(setup.data_dir())?;
    let connection = database::create_plain(&setup.database(), 2)?;
    connection.execute("INSERT INTO sessions (key, last_at) VALUES (?1, 0)", [OLD_SESSION])?;
    Ok(())
}

/// A vault with the two secrets of the environment, and its root key once more where nobody looks for it.
async fn filled_vault(setup: &Setup) -> Result<()> {
    let imported = setup.run(&["vault", "import"]).await?;
    ensure!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    std::fs::copy(setup.dir.join(KEYS).join("root.key"), setup.dir.join("old.key"))?;
    Ok(())
}

/// Of all keys there are, the first one included, exactly one opens the database.
fn one_key_opens(setup: &Setup) -> Result<()> {
    let slots = KeySlots::parse(&std::fs::read_to_string(setup.data_dir().join("keyslots.json"))?)?;
    let mut roots = BTreeSet::from([std::fs::read(setup.dir.join("old.key"))?]);
    for entry in std::fs::read_dir(setup.dir.join(KEYS))? {
        roots.insert(std::fs::read(entry?.path())?);
    }
    let opens = |bytes: &&Vec<u8>| {
        let Ok(root) = RootKey::parse(bytes) else { return false };
        let key = root.derive(&slots.install_id).database;
        let rows = database::open_with(&setup.database(), &key)
            .and_then(|connection| connection.query_row("SELECT count(*) FROM vault", [], |row| row.get::<_, i64>(0)));
        rows == Ok(2)
    };
    let count = roots.iter().filter(opens).count();
    ensure!(count == 1, "{count} of {} keys open the database", roots.len());
    Ok(())
}

/// Every secret opens, the record is whole, and no file waits for another.
async fn nothing_is_lost(setup: &Setup) -> Result<()> {
    for command in [["vault", "list"], ["audit", "verify"]] {
        let done = setup.run(&command).await?;
        let (said, told) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        ensure!(done.status.success(), "{command:?}: {said}{told}");
        ensure!(
            command[0] == "audit" || said.contains("anthropic.api_key") && said.contains("telegram.bot_token"),
            "{said}"
        );
    }
    for folder in [setup.data_dir(), setup.dir.join(KEYS)] {
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            ensure!(!name.contains(".next") && !name.contains(".new"), "{name} is left over");
        }
    }
    Ok(())
}

/// Lets the stranger in by the code that the bot sent, as its owner does.
async fn approve(world: &World) -> Result<()> {
    let code = world.telegram.try_wait_for(|state| code(state.last_bot_text(FIRST_USER)?), ANSWER_MAX).await;
    let code = code.context("the stranger got no code")?;
    let setup = Setup { cage: None, ..world.setup.clone() };
    // Whether it succeeds is seen by what the stranger may do afterwards.
    setup.run(&["pairing", "approve", &code]).await.map(|_| ())
}

/// The code in "blufio pairing approve CODE".
fn code(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("pairing approve ")?;
    let code: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    (!code.is_empty()).then_some(code)
}

/// Where the failpoints binary is looked for.
pub fn binary() -> Option<PathBuf> {
    std::env::var_os("BLUFIO_FAILPOINTS_BIN").map(PathBuf::from).filter(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failpoint_has_a_scenario() {
        assert!(source_names().count() >= 30);
        for name in source_names() {
            assert!(name.contains(".before_") || name.contains(".after_"), "{name}");
            assert!(!scenarios(name).is_empty(), "{name} has no scenario");
        }
    }

    #[test]
    fn the_code_is_read_out_of_the_message() {
        assert_eq!(code("run this:\n\nblufio pairing approve ABCD2345\n\nThe code").as_deref(), Some("ABCD2345"));
        assert_eq!(code("hello"), None);
    }
}
