//! The rules of the house that neither the compiler nor clippy can hold: who may depend on whom, what shipped code may not
//! say, how long a file may be, and that documents name things that exist. It reads the files of the repository and nothing else.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const DIRECT_DEPENDENCIES_MAX: usize = 79;
const FILE_LINES_MAX: usize = 700;
const DECISION_LINES_MAX: usize = 40;

/// Crates of ours that each crate may use in shipped code. A new crate is a decision: give it a row here and a record.
const LAYERS: &[(&str, &[&str])] = &[
    ("blufio-core", &[]),
    ("blufio-store", &["blufio-core"]),
    ("blufio-adapters", &["blufio-core"]),
    ("blufio-runtime", &["blufio-core"]),
    ("blufio-sandbox", &["blufio-core"]),
    ("blufio-testkit", &["blufio-core"]),
    ("blufio", &["blufio-core", "blufio-store", "blufio-adapters", "blufio-runtime", "blufio-sandbox"]),
];

/// Everything that the pure crate may use: no runtime, no input or output, no clock, no randomness.
const CORE_DEPENDENCIES: &[&str] = &[
    "aes-gcm",
    "aho-corasick",
    "argon2",
    "bytes",
    "hkdf",
    "hmac",
    "regex",
    "serde",
    "serde_json",
    "sha2",
    "strsim",
    "subtle",
    "thiserror",
    "toml",
    "unicode-normalization",
    "unicode-segmentation",
    "unicode-width",
    "url",
    "zeroize",
];

/// What shipped code may not say outside tests, and the clippy lint whose `#[expect(…)]` just above allows it.
const BANNED: &[(&str, Option<&str>)] = &[
    (".unwrap()", Some("clippy::unwrap_used")),
    (".expect(\"", Some("clippy::expect_used")),
    ("panic!(", Some("clippy::panic")),
    ("unreachable!(", Some("clippy::unreachable")),
    ("todo!(", None),
    ("unimplemented!(", None),
    ("dbg!(", None),
    ("let _ = ", None),
    (".ok();", None),
];
/// How many lines above the call its `#[expect(…)]` may stand (a statement may be long).
const EXPECT_LINES_ABOVE_MAX: usize = 12;

/// Files of the binary besides `wire.rs` that may name a concrete adapter or the store, each with its reason.
const NAMES_ADAPTERS: &[(&str, &str)] = &[
    ("crates/blufio/src/client.rs", "the control socket is reached through the one HTTP client, whose home is egress"),
    (
        "crates/blufio/src/rotation.rs",
        "a new key means a new database file, which the port of an open store cannot name",
    ),
];

/// Crates that reach into the kernel or the C library, and the only one of ours that may use them in shipped code.
const HOMES: &[(&str, &str)] =
    &[("landlock", "blufio-sandbox"), ("libc", "blufio-sandbox"), ("seccompiler", "blufio-sandbox")];

/// Files that may hold `unsafe`, each with its reason.
const UNSAFE: &[(&str, &str)] = &[
    ("crates/blufio/src/main.rs", "jemalloc reads its options from a symbol of a certain name"),
    ("crates/blufio/src/start.rs", "secrets leave the environment while there is one thread"),
    ("crates/blufio-adapters/src/embedding/sys.rs", "mapping a file and AVX2 have no safe form"),
    ("crates/blufio-sandbox/src/sys.rs", "forking, executing by handle, and closing have no safe form"),
];

/// Words that mean unfinished work. Written in two halves, so that this file does not contain them.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Folders of somebody's machine, and registry hosts: neither belongs into a repository. In halves for the same reason.
const FOREIGN: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("../sha", "red"),
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".com"),
    concat!("npmjs", ".org"),
    concat!("debian", ".org"),
    concat!("proxy.golang", ".org"),
];

/// The repository: every file that git tracks or would add, by its path from the root.
struct Tree {
    root: PathBuf,
    files: Vec<String>,
}

impl Tree {
    fn read() -> Tree {
        let root = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this"))
            .join("../..")
            .canonicalize()
            .expect("the workspace has a root");
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(&root)
            .output()
            .expect("git is installed");
        assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
        let listed = String::from_utf8(listed.stdout).expect("file names are UTF-8");
        let exists = |name: &&str| root.join(name).is_file();
        let files: BTreeSet<String> =
            listed.split('\0').filter(|name| !name.is_empty()).filter(exists).map(str::to_owned).collect();
        assert!(files.contains("Cargo.toml"), "this is not the workspace: {}", root.display());
        Tree { root, files: files.into_iter().collect() }
    }

    /// The text of a file; nothing if it is not text.
    fn text(&self, name: &str) -> Option<String> {
        String::from_utf8(fs::read(self.root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))).ok()
    }

    /// Names and texts of the files that `wanted` chooses.
    fn texts(&self, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = (&str, String)> {
        self.files.iter().filter(move |name| wanted(name)).filter_map(|name| Some((name.as_str(), self.text(name)?)))
    }

    /// Names and texts of the Rust sources that people get; a module in a file `tests.rs` is a test.
    fn shipped(&self) -> impl Iterator<Item = (&str, String)> {
        self.texts(|name| {
            let test =
                name.starts_with("crates/blufio-testkit/") || name.ends_with("/tests.rs") || name.contains("/tests/");
            name.ends_with(".rs") && name.contains("/src/") && !test
        })
    }
}

/// Fails with every violation at once, one a line.
fn none(rule: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{rule}:\n  {}\n", violations.join("\n  "));
}

/// One dependency of one of our crates.
struct Dependency {
    of: String,
    name: String,
    /// Only for tests.
    dev: bool,
}

fn dependencies(tree: &Tree) -> Vec<Dependency> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(&tree.root)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("a text, not {value}")).to_owned();
    let list = |value: &Value| value.as_array().unwrap_or_else(|| panic!("a list, not {value}")).clone();
    let mut found = Vec::new();
    for package in list(&metadata["packages"]) {
        for dependency in list(&package["dependencies"]) {
            let dev = dependency["kind"] == "dev";
            found.push(Dependency { of: text(&package["name"]), name: text(&dependency["name"]), dev });
        }
    }
    found
}

fn is_ours(name: &str) -> bool {
    name == "blufio" || name.starts_with("blufio-")
}

#[test]
fn crates_depend_only_on_their_layer_below() {
    let layers: BTreeMap<&str, &[&str]> = LAYERS.iter().copied().collect();
    let mut violations = Vec::new();
    for Dependency { of, name, dev } in dependencies(&Tree::read()) {
        let Some(allowed) = layers.get(of.as_str()) else {
            violations.push(format!("{of} has no row in LAYERS"));
            continue;
        };
        let fine = if is_ours(&name) {
            allowed.contains(&name.as_str()) || (dev && name == "blufio-testkit")
        } else {
            dev || of != "blufio-core" || CORE_DEPENDENCIES.contains(&name.as_str())
        };
        if !fine {
            violations.push(format!("{of} may not depend on {name}"));
        }
    }
    none("layers (docs/ARCHITECTURE.md)", violations);
}

#[test]
fn what_reaches_into_the_kernel_has_one_home() {
    let strays = dependencies(&Tree::read()).into_iter().filter(|dependency| {
        HOMES.iter().any(|(name, home)| dependency.name == *name && dependency.of != *home && !dependency.dev)
    });
    none("HOMES", strays.map(|stray| format!("{} may not depend on {}", stray.of, stray.name)).collect());
}

#[test]
fn unsafe_code_is_in_listed_files() {
    let tree = Tree::read();
    let holds = |text: &str| !source::places(&source::without_tests(&source::code_only(text)), "unsafe").is_empty();
    let listed = |name: &str| UNSAFE.iter().any(|(file, reason)| *file == name && !reason.is_empty());
    let mut violations: Vec<String> =
        tree.shipped().filter(|(name, text)| holds(text) && !listed(name)).map(|(name, _)| name.to_owned()).collect();
    let needed =
        |file: &str| tree.files.iter().any(|name| name == file) && tree.text(file).is_some_and(|text| holds(&text));
    violations.extend(UNSAFE.iter().filter(|(file, _)| !needed(file)).map(|(file, _)| format!("{file} needs no row")));
    none("unsafe code", violations);
}

#[test]
fn direct_dependencies_stay_few() {
    let names: BTreeSet<String> = dependencies(&Tree::read())
        .into_iter()
        .map(|dependency| dependency.name)
        .filter(|name| !is_ours(name))
        .collect();
    println!("{} direct dependencies, at most {DIRECT_DEPENDENCIES_MAX}", names.len());
    assert!(names.len() <= DIRECT_DEPENDENCIES_MAX, "{} direct dependencies: {names:?}", names.len());
}

#[test]
fn shipped_crates_take_the_workspace_lints() {
    let mut violations = Vec::new();
    for (name, text) in Tree::read().texts(|name| name.starts_with("crates/") && name.ends_with("/Cargo.toml")) {
        if !name.starts_with("crates/blufio-testkit/") && !text.contains("[lints]\nworkspace = true\n") {
            violations.push(name.to_owned());
        }
    }
    none("these lack `[lints] workspace = true`", violations);
}

#[test]
fn shipped_code_handles_every_failure() {
    let mut violations = Vec::new();
    for (name, text) in Tree::read().shipped() {
        let code = source::without_tests(&source::code_only(&text));
        let lines: Vec<&str> = code.lines().collect();
        for (token, lint) in BANNED {
            for (line, at) in source::places(&code, token) {
                let above = &lines[line.saturating_sub(EXPECT_LINES_ABOVE_MAX)..line];
                let expected = lint.is_some_and(|lint| above.iter().any(|text| text.contains(lint)));
                let used = *token == ".ok();" && !source::is_discarded(&code, at);
                if !expected && !used {
                    violations.push(format!("{name}:{line}: {token}"));
                }
            }
        }
    }
    none("shipped code may not say this outside tests", violations);
}

#[test]
fn only_the_composition_root_names_adapters() {
    let mut violations = Vec::new();
    for (name, text) in Tree::read().shipped().filter(|(name, _)| name.starts_with("crates/blufio/src/")) {
        if name == "crates/blufio/src/wire.rs" || NAMES_ADAPTERS.iter().any(|(file, _)| *file == name) {
            continue;
        }
        let code = source::without_tests(&source::code_only(&text));
        for word in ["blufio_adapters", "blufio_store"] {
            let places = source::places(&code, word);
            violations.extend(places.into_iter().map(|(line, _)| format!("{name}:{line}: {word}")));
        }
    }
    none("only crates/blufio/src/wire.rs names a concrete adapter", violations);
}

#[test]
fn exceptions_are_still_needed() {
    let tree = Tree::read();
    let gone =
        NAMES_ADAPTERS.iter().filter(|(file, reason)| !tree.files.iter().any(|name| name == file) || reason.is_empty());
    none(
        "NAMES_ADAPTERS lists files that do not exist, or gives no reason",
        gone.map(|(file, _)| (*file).to_owned()).collect(),
    );
}

#[test]
fn source_files_are_short_and_say_what_they_are_for() {
    let mut violations = Vec::new();
    for (name, text) in Tree::read().texts(|name| name.ends_with(".rs")) {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            violations.push(format!("{name}: {lines} lines; two subjects in one file?"));
        }
        let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
        let needs_header = name.contains("/src/") && !name.ends_with("/tests.rs");
        if needs_header && !first.is_some_and(|line| line.starts_with("//!")) {
            violations.push(format!("{name}: does not begin with a //! header"));
        }
    }
    none("source files", violations);
}

#[test]
fn nothing_is_left_for_later() {
    let mut violations = Vec::new();
    for (name, text) in Tree::read().texts(|name| name != "Cargo.lock") {
        for word in UNFINISHED {
            violations
                .extend(source::places(&text, word).into_iter().map(|(line, _)| format!("{name}:{line}: {word}")));
        }
    }
    none("finish it, or say in a document what is missing", violations);
}

#[test]
fn nothing_points_at_one_machine_or_a_registry() {
    let mut violations = Vec::new();
    // The lock file names the registry; cargo writes it.
    for (name, text) in Tree::read().texts(|name| name != "Cargo.lock") {
        for word in FOREIGN {
            for (line, at) in source::places(&text, word) {
                // Only an absolute path is foreign, and the folder of a person called `user` is nobody's.
                let inside_a_path =
                    text[..at].ends_with(|before: char| before.is_alphanumeric() || "._-}*~".contains(before));
                let nobody = text[at + word.len()..].starts_with("user");
                if !(word.starts_with('/') && (inside_a_path || nobody)) {
                    violations.push(format!("{name}:{line}: {word}"));
                }
            }
        }
    }
    none("a path of one machine, or the host of a registry", violations);
}

/// The rows of the tables under headings that contain `heading`, without their header rows, as cells.
fn table_rows(markdown: &str, heading: &str) -> Vec<Vec<String>> {
    let (mut rows, mut under, mut body) = (Vec::new(), false, false);
    for line in markdown.lines() {
        if line.starts_with('#') {
            under = line.to_lowercase().contains(heading);
        }
        let Some(row) = line.trim().strip_prefix('|').filter(|_| under) else {
            body = false;
            continue;
        };
        let cells: Vec<String> = row.trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        if cells.iter().all(|cell| !cell.is_empty() && cell.chars().all(|c| c == '-' || c == ':')) {
            body = true;
        } else if body {
            rows.push(cells);
        }
    }
    rows
}

/// The parts of a text between backticks.
fn in_backticks(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What the documents name as their proof: tests by the name of the function, with or without a file before it, and
/// commands of `./dev`.
struct Proofs {
    /// Name and code of every source.
    code: Vec<(String, String)>,
    dev: String,
    bench: String,
}

impl Proofs {
    fn of(tree: &Tree) -> Proofs {
        let code = tree.texts(|name| name.ends_with(".rs"));
        let text = |name: &str| tree.text(name).unwrap_or_else(|| panic!("{name} is text"));
        Proofs {
            code: code.map(|(name, text)| (name.to_owned(), source::code_only(&text))).collect(),
            dev: text("dev"),
            bench: text("crates/blufio-testkit/src/bench/mod.rs"),
        }
    }

    fn has(&self, name: &str) -> bool {
        match name.strip_prefix("./dev ") {
            Some(command) => self.has_command(command),
            None => self.has_test(name),
        }
    }

    fn has_command(&self, command: &str) -> bool {
        let mut words = command.split(' ');
        let known = words.next().is_some_and(|word| self.dev.contains(&format!("\ncmd_{word}()")));
        // Kinds of measurements are variants, `channel-faults` is `ChannelFaults`.
        let kind = words.next().filter(|_| command.starts_with("bench ")).is_none_or(|kind| {
            let variant: String = kind.split('-').map(|part| part[..1].to_uppercase() + &part[1..]).collect();
            self.bench.contains(&format!("    {variant}({}::Options)", kind.replace('-', "_")))
        });
        known && kind
    }

    /// `file::function`, or a function wherever it is. Of a file the end of its path has to fit, with `real`, `adapters` and
    /// `contract` for the folders that are called so.
    fn has_test(&self, name: &str) -> bool {
        let (file, function) = name.rsplit_once("::").unwrap_or(("", name));
        let function = format!("fn {function}");
        let here = |path: &str| {
            let end = path.strip_suffix(file).unwrap_or("");
            file.is_empty() || !file.ends_with(".rs") || end.ends_with('/')
        };
        let ends = |place: &(usize, usize), text: &str| {
            let rest = &text[place.1 + function.len()..];
            !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_')
        };
        let found = |text: &str| source::places(text, &function).iter().any(|place| ends(place, text));
        self.code.iter().any(|(path, text)| here(path) && found(text))
    }
}

/// Every row of the table under the heading names proofs in its last column, and all of them exist.
fn proven(document: &str, heading: &str) {
    let tree = Tree::read();
    let text = tree.text(document).unwrap_or_else(|| panic!("{document} is text"));
    let rows = table_rows(&text, heading);
    assert!(!rows.is_empty(), "{document} has no table under a heading with the word {heading}");
    let proofs = Proofs::of(&tree);
    let mut violations = Vec::new();
    for row in rows {
        let names = in_backticks(row.last().expect("a row has cells"));
        if names.is_empty() {
            violations.push(format!("no test: {}", row.join(" | ")));
        }
        violations
            .extend(names.into_iter().filter(|name| !proofs.has(name)).map(|name| format!("no such test: {name}")));
    }
    none(document, violations);
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    proven("docs/ARCHITECTURE.md", "invariant");
}

#[test]
fn every_class_of_advisories_names_a_test_that_exists() {
    proven("docs/advisories.md", "classes");
}

#[test]
fn every_promise_about_telegram_names_a_test_that_exists() {
    proven("docs/telegram-tests.md", "promises");
    let text = Tree::read().text("docs/telegram-tests.md").expect("it is text");
    let numbers: Vec<String> = table_rows(&text, "promises").iter().map(|row| row[0].clone()).collect();
    let all: Vec<String> = (1..=40).map(|number| format!("T{number}")).collect();
    assert_eq!(numbers, all, "each promise has its row");
}

#[test]
fn proofs_are_found_and_missing_ones_are_not() {
    let proofs = Proofs::of(&Tree::read());
    for name in [
        "proofs_are_found_and_missing_ones_are_not",
        "tidy/main.rs::proofs_are_found_and_missing_ones_are_not",
        "./dev test",
        "./dev bench crash",
    ] {
        assert!(proofs.has(name), "{name}");
    }
    for name in [
        "proofs_are_found_and_missing_ones",
        "tidy/source.rs::proofs_are_found_and_missing_ones_are_not",
        "idy/main.rs::proofs_are_found_and_missing_ones_are_not",
        "./dev dance",
        "./dev bench dance",
    ] {
        assert!(!proofs.has(name), "{name}");
    }
}

#[test]
fn links_in_documents_lead_somewhere() {
    let tree = Tree::read();
    let mut violations = Vec::new();
    for (name, text) in tree.texts(|name| name.ends_with(".md")) {
        let folder = tree.root.join(name);
        let folder = folder.parent().expect("a file is in a folder");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()) {
            let path = link.split('#').next().unwrap_or(link);
            let elsewhere = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
            if !elsewhere && !folder.join(path).exists() {
                violations.push(format!("{name}: {link}"));
            }
        }
    }
    none("links to files that do not exist", violations);
}

#[test]
fn decisions_are_short_numbered_and_listed() {
    let tree = Tree::read();
    let index = tree.text("docs/decisions/README.md").expect("the index is text");
    let (mut numbers, mut violations) = (BTreeSet::new(), Vec::new());
    for (name, text) in tree.texts(|name| name.starts_with("docs/decisions/0")) {
        let file = name.rsplit('/').next().unwrap_or(name);
        if !numbers.insert(file.split('-').next().unwrap_or(file).to_owned()) {
            violations.push(format!("{file}: this number is taken"));
        }
        if !index.contains(&format!("({file})")) {
            violations.push(format!("{file}: not in the index"));
        }
        if text.lines().count() > DECISION_LINES_MAX {
            violations.push(format!("{file}: more than {DECISION_LINES_MAX} lines"));
        }
        for heading in ["## Context", "## Decision", "## Consequences"] {
            if !text.contains(heading) {
                violations.push(format!("{file}: no {heading}"));
            }
        }
    }
    none("docs/decisions", violations);
}
