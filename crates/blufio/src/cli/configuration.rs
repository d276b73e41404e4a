//! `blufio config`: is the configuration right, what holds, and where does it come from.

use super::arguments::Config;
use super::refused;
use super::screen::Screen;
use crate::config::diagnostic::Diagnostic;
use crate::config::load::{load, load_located};
use crate::config::show::{ShowFormat, render_reference, render_show};
use crate::config::sources::{Candidate, CandidateState, locate};
use crate::config::{Environment, Overrides};
use crate::failure::Failure;
use serde_json::{Value, json};

/// Carries it out.
pub fn run(command: &Config, overrides: &Overrides, environment: &Environment, screen: &Screen) -> Result<(), Failure> {
    match command {
        Config::Check => check(overrides, environment, screen),
        Config::Show => {
            let loaded = load(overrides, environment).map_err(|errors| refused(&errors))?;
            let format = if screen.json { ShowFormat::Json } else { ShowFormat::Toml };
            screen.write(&render_show(&loaded, format))
        }
        Config::Path => path(overrides, environment, screen),
        Config::Reference => screen.write(&render_reference()),
    }
}

fn check(overrides: &Overrides, environment: &Environment, screen: &Screen) -> Result<(), Failure> {
    let located = locate(overrides, environment).map_err(|errors| refused(&errors))?;
    let file = located.file.as_ref().map(|file| file.path.display().to_string());
    let loaded = load_located(located, overrides, environment).map_err(|errors| refused(&errors))?;
    if screen.json {
        let warnings: Vec<Value> = loaded.warnings.iter().map(warning).collect();
        return screen.write_json(&json!({"ok": true, "file": file, "warnings": warnings}));
    }
    for warning in &loaded.warnings {
        screen.remark(&format!("{warning}\n\n"));
    }
    let what = file.unwrap_or_else(|| "no file, the defaults hold".to_owned());
    screen.write(&format!("ok: {what}\n"))
}

fn warning(warning: &Diagnostic) -> Value {
    json!({"message": warning.message, "hint": warning.hint, "text": warning.to_string()})
}

fn path(overrides: &Overrides, environment: &Environment, screen: &Screen) -> Result<(), Failure> {
    let located = locate(overrides, environment).map_err(|errors| refused(&errors))?;
    if screen.json {
        let rows: Vec<Value> = located
            .candidates
            .iter()
            .map(|candidate| json!({"path": candidate.path, "state": state(candidate)}))
            .collect();
        return screen.write_json(&rows);
    }
    let rows = located.candidates.iter();
    screen.write(&rows.map(|row| format!("{:<8} {}\n", state(row), row.path.display())).collect::<String>())
}

const fn state(candidate: &Candidate) -> &'static str {
    match candidate.state {
        CandidateState::Taken => "taken",
        CandidateState::Missing => "missing",
        CandidateState::Skipped => "skipped",
    }
}
