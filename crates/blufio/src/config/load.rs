//! Reads all sources into one set of values: defaults, then the file, then the environment, then the command line.
//!
//! Every value is checked where it is read, so that each error has its place and several are reported at once.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Value;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table};

use super::diagnostic::{ConfigErrors, Diagnostic, Place, Severity, line_number, printable};
use super::judge::{Finding, judge};
use super::keys::{self, DefaultValue, KEYS, Key, SHORT_VARIABLES};
use super::kind::{Kind, Problem, Step, user_id};
use super::raw::Raw;
use super::resolved::resolve;
use super::sources::{ConfigFile, Located, absolute_path, default_data_dir, guarded_files, locate};
use super::{Environment, Loaded, Origin, Overrides, Setting, Settings};

/// Syntax errors that are shown; later ones mostly follow from the first.
const SYNTAX_ERRORS_MAX: usize = 3;

/// Reads and checks the configuration. Errors are collected, not reported one by one.
pub fn load(cli: &Overrides, env: &Environment) -> Result<Loaded, ConfigErrors> {
    load_located(locate(cli, env)?, cli, env)
}

/// The same with a file that was already read.
pub fn load_located(located: Located, cli: &Overrides, env: &Environment) -> Result<Loaded, ConfigErrors> {
    let file = located.file.as_ref();
    let mut gathered = Gathered { env, settings: Settings::new(), errors: Vec::new(), warnings: Vec::new() };
    gathered.defaults();
    if let Some(file) = file {
        gathered.file(file);
    }
    gathered.variables();
    gathered.options(cli);
    if gathered.errors.is_empty() {
        gathered.derive();
    }
    let Gathered { settings, mut errors, mut warnings, .. } = gathered;
    if !errors.is_empty() {
        errors.sort_by_key(|error| error.place.order());
        return Err(ConfigErrors(errors));
    }

    // Every value was checked, so a failure here means that the table of keys and the raw form disagree.
    let raw = Raw::deserialize(nested(&settings))
        .map_err(|error| Diagnostic::error(error.message().to_owned(), Place::Nowhere))?;
    let findings = judge(&raw, &guarded_files(&located, env));
    let diagnose = |finding: Finding, severity| {
        let place = settings.get(finding.key).map_or(Place::Nowhere, |setting| Place::of(&setting.origin, file));
        Diagnostic { severity, ..refused(finding.key, finding.problem, place) }
    };
    if !findings.errors.is_empty() {
        return Err(ConfigErrors(
            findings.errors.into_iter().map(|finding| diagnose(finding, Severity::Error)).collect(),
        ));
    }
    warnings.extend(findings.warnings.into_iter().map(|finding| diagnose(finding, Severity::Warning)));
    Ok(Loaded { config: resolve(raw), settings, located, warnings })
}

/// What has been read so far.
struct Gathered<'a> {
    env: &'a Environment,
    settings: Settings,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl Gathered<'_> {
    fn defaults(&mut self) {
        for key in KEYS {
            let value = match key.default {
                DefaultValue::Toml(text) => text
                    .parse()
                    .map_err(|_| Diagnostic::error(format!("the default of `{}` is no TOML", key.path), Place::Nowhere))
                    .map(Some),
                DefaultValue::Derived(_) => Ok(None),
            };
            match value {
                Ok(value) => drop(self.settings.insert(key.path, Setting { value, origin: Origin::Default })),
                Err(error) => self.errors.push(error),
            }
        }
    }

    fn file(&mut self, file: &ConfigFile) {
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        for error in errors.iter().take(SYNTAX_ERRORS_MAX) {
            let span = error.span().unwrap_or_default();
            self.errors.push(Diagnostic::error(printable(error.message()), Place::excerpt(file, &span)));
        }
        // Values around a syntax error are guesses of the parser.
        if errors.is_empty() {
            self.section("", table.get_ref(), file);
        }
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>, file: &ConfigFile) {
        for (name, value) in table {
            let path =
                if section.is_empty() { name.get_ref().to_string() } else { format!("{section}.{}", name.get_ref()) };
            let at_name = || Place::excerpt(file, &name.span());
            if let Some(variable) = keys::secret(&path) {
                self.errors.push(secret(&path, variable, at_name()));
            } else if let Some(key) = keys::find(&path) {
                self.value_in_file(key, name.span(), value, file);
            } else if !keys::is_section(&path) {
                self.errors.push(unknown(section, name.get_ref(), at_name()));
            } else if let DeValue::Table(table) = value.get_ref() {
                self.section(&path, table, file);
            } else {
                let error = Diagnostic::error(format!("`{path}` is a section, not a value"), at_name());
                self.errors.push(error.hint(format!("write `[{path}]` on a line of its own")));
            }
        }
    }

    fn value_in_file(
        &mut self,
        key: &'static Key,
        name: Range<usize>,
        written: &Spanned<DeValue<'_>>,
        file: &ConfigFile,
    ) {
        let span = span_of_value(name, written);
        let origin = Origin::File { line: line_number(&file.text, span.start), span: span.clone() };
        let base = file.path.parent().unwrap_or(Path::new("/"));
        let value = Value::deserialize(written.clone().into_deserializer());
        let value = value.map_err(|error| Problem::new(format!("cannot be read: {}", error.message())));
        if let Err(problem) = value.and_then(|value| self.accept(key, value, base, origin)) {
            let part = span_of_part(written, &problem.at);
            self.errors.push(refused(key.path, problem, Place::excerpt(file, &part.unwrap_or(span))));
        }
    }

    fn variables(&mut self) {
        let vars = &self.env.vars;
        for (name, text) in vars {
            let Some(rest) = name.strip_prefix("BLUFIO_") else { continue };
            let place = || Place::Variable(name.clone());
            let path = rest.to_ascii_lowercase().replace("__", ".");
            if let Some(key) = KEYS.iter().find(|key| key.variable() == *name) {
                self.variable(key, name, text);
            } else if rest.contains("__") {
                self.errors.push(match keys::secret(&path) {
                    Some(variable) => secret(&path, variable, place()),
                    None => unknown_variable(name, &path),
                });
            } else if SHORT_VARIABLES.iter().any(|(short, _)| short == name) {
                // Read below.
            } else if let Some(key) = KEYS.iter().find(|key| key.path.replace('.', "_") == path) {
                let warning = Diagnostic::warning(format!("`{}` is not read", printable(name)), place());
                self.warnings.push(warning.hint(format!("did you mean `{}`?", key.variable())));
            }
        }
        // The short names come last, so that they win.
        for (name, path) in SHORT_VARIABLES {
            let (Some(key), Some(text)) = (keys::find(path), self.env.var(name)) else { continue };
            let long = key.variable();
            if vars.get(&long).is_some_and(|other| other != text) {
                self.warnings.push(Diagnostic::warning(
                    format!("`{long}` is not read, since `{name}` is set too"),
                    Place::Variable(long),
                ));
            }
            self.variable(key, name, text);
        }
    }

    fn variable(&mut self, key: &'static Key, name: &str, text: &str) {
        let raw = || Value::String(text.to_owned());
        let value = match text.parse::<Value>() {
            Ok(value @ Value::String(_)) => value,
            Ok(_) if key.kind.is_textual() => raw(),
            Ok(value) => value,
            Err(_) => raw(),
        };
        let env = self.env;
        if let Err(problem) = self.accept(key, value, &env.cwd, Origin::Variable(name.to_owned())) {
            // In the shell quotes are not part of the value, so advice about them would mislead.
            let problem = if problem.at.is_empty() && matches!(key.kind, Kind::Boolean | Kind::Integer { .. }) {
                Problem { hint: None, ..problem }
            } else {
                problem
            };
            self.errors.push(refused(key.path, problem, Place::Variable(name.to_owned())));
        }
    }

    fn options(&mut self, cli: &Overrides) {
        self.path_option("--data-dir", "storage.data_dir", cli.data_dir.as_deref());
        self.path_option("--root-key-file", "security.root_key_file", cli.root_key_file.as_deref());
    }

    fn path_option(&mut self, option: &'static str, path: &str, given: Option<&Path>) {
        let (Some(given), Some(key)) = (given, keys::find(path)) else { return };
        let env = self.env;
        // The shell has replaced `~` where it was meant, so joining keeps one that is the name of a directory.
        let text = env.cwd.join(given).into_os_string().into_string().map_err(|_| Problem::new("must be valid UTF-8"));
        let empty = given.as_os_str().is_empty().then(|| Problem::new("must not be empty"));
        let accepted = empty
            .map_or(text, Err)
            .and_then(|text| self.accept(key, Value::String(text), &env.cwd, Origin::Option(option)));
        if let Err(problem) = accepted {
            self.errors.push(refused(key.path, problem, Place::Option(option)));
        }
    }

    /// Values that depend on other values or on the platform.
    fn derive(&mut self) {
        if self.is_unset("storage.data_dir") {
            match default_data_dir(self.env) {
                Ok((path, origin)) => {
                    self.set_derived("storage.data_dir", Value::String(path.to_string_lossy().into_owned()), origin)
                }
                Err(error) => self.errors.push(error),
            }
        }
        let data_dir = self
            .settings
            .get("storage.data_dir")
            .and_then(|setting| setting.value.as_ref()?.as_str().map(str::to_owned));
        if let (true, Some(data_dir)) = (self.is_unset("agents.main.workspace"), data_dir) {
            let workspace = Path::new(&data_dir).join("workspace").to_string_lossy().into_owned();
            self.set_derived("agents.main.workspace", Value::String(workspace), Origin::Derived("storage.data_dir"));
        }
        if self.people("telegram.owners").is_empty() {
            let allowed = self.people("telegram.allow_from");
            if allowed.len() == 1 {
                let owner = Value::Array(allowed.into_iter().map(Value::Integer).collect());
                self.set_derived("telegram.owners", owner, Origin::Derived("the only entry of telegram.allow_from"));
            } else if self.is_unset("telegram.owners") {
                self.set_derived("telegram.owners", Value::Array(Vec::new()), Origin::Default);
            }
        }
    }

    /// The ids in a list, each once.
    fn people(&self, path: &str) -> BTreeSet<i64> {
        let value = self.settings.get(path).and_then(|setting| setting.value.as_ref()?.as_array());
        value.into_iter().flatten().flat_map(user_id).collect()
    }

    fn is_unset(&self, path: &str) -> bool {
        self.settings.get(path).is_some_and(|setting| setting.value.is_none())
    }

    fn set_derived(&mut self, path: &'static str, value: Value, origin: Origin) {
        self.settings.insert(path, Setting { value: Some(value), origin });
    }

    /// Checks a value, makes a path absolute, and lets it replace what was there.
    fn accept(&mut self, key: &'static Key, value: Value, base: &Path, origin: Origin) -> Result<(), Problem> {
        key.kind.check(&value)?;
        let value = match (&key.kind, value) {
            (Kind::Path, Value::String(text)) => Value::String(absolute_path(&text, base, self.env.home.as_deref())?),
            (_, value) => value,
        };
        self.settings.insert(key.path, Setting { value: Some(value), origin });
        Ok(())
    }
}

/// The values as the tables that the raw form is read from.
fn nested(settings: &Settings) -> Table {
    let mut top = Table::new();
    for (key, value) in KEYS.iter().filter_map(|key| Some((key, settings.get(key.path)?.value.clone()?))) {
        let mut table = &mut top;
        for name in key.section().split('.') {
            let entry = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = entry else { return top };
            table = inner;
        }
        table.insert(key.name().to_owned(), value);
    }
    top
}

/// Where a value stands. Tables may be spread over the file, so for them it is where their key stands first.
fn span_of_value(name: Range<usize>, value: &Spanned<DeValue<'_>>) -> Range<usize> {
    if value.get_ref().is_table() { name } else { value.span() }
}

/// Where a part of a value stands; `None` for the whole value.
fn span_of_part(value: &Spanned<DeValue<'_>>, at: &[Step]) -> Option<Range<usize>> {
    let (step, rest) = at.split_first()?;
    match step {
        Step::Item(index) => {
            let item = value.get_ref().as_array()?.get(*index)?;
            span_of_part(item, rest).or_else(|| Some(item.span()))
        }
        Step::Value(name) | Step::Name(name) => {
            let (key, value) = value.get_ref().as_table()?.iter().find(|(key, _)| key.get_ref() == name)?;
            if matches!(step, Step::Name(_)) {
                return Some(key.span());
            }
            span_of_part(value, rest).or_else(|| Some(span_of_value(key.span(), value)))
        }
    }
}

fn refused(path: &str, problem: Problem, place: Place) -> Diagnostic {
    Diagnostic::error(format!("`{path}{}` {}", problem.subject(), problem.message), place).hint(problem.hint)
}

fn secret(path: &str, variable: &str, place: Place) -> Diagnostic {
    let error = Diagnostic::error(format!("`{path}` is a secret, and secrets are not configuration"), place);
    error.hint(format!(
        "remove it here, set the environment variable `{variable}`, and replace the secret if others could read it"
    ))
}

fn unknown(section: &str, name: &str, place: Place) -> Diagnostic {
    let shown = printable(name);
    let known = keys::children(section);
    let message = if section.is_empty() {
        format!("unknown section or key `{shown}`")
    } else {
        format!("unknown key `{shown}` in `[{section}]`")
    };
    let elsewhere = || KEYS.iter().find(|key| key.name() == name).map(|key| key.path);
    let meant = keys::closest(name, known.iter().copied()).or_else(elsewhere);
    Diagnostic::error(message, place).hint(match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("known here: {}", known.join(", ")),
    })
}

fn unknown_variable(name: &str, path: &str) -> Diagnostic {
    let shown = printable(name);
    let place = Place::Variable(name.to_owned());
    let variables: Vec<String> = KEYS.iter().map(Key::variable).collect();
    if keys::is_section(path) {
        let inside = KEYS.iter().find(|key| key.section() == path).map(Key::variable);
        return Diagnostic::error(format!("`{shown}` names a section"), place)
            .hint(inside.map(|variable| format!("set its keys one by one, as in `{variable}`")));
    }
    let upper = name.to_ascii_uppercase();
    let last = path.rsplit('.').next().unwrap_or(path);
    let elsewhere = || KEYS.iter().find(|key| key.name() == last).map(Key::variable);
    let meant = keys::closest(&upper, variables.iter().map(String::as_str)).map(str::to_owned).or_else(elsewhere);
    Diagnostic::error(format!("`{shown}` names no configuration key"), place).hint(match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "a name is `BLUFIO_SECTION__KEY`, with two underscores for each dot".to_owned(),
    })
}
