//! Starting processes without copying this one.
//!
//! The standard library uses `posix_spawn` only when the program has two functions of glibc that it asks for weakly, and a static program
//! has of glibc what it names. Otherwise it forks, which copies the page tables of all that is in memory here: milliseconds for each program
//! that is started.

use std::ffi::{c_char, c_int};

use nix::libc::{
    gnu_get_libc_version, posix_spawn_file_actions_addchdir_np as addchdir, posix_spawn_file_actions_t,
};

#[used]
static VERSION: unsafe extern "C" fn() -> *const c_char = gnu_get_libc_version;

#[used]
static DIRECTORY: unsafe extern "C" fn(*mut posix_spawn_file_actions_t, *const c_char) -> c_int = addchdir;
