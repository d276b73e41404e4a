//! Blufio: an always-on personal AI agent in one static binary.
//!
//! A hidden first argument makes it the helper process that starts programs, before anything else happens. Otherwise
//! the process starts in phases: before there are threads it reads and cleans its environment and gives up rights it does
//! not need; then it reads the command line; only a command that needs one builds an async runtime.

mod cli;
mod client;
mod config;
mod credentials;
mod doctor;
mod failure;
mod gateway;
mod keys;
mod lock;
mod logging;
mod model;
mod recovery;
mod redact;
mod rotation;
mod secrets;
mod serve;
mod start;
mod vault;
mod wire;

use std::io::Write as _;
use std::process::ExitCode;

/// jemalloc, because a long-lived process must give memory back and stay unfragmented.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Two arenas are enough for two workers; freed pages go back after a second, see [`give_memory_back`].
#[expect(unsafe_code, reason = "jemalloc reads its options from a symbol of this name")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: Option<&'static u8> =
    c"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:1000".to_bytes_with_nul().first();

/// Lets jemalloc start a thread of its own that gives freed pages back. Not from the start: a process holds only those threads
/// to its walls that start after them, and a short command needs no such thread.
#[expect(unsafe_code, reason = "jemalloc takes options of a running process through this function only")]
fn give_memory_back() {
    unsafe extern "C" {
        #[link_name = "_rjem_mallctl"]
        fn mallctl(
            name: *const std::ffi::c_char,
            old: *mut std::ffi::c_void,
            old_length: *mut usize,
            new: *mut std::ffi::c_void,
            new_length: usize,
        ) -> std::ffi::c_int;
    }
    let mut on = true;
    // SAFETY: the name is a C string, the option is a `bool`, and jemalloc reads that before it returns.
    let code = unsafe {
        let (none, nothing) = (std::ptr::null_mut(), std::ptr::null_mut());
        mallctl(c"background_thread".as_ptr(), none, nothing, (&raw mut on).cast(), size_of::<bool>())
    };
    if code != 0 {
        tracing::debug!(code, "freed memory is given back more slowly");
    }
}

fn main() -> ExitCode {
    if start::is_spawner() {
        return blufio_sandbox::run_spawner();
    }
    redact::install_panic_hook();
    let code = cli::run(start::before_threads());
    if std::io::stdout().flush().is_err() {
        // Whoever read it is gone.
    }
    blufio_sandbox::end_process(code)
}
