//! Where there is no Linux, nothing can be confined, so no program is run.

use crate::{Report, ServerPaths, SetupError, SpawnerOptions, Walls};
use blufio_core::port::{ExecError, ExecRequest, Executor, Prepared};
use std::process::ExitCode;

/// There is none on this system.
pub struct Spawner(std::convert::Infallible);

impl Spawner {
    /// Always an error.
    ///
    /// # Errors
    /// This system cannot confine programs.
    pub fn start(_options: SpawnerOptions<'_>) -> Result<Self, SetupError> {
        let source = std::io::Error::from(std::io::ErrorKind::Unsupported);
        Err(SetupError::at("programs can be run on Linux only")(source))
    }
}

impl Executor for Spawner {
    fn prepare(&self, _request: &ExecRequest) -> Result<Box<dyn Prepared>, ExecError> {
        match self.0 {}
    }
}

/// There is nothing to run.
#[must_use]
pub fn run_spawner() -> ExitCode {
    ExitCode::FAILURE
}

/// Nothing is confined.
///
/// # Errors
/// None here.
pub fn confine_server(_paths: &ServerPaths) -> Result<Walls, SetupError> {
    Ok(Walls::Missing)
}

/// Nothing is offered.
#[must_use]
pub fn report() -> Report {
    let core = rustix::process::getrlimit(rustix::process::Resource::Core);
    Report { landlock_abi: None, seccomp: false, dumpable: true, core_bytes_max: core.current }
}
