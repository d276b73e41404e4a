//! What protects this installation, in plain words: what is on, what is off and why, and what there is to do.
//!
//! The facts come in; looking for them is the command's business. Nothing here can show a secret, since none comes in.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
    /// It could not be looked at.
    Unknown,
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
    /// The file, if it is one.
    #[serde(default)]
    pub file: Option<PathBuf>,
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
    /// Something else is in the way of looking at it.
    Unknown(Trouble),
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
    /// What it says, or why it does not; without a server, what this process would be.
    pub service: Result<Service, Trouble>,
    /// Why there is a key and it cannot be used.
    pub key_trouble: Option<Trouble>,
    /// Why the vault cannot be used.
    pub vault_trouble: Option<Trouble>,
    /// There is a recovery code; or why that cannot be seen.
    pub recovery: Result<bool, Trouble>,
    /// The database is encrypted; `None`: there is none yet.
    pub encrypted: Option<bool>,
    /// Files and folders that others may use, with the command that changes that.
    pub open_files: Vec<(String, String)>,
    /// Files and folders that could not be looked at.
    pub unseen_files: Vec<String>,
    /// There is a file with the root key, and it was looked at.
    pub key_file: bool,
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
    if let Some(trouble) = &facts.key_trouble {
        return trouble.check(name, "`blufio vault unlock` takes the recovery code");
    }
    match facts.service.as_ref().map(|service| &service.key) {
        Err(trouble) => trouble.unknown(name),
        Ok(None) => off(name, "there is none yet; the first start or `blufio init` makes it"),
        Ok(Some(origin)) if origin.weak => act(
            name,
            format!("{}: {}", origin.words, origin.protects),
            "put it into a file of mode 600 and name that with --root-key-file, or use a systemd credential",
        ),
        Ok(Some(origin)) => on(name, format!("{}: {}", origin.words, origin.protects)),
    }
}

fn recovery(facts: &Facts) -> Check {
    let name = "recovery code";
    let no_key = facts.key_trouble.is_none() && facts.service.as_ref().is_ok_and(|service| service.key.is_none());
    match &facts.recovery {
        Err(trouble) => trouble.unknown(name),
        Ok(true) => on(name, "there is one; with it, a lost root key is no loss".to_owned()),
        Ok(false) if no_key => {
            act(name, "there is none yet".to_owned(), "`blufio init` makes the root key and the code")
        }
        Ok(false) => act(
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
    let from = match &facts.service {
        Err(trouble) => return trouble.unknown(name),
        Ok(service) => &service.from_environment,
    };
    if from.is_empty() && facts.key_trouble.is_some() {
        let says = "none comes from the environment; the vault cannot be looked at without the root key";
        return Trouble { says: says.to_owned(), fix: Some("see what is said about the root key".to_owned()) }
            .unknown(name);
    }
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
    if facts.open_files.is_empty() && !facts.unseen_files.is_empty() {
        let says = format!("{} could not be looked at", facts.unseen_files.join(", "));
        return Trouble { says, fix: Some("run this as the user who runs the server".to_owned()) }.unknown(name);
    }
    if facts.open_files.is_empty() {
        let key = if facts.key_file { " and the key's file" } else { "" };
        return on(name, format!("nobody else may read the data folder{key} or change the configuration"));
    }
    let (files, fixes): (Vec<&str>, Vec<&str>) =
        facts.open_files.iter().map(|(file, fix)| (file.as_str(), fix.as_str())).unzip();
    act(name, format!("others may use {}", files.join(", ")), &fixes.join("; "))
}

fn memory(facts: &Facts) -> Check {
    let name = "memory";
    let service = match &facts.service {
        Err(trouble) => return trouble.unknown(name),
        Ok(service) => service,
    };
    if service.exposed {
        let fix = "look why the system refuses it: setrlimit(RLIMIT_CORE) or prctl(PR_SET_DUMPABLE)";
        return act(name, "other programs of the user may be able to read it".to_owned(), fix);
    }
    let who = if facts.running { "" } else { "as far as this command can tell for a server: " };
    on(name, format!("{who}no core dumps, and no other program of the user can read it"))
}

fn walls(facts: &Facts) -> Check {
    let name = "walls";
    let walled = facts.service.as_ref().map(|service| service.walled);
    match (facts.landlock, walled) {
        (None, _) => act(
            name,
            "this kernel has no Landlock, so a bug in the server could reach every file of its user".to_owned(),
            "use Linux 5.13 or newer with `landlock` among its security modules, and a user of its own for Blufio",
        ),
        (Some(_), Err(trouble)) => trouble.unknown(name),
        (Some(_), Ok(Some(false))) => act(
            name,
            "the running server has not confined itself".to_owned(),
            "restart it; its log says why if it happens again",
        ),
        (Some(version), Ok(walled)) => {
            let seccomp = if facts.seccomp { " and seccomp" } else { "" };
            let now = if walled.is_some() { "the server can" } else { "none runs; a server that starts can" };
            on(name, format!("{now} touch its own files only, and start nothing (Landlock {version}{seccomp})"))
        }
    }
}

fn exec(facts: &Facts) -> Check {
    let name = "programs";
    if !facts.exec {
        return off(name, "the agent cannot run any ([tools.exec] enabled = false)");
    }
    let landlock = facts.landlock.is_some();
    if !facts.seccomp || !(landlock || facts.exec_weak) {
        let missing = if facts.seccomp { "Landlock" } else { "seccomp" };
        return act(
            name,
            format!("they are switched on, and none will run: this kernel has no {missing} to confine them"),
            "set [tools.exec] enabled = false, or use a kernel that has it",
        );
    }
    match (landlock, facts.exec_weak) {
        (false, _) => act(
            name,
            "the agent may run programs, each after an owner's yes, and this kernel has no Landlock to confine them: they can \
             read and change what the user can"
                .to_owned(),
            "remove [tools.exec] allow_weak, unless this machine is there for nothing else",
        ),
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
        Record::Unknown(trouble) => trouble.unknown(name),
        Record::Broken(what) => {
            act(name, what.clone(), "somebody has changed the database: `blufio audit verify` says where")
        }
    }
}

impl Trouble {
    fn unknown(&self, name: &'static str) -> Check {
        Check { name, state: State::Unknown, says: self.says.clone(), fix: self.fix.clone() }
    }

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
        let origin = KeyOrigin { words: "the file k".into(), protects: "much".into(), weak: false, file: None };
        Facts {
            running: true,
            service: Ok(Service { key: Some(origin), walled: Some(true), ..Service::default() }),
            key_trouble: None,
            vault_trouble: None,
            recovery: Ok(true),
            encrypted: Some(true),
            open_files: Vec::new(),
            unseen_files: Vec::new(),
            key_file: true,
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

    fn service(facts: &mut Facts) -> &mut Service {
        facts.service.as_mut().unwrap()
    }

    #[test]
    fn what_is_well_needs_nothing() {
        let wrong = |check: &Check| matches!(check.state, State::Act | State::Unknown);
        let states: Vec<_> = checks(&good()).into_iter().filter(wrong).collect();
        assert_eq!(states, []);
    }

    #[test]
    fn what_could_not_be_looked_at_is_not_called_well() {
        let check = |names: &[&str], change: fn(&mut Facts)| {
            let mut facts = good();
            change(&mut facts);
            let found = checks(&facts).into_iter().filter(|check| check.state == State::Unknown);
            assert_eq!(found.map(|check| check.name).collect::<Vec<_>>(), names);
        };
        let silent = |facts: &mut Facts| facts.service = Err(gone().unwrap());
        check(&["root key", "secrets", "memory", "walls"], silent);
        check(&["secrets"], |facts| facts.key_trouble = gone());
        check(&["recovery code"], |facts| facts.recovery = Err(gone().unwrap()));
        check(&["files"], |facts| facts.unseen_files.push("a".into()));
        check(&["audit log"], |facts| facts.record = Record::Unknown(gone().unwrap()));
    }

    #[test]
    fn programs_are_confined_only_where_the_kernel_can() {
        let says = |landlock: Option<u32>, seccomp: bool, exec_weak: bool| {
            checks(&Facts { landlock, seccomp, exec: true, exec_weak, ..good() })
                .into_iter()
                .find(|check| check.name == "programs")
                .map(|check| check.says)
                .unwrap()
        };
        assert!(says(Some(5), true, false).contains("confined, but"));
        for nothing in [says(None, true, false), says(Some(5), false, true), says(None, false, false)] {
            assert!(nothing.contains("none will run") && !nothing.contains("after an owner's yes"), "{nothing}");
        }
        assert!(says(None, true, true).contains("no Landlock to confine them"));
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
        check("root key", |facts| service(facts).key.as_mut().unwrap().weak = true);
        check("root key", |facts| facts.key_trouble = gone());
        check("secrets", |facts| facts.vault_trouble = gone());
        check("recovery code", |facts| facts.recovery = Ok(false));
        check("recovery code", |facts| (facts.recovery, service(facts).key) = (Ok(false), None));
        check("database", |facts| facts.encrypted = Some(false));
        check("secrets", |facts| service(facts).from_environment.push("anthropic.api_key".into()));
        check("files", |facts| facts.open_files.push(("a".into(), "chmod 600 a".into())));
        check("memory", |facts| service(facts).exposed = true);
        check("walls", |facts| facts.landlock = None);
        check("walls", |facts| service(facts).walled = Some(false));
        check("programs", |facts| facts.exec = true);
        check("network", |facts| facts.private_places.push("10.0.0.1:80".into()));
        check("audit log", |facts| facts.record = Record::Broken("entry 3 was changed".into()));
    }
}
