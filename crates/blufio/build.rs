//! Tells the binary which commit and what kind of build it is. Needs git for the commit only, and does without.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let commit = git(&["rev-parse", "--short=7", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    watch_head();
    let profile = profile().unwrap_or_else(|| "unknown".to_owned());
    let linked = if variable("CARGO_CFG_TARGET_FEATURE").split(',').any(|feature| feature == "crt-static") {
        "static"
    } else {
        "dynamic"
    };
    let failpoints = if variable("CARGO_FEATURE_FAILPOINTS").is_empty() { "" } else { " failpoints" };
    let version = variable("CARGO_PKG_VERSION");
    println!("cargo::rustc-env=BLUFIO_LONG_VERSION={version} (commit {commit}, {profile} {linked}{failpoints})");
}

/// A commit changes the branch's file, a checkout changes `HEAD`; packed branches have one file together.
fn watch_head() {
    let branch = git(&["symbolic-ref", "-q", "HEAD"]);
    for name in [Some("HEAD".to_owned()), branch, Some("packed-refs".to_owned())].into_iter().flatten() {
        if let Some(path) = git(&["rev-parse", "--git-path", &name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

/// The profile's own name is in the path of the output only: `target/<triple>/<profile>/build/…`.
fn profile() -> Option<String> {
    let out = variable("OUT_DIR");
    let components: Vec<&str> = out.split('/').collect();
    let build = components.iter().rposition(|&component| component == "build")?;
    components.get(build.checked_sub(1)?).map(|&profile| profile.to_owned())
}

#[expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts through the environment")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
