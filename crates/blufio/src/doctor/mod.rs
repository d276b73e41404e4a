//! What protects this installation, in plain words: what is on, what is off and why, and what there is to do.
//!
//! The facts come in; looking for them is the command's business. Nothing here can show a secret, since none comes in.

use serde::{Deserialize, Serialize};

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// On, and as it should be.
    On,
    /// Off, and that may be so.
    Off,
    /// Something must be done.
    Act,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is about.
    pub name: &'static str,
    /// How it stands.
    pub state: State,
    /// The same in words.
    pub says: String,
    /// What to do.
    pub fix: Option<String>,
}

/// What only the process that serves knows about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Where the root key came from; `None`: there is none yet.
    pub key: Option<KeyOrigin>,
    /// Names of secrets that were in the environment and are used from there.
    pub from_environment: Vec<String>,
    /// Other processes of the user may be able to read its memory.
    pub exposed: bool,
    /// It cannot start programs, nor touch files but its own; `None`: it is not running, or this system has no such walls.
    pub walled: Option<bool>,
}

/// Where a root key came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOrigin {
    /// In a few words.
    pub words: String,
    /// What that protects against.
    pub protects: String,
    /// It is the environment.
    pub weak: bool,
}

/// How the record of actions stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// There is none yet.
    None,
    /// Whole, with this many entries.
    Whole(u64),
    /// Something was changed or is missing.
    Broken(String),
    /// Without the root key it cannot be looked at.
    Locked,
}

/// Something that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What and why.
    pub says: String,
    /// What to do.
    pub fix: Option<String>,
}

/// Everything that is looked at.
#[derive(Clone, Debug)]
pub struct Facts {
    /// A server runs.
    pub running: bool,
    /// What it says; without one, what this process would be.
    pub service: Service,
    /// Why there is a key and it cannot be used.
    pub key_trouble: Option<Trouble>,
    /// Why the vault cannot be used.
    pub vault_trouble: Option<Trouble>,
    /// There is a recovery code.
    pub recovery: bool,
    /// The database is encrypted; `None`: there is none yet.
    pub encrypted: Option<bool>,
    /// Files and folders that others may use, with the command that changes that.
    pub open_files: Vec<(String, String)>,
    /// Version of the kernel's Landlock; `None`: it has none.
    pub landlock: Option<u32>,
    /// The kernel can filter system calls.
    pub seccomp: bool,
    /// The agent may run programs.
    pub exec: bool,
    /// … also where they cannot be confined.
    pub exec_weak: bool,
    /// The agent may read the public web.
    pub web: bool,
    /// Places in private networks that may be reached.
    pub private_places: Vec<String>,
    /// How the record of actions stands.
    pub record: Record,
}

/// Looks at everything.
pub fn checks(facts: &Facts) -> Vec<Check> {
    let mut all = vec![key(facts), recovery(facts), database(facts), secrets(facts), files(facts), memory(facts)];
    all.extend([walls(facts), exec(facts), web(facts), record(facts)]);
    all
}

fn key(facts: &Facts) -> Check {
    let name = "root key";
    match (&facts.key_trouble, &facts.service.key) {
        (Some(trouble), _) => trouble.check(name, "`blufio vault unlock` takes the recovery code"),
        (None, None) => off(name, "there is none yet; the first start or `blufio init` makes it"),
        (None, Some(origin)) if origin.weak => act(
            name,
            format!("{}: {}", origin.words, origin.protects),
            "put it into a file of mode 600 and name that with --root-key-file, or use a systemd credential",
        ),
        (None, Some(origin)) => on(name, format!("{}: {}", origin.words, origin.protects)),
    }
}

fn recovery(facts: &Facts) -> Check {
    let name = "recovery code";
    match (facts.recovery, &facts.service.key) {
        (true, _) => on(name, "there is one; with it, a lost root key is no loss".to_owned()),
        (false, None) if facts.key_trouble.is_none() => {
            act(name, "there is none yet".to_owned(), "`blufio init` makes the root key and the code")
        }
        (false, _) => act(
            name,
            "there is none: if the root key is lost, so is everything that is stored".to_owned(),
            "`blufio vault recovery` makes one",
        ),
    }
}

fn database(facts: &Facts) -> Check {
    let name = "database";
    match facts.encrypted {
        Some(true) => on(name, "encrypted, every page and the log beside it (AES-256)".to_owned()),
        Some(false) => act(
            name,
            "it is of an earlier version, and anybody who gets the file can read it".to_owned(),
            "the next start of `blufio serve` encrypts it",
        ),
        None => off(name, "there is none yet; it will be encrypted"),
    }
}

fn secrets(facts: &Facts) -> Check {
    let name = "secrets";
    if let Some(trouble) = &facts.vault_trouble {
        return trouble.check(name, "restore the database from a backup");
    }
    let from = &facts.service.from_environment;
    if from.is_empty() {
        return on(name, "none comes from the environment; the vault has what there is".to_owned());
    }
    act(
        name,
        format!("{} came from the environment, where other programs of the user can see them", from.join(", ")),
        "`blufio vault import` takes them; then remove the variables",
    )
}

fn files(facts: &Facts) -> Check {
    let name = "files";
    if facts.open_files.is_empty() {
        return on(name, "nobody else may read the data folder, the key or change the configuration".to_owned());
    }
    let (files, fixes): (Vec<&str>, Vec<&str>) =
        facts.open_files.iter().map(|(file, fix)| (file.as_str(), fix.as_str())).unzip();
    act(name, format!("others may use {}", files.join(", ")), &fixes.join("; "))
}

fn memory(facts: &Facts) -> Check {
    let name = "memory";
    if facts.service.exposed {
        let fix = "look why the system refuses it: setrlimit(RLIMIT_CORE) or prctl(PR_SET_DUMPABLE)";
        return act(name, "other programs of the user may be able to read it".to_owned(), fix);
    }
    on(name, "no core dumps, and no other program of the user can read it".to_owned())
}

fn walls(facts: &Facts) -> Check {
    let name = "walls";
    match (facts.landlock, facts.service.walled) {
        (None, _) => act(
            name,
            "this kernel has no Landlock, so a bug in the server could reach every file of its user".to_owned(),
            "use Linux 5.13 or newer with `landlock` among its security modules, and a user of its own for Blufio",
        ),
        (Some(_), Some(false)) => act(
            name,
            "the running server has not confined itself".to_owned(),
            "restart it; its log says why if it happens again",
        ),
        (Some(version), walled) => {
            let seccomp = if facts.seccomp { " and seccomp" } else { "" };
            let now = if walled.is_some() { "the server can" } else { "a server can" };
            on(name, format!("{now} touch its own files only, and start nothing (Landlock {version}{seccomp})"))
        }
    }
}

fn exec(facts: &Facts) -> Check {
    let name = "programs";
    match (facts.exec, facts.exec_weak) {
        (false, _) => off(name, "the agent cannot run any ([tools.exec] enabled = false)"),
        (true, true) => act(
            name,
            "the agent may run programs, each after an owner's yes, even where they cannot be confined".to_owned(),
            "remove [tools.exec] allow_weak, unless this machine is there for nothing else",
        ),
        (true, false) => act(
            name,
            "the agent may run programs, each after an owner's yes: confined, but able to change the workspace"
                .to_owned(),
            "set [tools.exec] enabled = false, unless you need it",
        ),
    }
}

fn web(facts: &Facts) -> Check {
    let name = "network";
    if !facts.private_places.is_empty() {
        let places = facts.private_places.join(", ");
        return act(
            name,
            format!("whoever writes to the agent can make it read what {places} answers"),
            "remove places from [egress] allow_private that are not needed",
        );
    }
    let web = if facts.web { "the public web, for its tools" } else { "its own services only" };
    on(name, format!("the agent reaches {web}; no private network and nothing on this machine"))
}

fn record(facts: &Facts) -> Check {
    let name = "audit log";
    match &facts.record {
        Record::None => off(name, "nothing is in it yet"),
        Record::Locked => off(name, "without the root key it cannot be looked at"),
        Record::Whole(entries) => on(name, format!("whole, {entries} entries")),
        Record::Broken(what) => {
            act(name, what.clone(), "somebody has changed the database: `blufio audit verify` says where")
        }
    }
}

impl Trouble {
    fn check(&self, name: &'static str, otherwise: &str) -> Check {
        act(name, self.says.clone(), self.fix.as_deref().unwrap_or(otherwise))
    }
}

fn on(name: &'static str, says: String) -> Check {
    Check { name, state: State::On, says, fix: None }
}

fn off(name: &'static str, says: &str) -> Check {
    Check { name, state: State::Off, says: says.to_owned(), fix: None }
}

fn act(name: &'static str, says: String, fix: &str) -> Check {
    Check { name, state: State::Act, says, fix: Some(fix.to_owned()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn good() -> Facts {
        let origin = KeyOrigin { words: "the file k".into(), protects: "much".into(), weak: false };
        Facts {
            running: true,
            service: Service { key: Some(origin), walled: Some(true), ..Service::default() },
            key_trouble: None,
            vault_trouble: None,
            recovery: true,
            encrypted: Some(true),
            open_files: Vec::new(),
            landlock: Some(5),
            seccomp: true,
            exec: false,
            exec_weak: false,
            web: true,
            private_places: Vec::new(),
            record: Record::Whole(3),
        }
    }

    fn gone() -> Option<Trouble> {
        Some(Trouble { says: "gone".into(), fix: None })
    }

    #[test]
    fn what_is_well_needs_nothing() {
        let states: Vec<_> = checks(&good()).into_iter().filter(|check| check.state == State::Act).collect();
        assert_eq!(states, []);
    }

    #[test]
    fn each_trouble_is_told_with_what_to_do() {
        let check = |name: &str, change: fn(&mut Facts)| {
            let mut facts = good();
            change(&mut facts);
            let found: Vec<_> = checks(&facts).into_iter().filter(|check| check.state == State::Act).collect();
            assert_eq!(found.iter().map(|check| check.name).collect::<Vec<_>>(), [name]);
            assert!(found[0].fix.as_ref().is_some_and(|fix| !fix.is_empty()));
        };
        check("root key", |facts| facts.service.key.as_mut().unwrap().weak = true);
        check("root key", |facts| facts.key_trouble = gone());
        check("secrets", |facts| facts.vault_trouble = gone());
        check("recovery code", |facts| facts.recovery = false);
        check("recovery code", |facts| (facts.recovery, facts.service.key) = (false, None));
        check("database", |facts| facts.encrypted = Some(false));
        check("secrets", |facts| facts.service.from_environment.push("anthropic.api_key".into()));
        check("files", |facts| facts.open_files.push(("a".into(), "chmod 600 a".into())));
        check("memory", |facts| facts.service.exposed = true);
        check("walls", |facts| facts.landlock = None);
        check("walls", |facts| facts.service.walled = Some(false));
        check("programs", |facts| facts.exec = true);
        check("network", |facts| facts.private_places.push("10.0.0.1:80".into()));
        check("audit log", |facts| facts.record = Record::Broken("entry 3 was changed".into()));
    }
}
