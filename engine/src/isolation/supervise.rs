//! The two small processes around the engine: the one the user started, and PID 1 of the new PID namespace.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe2, setsid};

use super::refusal::{IsolationError, Step};
use super::refuse;

/// Signals that are passed inwards.
const FORWARDED: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// Blocks what [`relay`] waits for, so that nothing is lost between the forks; returns the mask to give the engine.
pub(super) fn hold_signals() -> Result<SigSet, Errno> {
    let mut previous = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&relayed()), Some(&mut previous))?;
    Ok(previous)
}

/// Forks the process that becomes PID 1 of the new namespace and returns in it; the caller's process stays behind as the
/// outer one and never returns.
pub(super) fn outer() -> Result<(), IsolationError> {
    let (alive, held) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| refuse(Step::Fork, errno))?;
    // SAFETY: the process has one thread, as `enter` requires.
    match unsafe { fork() }.map_err(|errno| refuse(Step::Fork, errno))? {
        ForkResult::Parent { child } => {
            drop(alive);
            relay(child)
        }
        ForkResult::Child => {
            drop(held);
            die_with_parent(&alive);
            // Away from the terminal's process group: Ctrl-C reaches the engine once, through the outer process.
            let _already_leader = setsid();
            Ok(())
        }
    }
}

/// Forks the engine from PID 1 and returns in it; PID 1 stays behind, reaps orphans and never returns.
pub(super) fn init(mask: &SigSet) -> Result<(), IsolationError> {
    // SAFETY: the process has one thread, as `enter` requires.
    match unsafe { fork() }.map_err(|errno| refuse(Step::Fork, errno))? {
        ForkResult::Parent { child } => relay(child),
        ForkResult::Child => sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), None)
            .map_err(|errno| refuse(Step::Signals, errno)),
    }
}

/// Asks the kernel to kill this process when its parent dies, and makes sure the parent has not died before that.
fn die_with_parent(alive: &OwnedFd) {
    let armed = prctl::set_pdeathsig(Signal::SIGKILL);
    let mut watched = [PollFd::new(alive.as_fd(), PollFlags::POLLIN)];
    let gone = poll(&mut watched, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
    if armed.is_err() || gone {
        exit(1);
    }
}

/// Passes signals on to `child`, reaps whatever ends, and exits with the child's code when it does.
fn relay(child: Pid) -> ! {
    let signals = relayed();
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => reap_until(child),
            // The child may be ending this instant; SIGCHLD follows then.
            Ok(signal) => drop(kill(child, signal)),
            Err(_interrupted) => {}
        }
    }
}

/// Reaps every ended child; exits when `child` is among them.
fn reap_until(child: Pid) {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => exit(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => exit(128 + signal as i32),
            Ok(WaitStatus::StillAlive) => return,
            Ok(_other) => {}
            Err(Errno::ECHILD) => exit(1),
            Err(_interrupted) => return,
        }
    }
}

fn relayed() -> SigSet {
    let mut set: SigSet = FORWARDED.into_iter().collect();
    set.add(Signal::SIGCHLD);
    set
}

/// Ends the process without running destructors or exit handlers: they belong to the engine.
fn exit(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}
