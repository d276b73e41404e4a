//! `./dev demo`: the real server, a person on a fake Telegram, and a fake model that types; a kill in the middle included.
//!
//! Every step is checked, so the demo that ends well has shown what it says. With `ANTHROPIC_API_KEY` set the model is the
//! real one, and then only what any model does is checked.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use tempfile::TempDir;

use crate::botapi::{BotApiConfig, FakeBotApi, State};
use crate::messages::{FakeMessagesApi, MessagesConfig};
use crate::process::{Blufio, Setup};

/// The person.
const PERSON: i64 = 4_711;
const TOKEN: &str = "1:DEMO";
const FAKE_KEY: &str = "sk-demo";
/// Milliseconds between the pieces of the fake model's answers, so that one sees it type.
const TYPING_MS: u64 = 200;
/// Longest answer of the fake model, and of a real one.
const ANSWER_MAX: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(120));
/// Draft updates after which the server is killed.
const DRAFTS_BEFORE_KILL: usize = 2;
const END_MAX: Duration = Duration::from_secs(12);

/// Shows Blufio at work on this machine: no keys, no network.
#[derive(Parser, Clone, Debug)]
pub struct Options {
    /// The program [default: $BLUFIO_BIN]
    #[arg(long)]
    pub bin: Option<PathBuf>,
    /// Leave the data folder behind
    #[arg(long)]
    pub keep: bool,
    /// End after the demonstration, also on a terminal
    #[arg(long)]
    pub no_shell: bool,
}

struct Demo {
    telegram: FakeBotApi,
    model: Option<FakeMessagesApi>,
    setup: Setup,
    dir: TempDir,
    paint: bool,
}

#[derive(Clone, Copy)]
enum Look {
    Bold,
    Dim,
    Person,
    Bot,
    Alarm,
}

/// Runs the demonstration, and then a shell if there is somebody to use it.
///
/// # Errors
/// The first step that did not happen as told.
pub async fn run(options: Options) -> Result<()> {
    let demo = Demo::prepare(&options).await?;
    let blufio = tokio::select! {
        shown = demo.show() => shown?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    };
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !options.no_shell {
        demo.say(Look::Bold, "\nYour turn. This is `blufio shell` on the running server; /help helps, /exit leaves.\n");
        // Ctrl-C is the shell's business now: it was caught once, so it does not end this process any more.
        let status = demo.setup.command(&["shell"])?.status().await?;
        ensure!(status.success(), "the shell ended with {status}");
    }
    let status = blufio.terminate(END_MAX).await?;
    ensure!(status.success(), "the orderly end was {status}");
    if let Some(model) = &demo.model {
        let violations = [demo.telegram.violations(), model.violations()].concat();
        ensure!(violations.is_empty(), "illegal requests: {violations:?}");
    }
    demo.say(Look::Bold, "\nAll of this really happened.");
    if options.keep {
        println!("The data folder stays at {}", demo.dir.keep().display());
    }
    Ok(())
}

impl Demo {
    async fn prepare(options: &Options) -> Result<Self> {
        let binary = options.bin.clone().or_else(|| std::env::var_os("BLUFIO_BIN").map(PathBuf::from));
        let binary = std::path::absolute(binary.context("name the program with --bin or BLUFIO_BIN")?)?;
        let key = std::env::var("ANTHROPIC_API_KEY").ok().filter(|key| !key.trim().is_empty());
        let telegram =
            FakeBotApi::start(BotApiConfig { token: TOKEN.to_owned(), throttle: false, ..BotApiConfig::default() })
                .await?;
        let dir = tempfile::Builder::new().prefix("blufio-demo-").tempdir()?;
        let mut setup = Setup::new(&binary, dir.path())?;
        setup.telegram(&telegram.base_url(), TOKEN, &[PERSON]);
        setup.set("telegram.streaming", "auto");
        setup.set_raw("tools.ask", "[\"write_file\"]");
        let model = match key {
            Some(key) => {
                setup.env.insert("ANTHROPIC_API_KEY".to_owned(), key);
                None
            }
            None => {
                let config =
                    MessagesConfig { api_key: FAKE_KEY.to_owned(), delta_ms: TYPING_MS, ..MessagesConfig::default() };
                let fake = FakeMessagesApi::start(config).await?;
                setup.model(&fake.base_url(), FAKE_KEY);
                Some(fake)
            }
        };
        let paint = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Ok(Self { telegram, model, setup, dir, paint })
    }

    /// All steps; gives the running server.
    async fn show(&self) -> Result<Blufio> {
        self.say(Look::Bold, "Blufio, the real server, with a Telegram made of cardboard");
        let model = if self.model.is_some() {
            "a fake one that types slowly; [brackets] tell it what to do"
        } else {
            "the real API"
        };
        println!("  program      {}", self.setup.binary.display());
        println!("  data folder  {}", self.setup.data_dir().display());
        println!("  model        {model}");
        let (blufio, took) = Blufio::start(&self.setup).await?;
        println!("  ready after  {} ms", took.as_millis());

        self.title("1. A conversation that streams");
        let seen = self.post("Hi! Who are you, and what could you do for me on a day like this?");
        let (answer, drafts) = self.answer(seen).await?;
        ensure!(!answer.trim().is_empty(), "there was no answer");
        ensure!(self.model.is_none() || drafts > 0, "the answer did not stream");

        self.title("2. A tool call");
        let seen = self.post("what time is it?");
        let (answer, _) = self.answer(seen).await?;
        ensure!(self.model.is_none() || answer.contains("The tool now said"), "the tool was not called: {answer}");

        self.title("3. The command line, in a conversation of its own");
        self.shell("My favourite colour is teal. Please say OK.").await?;

        if self.model.is_some() {
            self.question().await?;
        }
        let blufio = self.kill_in_the_middle(blufio).await?;

        self.title("6. What was said on the command line is remembered");
        let answer = self.shell("What is my favourite colour?").await?;
        let remembered = match self.model {
            // The fake counts the messages of the prompt: a forgotten conversation would be at its first.
            Some(_) => answer.contains("message 2 of this conversation"),
            None => answer.to_lowercase().contains("teal"),
        };
        ensure!(remembered, "it does not remember: {answer}");

        self.title("7. blufio status: what it cost");
        let status = self.setup.run(&["status"]).await?;
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        print!("{text}");
        ensure!(status.status.success() && text.contains("spent"), "`blufio status` does not say what was spent");
        Ok(blufio)
    }

    /// A tool that waits for a yes.
    async fn question(&self) -> Result<()> {
        self.title("4. A tool that asks first: three buttons, and the exact arguments");
        let seen = self.post(r#"note that [tool:write_file {"path":"todo.md","content":"buy milk"}]"#);
        let asked = |state: &State| {
            let transcript = state.transcript(PERSON);
            let message = transcript.iter().filter(|message| message.from_bot).nth(seen)?;
            (!message.buttons.is_empty()).then(|| message.clone())
        };
        let question = self.telegram.try_wait_for(asked, self.answer_max()).await.context("there is no question")?;
        self.spoken(Look::Bot, "blufio", &question.text);
        let labels: Vec<String> = question.buttons.iter().flatten().map(|(label, _)| format!("[ {label} ]")).collect();
        self.say(Look::Bold, &format!("        {}", labels.join(" ")));
        let (label, data) = question.buttons.iter().flatten().next().context("the question has no buttons")?;
        self.spoken(Look::Person, "you", &format!("press “{label}”"));
        self.telegram.press(PERSON, question.message_id, PERSON, data).context("the button cannot be pressed")?;
        let (answer, _) = self.answer(seen + 1).await?;
        ensure!(answer.contains("The tool write_file said"), "the tool was not run: {answer}");
        let written = std::fs::read_to_string(self.setup.data_dir().join("workspace/todo.md"))?;
        ensure!(written == "buy milk", "the file holds {written:?}");
        Ok(())
    }

    async fn kill_in_the_middle(&self, blufio: Blufio) -> Result<Blufio> {
        self.title("5. SIGKILL in the middle of an answer");
        let wish =
            if self.model.is_some() { "tell me a story [long:80]" } else { "tell me a story of about 150 words" };
        let drafts = self.telegram.read(|state| state.drafts(PERSON).len());
        let seen = self.post(wish);
        let typing = |state: &State| (state.drafts(PERSON).len() >= drafts + DRAFTS_BEFORE_KILL).then_some(());
        self.telegram.try_wait_for(typing, self.answer_max()).await.context("the answer did not begin to stream")?;
        let half = self.telegram.read(|state| state.drafts(PERSON).last().map(|draft| draft.text.clone()));
        self.spoken(Look::Bot, "blufio", half.as_deref().unwrap_or_default());
        ensure!(self.bot_messages() == seen, "the story was over before the kill");
        blufio.kill9().await?;
        self.say(Look::Alarm, "        ✂ kill -9");
        let (blufio, took) = Blufio::start(&self.setup).await?;
        self.say(Look::Dim, &format!("        started again, ready after {} ms; the turn goes on", took.as_millis()));
        let (answer, _) = self.answer(seen).await?;
        ensure!(
            answer.len() >= half.map_or(0, |half| half.len()),
            "the answer is shorter than what was seen before the kill"
        );
        ensure!(self.bot_messages() == seen + 1, "the story was told {} times", self.bot_messages() - seen);
        Ok(blufio)
    }

    /// The person writes; gives how many messages of the bot were there before.
    fn post(&self, text: &str) -> usize {
        let seen = self.bot_messages();
        self.spoken(Look::Person, "you", text);
        self.telegram.send_text(PERSON, text);
        seen
    }

    fn bot_messages(&self) -> usize {
        self.telegram.transcript(PERSON).iter().filter(|message| message.from_bot).count()
    }

    /// Prints the next answer while it appears; gives its text and how often a part of it was seen.
    async fn answer(&self, seen: usize) -> Result<(String, usize)> {
        let (mut shown, mut drafts) = (String::new(), 0);
        let first = self.telegram.read(|state| state.drafts(PERSON).len());
        self.open(Look::Bot, "blufio");
        loop {
            let news = |state: &State| {
                let transcript = state.transcript(PERSON);
                if let Some(message) = transcript.iter().filter(|message| message.from_bot).nth(seen) {
                    return Some((message.text.clone(), true));
                }
                let draft = state.drafts(PERSON).into_iter().skip(first).next_back()?;
                let text = draft.text.trim_end_matches(['…', ' ', '\n']).to_owned();
                (text.len() > shown.len()).then_some((text, false))
            };
            let found = self.telegram.try_wait_for(news, self.answer_max()).await;
            let (text, whole) = found.context("there is no answer")?;
            match text.strip_prefix(&shown) {
                Some(rest) => print!("{}", indented(rest)),
                None => print!("\n        {}", indented(&text)),
            }
            std::io::stdout().flush()?;
            if whole {
                println!();
                return Ok((text, drafts));
            }
            drafts += usize::from(!shown.is_empty() || !text.is_empty());
            shown = text;
        }
    }

    /// One message on the command line, answered by the running server.
    async fn shell(&self, text: &str) -> Result<String> {
        self.say(Look::Dim, &format!("$ blufio shell -m \"{text}\""));
        let mut command = self.setup.command(&["shell", "-m", text])?;
        let output = tokio::time::timeout(self.answer_max(), command.stdin(Stdio::null()).kill_on_drop(true).output());
        let output = output.await.context("the shell does not end")??;
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        println!("{answer}");
        ensure!(output.status.success(), "the shell says: {}", String::from_utf8_lossy(&output.stderr));
        ensure!(!answer.is_empty(), "the shell says nothing");
        Ok(answer)
    }

    fn answer_max(&self) -> Duration {
        if self.model.is_some() { ANSWER_MAX.0 } else { ANSWER_MAX.1 }
    }

    fn title(&self, text: &str) {
        println!();
        self.say(Look::Bold, text);
    }

    fn spoken(&self, look: Look, who: &str, text: &str) {
        self.open(look, who);
        println!("{}", indented(text));
    }

    fn open(&self, look: Look, who: &str) {
        print!("{}", self.painted(look, &format!("{who:<8}")));
    }

    fn say(&self, look: Look, text: &str) {
        println!("{}", self.painted(look, text));
    }

    fn painted(&self, look: Look, text: &str) -> String {
        let code = match look {
            Look::Bold => "1",
            Look::Dim => "2",
            Look::Person => "36",
            Look::Bot => "32",
            Look::Alarm => "1;31",
        };
        if self.paint { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Later lines begin below the first.
fn indented(text: &str) -> String {
    text.replace('\n', "\n        ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn lines_stand_below_each_other() {
        assert_eq!(indented("a\nb"), "a\n        b");
    }
}
