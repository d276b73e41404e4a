//! The calls into the C library that have no safe form anywhere: forking, executing by handle, closing what was inherited.
//! The one module of this crate with `unsafe`; it decides nothing.
#![expect(unsafe_code, reason = "system calls without a safe wrapper; each block says why it holds")]

use rustix::process::Pid;
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Which side of a fork this is.
pub enum Forked {
    /// The one that called.
    Parent(Pid),
    /// The new one.
    Child,
}

/// Makes a copy of this process. Only for the spawner and its keepers, which have one thread.
pub fn fork() -> io::Result<Forked> {
    // SAFETY: this process has a single thread (it is the spawner or a keeper), so no lock is held by a thread that the
    // child does not have; nothing else is asked of the caller.
    match unsafe { libc::fork() } {
        0 => Ok(Forked::Child),
        pid => Pid::from_raw(pid).filter(|_| pid > 0).map(Forked::Parent).ok_or_else(io::Error::last_os_error),
    }
}

/// Becomes the program behind a handle; returns only if that fails.
pub fn execute(program: BorrowedFd<'_>, argv: &[CString], env: &[CString]) -> Result<Infallible, io::Error> {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    let empty: &CStr = c"";
    // SAFETY: the two lists end in null and hold pointers to texts that live until the call is over; the empty path with
    // AT_EMPTY_PATH names the handle itself.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            empty.as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    Err(io::Error::last_os_error())
}

/// Closes every handle from 3 on as soon as a program is executed.
pub fn close_on_exec_from_3() -> io::Result<()> {
    // SAFETY: no handle is closed now, so none that Rust owns changes under it.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A closed pipe ends a program again, as every program expects; Rust ignores that signal and children inherit it.
pub fn default_sigpipe() {
    // SAFETY: no handler is installed, only the default action put back.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Ends this process at once, without running anything that the process it was copied from registered for its end.
pub fn exit(code: i32) -> ! {
    // SAFETY: takes no memory and does not return.
    unsafe { libc::_exit(code) }
}

/// The version of the kernel's Landlock, 1 or more.
pub fn landlock_abi() -> Option<u32> {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the kernel takes no structure and only answers its version.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0_usize, VERSION) };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// Gives the pages of this program back that are as they are in its file; each is mapped again when it is used.
pub fn unmap_unchanged_program() {
    // SAFETY: the kernel tells where the headers of this program are and how many, and they stay mapped. What is given back
    // lies whole in segments that are never written: the next access finds the same bytes.
    unsafe {
        let headers = libc::getauxval(libc::AT_PHDR) as *const libc::Elf64_Phdr;
        let count = usize::try_from(libc::getauxval(libc::AT_PHNUM)).unwrap_or(0);
        if headers.is_null() {
            return;
        }
        let page = usize::try_from(libc::getauxval(libc::AT_PAGESZ)).unwrap_or(0).max(1);
        let segments = std::slice::from_raw_parts(headers, count);
        let Some(own) = segments.iter().find(|segment| segment.p_type == libc::PT_PHDR) else { return };
        let base = (headers as usize).wrapping_sub(own.p_vaddr as usize);
        for segment in segments.iter().filter(|one| one.p_type == libc::PT_LOAD && one.p_flags & libc::PF_W == 0) {
            let start = base.wrapping_add(segment.p_vaddr as usize).next_multiple_of(page);
            let end = base.wrapping_add((segment.p_vaddr + segment.p_filesz) as usize) / page * page;
            if start < end {
                libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED);
            }
        }
    }
}
