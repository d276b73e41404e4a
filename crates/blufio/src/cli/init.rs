//! `blufio init`: the first steps in one go. Makes the folder, the key and the recovery code, and takes the two secrets that
//! an agent on Telegram needs. Doing it again is harmless: what exists stays.

use super::hidden;
use super::screen::{Look, Screen};
use super::vault::{Reach, hand_out_code};
use crate::failure::Failure;
use crate::keys::{self, Installation};
use crate::secrets::{self, EnvSecrets};
use serde_json::json;

/// The secrets that are asked for, in this order; both may be left out.
const ASKED: [&str; 2] = ["anthropic.api_key", "telegram.bot_token"];

/// Carries it out. `yes`: nothing is asked, and what is in the environment is taken.
pub fn run(yes: bool, here: Installation<'_>, environment: &EnvSecrets, screen: &Screen) -> Result<(), Failure> {
    if !yes && !screen.terminal_in {
        return Err(Failure {
            hint: Some("`blufio init --yes` asks nothing; it takes secrets from the environment".to_owned()),
            ..Failure::new("nobody can answer here", Failure::USAGE)
        });
    }
    crate::serve::runtime()?.block_on(set_up(yes, here, environment, screen))
}

async fn set_up(yes: bool, here: Installation<'_>, environment: &EnvSecrets, screen: &Screen) -> Result<(), Failure> {
    keys::make_named(here)?;
    let reach = Reach::find(here).await?;
    let done = fill(&reach, yes, here, environment, screen).await;
    reach.end().await?;
    done
}

async fn fill(
    reach: &Reach,
    yes: bool,
    here: Installation<'_>,
    environment: &EnvSecrets,
    screen: &Screen,
) -> Result<(), Failure> {
    let data_dir = here.config.data_dir.display().to_string();
    let source = match reach {
        Reach::Here(opened) => Some(opened.keys.source.words()),
        Reach::Server(_) => None,
    };
    if !screen.json {
        screen.write(&format!("data folder  {data_dir}\n"))?;
        if let Some(source) = &source {
            screen.write(&format!("root key     {source}; it opens everything, and is not in the data folder\n"))?;
        }
    }
    let has_code = keys::slots(&here.config.data_dir)?.is_some_and(|slots| slots.has_recovery());
    if has_code && !screen.json {
        screen.write("recovery     there is a code already; `blufio vault recovery` makes another\n")?;
    }
    if !has_code && !screen.json {
        screen.write("\n")?;
        hand_out_code(reach, here, screen).await?;
    }
    if yes {
        reach.import(environment).await?;
    } else {
        ask(reach, environment, screen).await?;
    }
    let kept = reach.names().await?;
    if screen.json {
        // The code stands alone in the output of `vault recovery`, so that it is not kept by accident with the rest.
        return screen.write_json(&json!({
            "data_dir": data_dir, "root_key": source, "recovery_code": has_code, "secrets": kept,
        }));
    }
    screen.write(&next(&kept, screen))
}

/// Asks for what the vault lacks: first whether what is in the environment is to be kept, then for what an agent needs.
async fn ask(reach: &Reach, environment: &EnvSecrets, screen: &Screen) -> Result<(), Failure> {
    let mut kept = reach.names().await?;
    for (name, value) in environment.all() {
        let variable = secrets::variable(name).unwrap_or(name);
        if !kept.iter().any(|kept| kept == name)
            && hidden::agreed(&format!("\nTake {name} from the environment ({variable})? [Y/n] "), screen)?
        {
            let shown = reach.set(name, value).await?.shown;
            screen.write(&format!("{name} is in the vault: {shown}\n"))?;
            kept.push(name.to_owned());
        }
    }
    for name in ASKED.iter().filter(|name| !kept.iter().any(|kept| kept == *name)) {
        screen.remark(&format!("\n{}\n", secrets::help(name).unwrap_or_default()));
        if let Some(value) = hidden::ask(&format!("{name} (not shown; nothing to leave it out): "), screen)? {
            let shown = reach.set(name, &value).await?.shown;
            screen.write(&format!("{name} is in the vault: {shown}\n"))?;
        }
    }
    Ok(())
}

fn next(kept: &[String], screen: &Screen) -> String {
    let has = |name: &str| kept.iter().any(|kept| kept == name);
    let mut text = format!("\n{}\n", screen.paint(Look::Bold, "Next"));
    if !has("anthropic.api_key") {
        text += "  blufio vault set anthropic.api_key     without it, no model answers\n";
    }
    if !has("telegram.bot_token") {
        text += "  blufio vault set telegram.bot_token    for Telegram; `blufio shell` works without\n";
    }
    text += "  blufio serve                           runs the agent\n";
    if has("telegram.bot_token") {
        text += "  blufio pairing link                    then: an address that makes you the owner\n";
    }
    text + "  blufio doctor                          says what is protected, and what is not\n"
}
