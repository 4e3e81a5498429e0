//! Lets this test binary play another program: what a test starts as a separate, single-threaded process, and what runs
//! inside the containers of a test.
//!
//! The test harness starts threads before any test runs, so a role is taken before `main`, from the binary's list of
//! initialisers.

use std::ffi::{CStr, c_char, c_int};

use engine::node::sandbox::entry;

/// First argument of a process that plays a role; the role's name and its arguments follow.
pub const ROLE: &str = "__role";

#[used]
#[unsafe(link_section = ".init_array")]
static TAKE: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = take;

extern "C" fn take(count: c_int, arguments: *const *const c_char, _environment: *const *const c_char) {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: the C library passes `main`'s arguments to initialisers: `count` pointers to terminated strings.
    let arguments: Vec<String> = unsafe {
        (0..count).map(|index| CStr::from_ptr(*arguments.add(index)).to_string_lossy().into_owned()).collect()
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [_, ROLE, "isolated", ..] => crate::isolation::role(),
        [_, ROLE, "program", commands @ ..] => crate::node::program::role(commands),
        // What the engine's own binary does when it starts itself again.
        [_, entry::ARGUMENT] => {
            entry::run();
            // Nothing of the test harness is to run in this process.
            std::process::exit(0)
        }
        _ => {}
    }
}
