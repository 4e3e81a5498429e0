//! Puts the engine into namespaces of its own, so that the kernel removes everything it made when it dies.
//!
//! Three processes come out of [`enter`]: the *outer* one the user started (it forwards signals and passes on the exit
//! code), *init*, PID 1 of the new PID namespace (it reaps orphans), and the *engine*, the only one in which `enter`
//! returns. Killing any of them ends the other two, every pod process, every mount and every interface.

mod namespaces;
mod refusal;
mod supervise;

pub(crate) use namespaces::loopback_up;
use nix::sched::{CloneFlags, unshare};
use tokio::runtime::Handle;

pub use refusal::IsolationError;
use refusal::{Facts, Step};

/// The part of the engine that stayed in the host's network namespace.
#[derive(Debug, Clone)]
pub struct HostSide {
    /// A one-thread runtime: sockets made by tasks spawned here are the host's sockets. Blocking work must be started
    /// from inside such a task, because a thread inherits the network of the thread that starts it.
    pub handle: Handle,
}

impl HostSide {
    /// The runtime of the caller, for a process that did not isolate itself: host and node networks are then the same.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`Handle::current`] does.
    pub fn current() -> Self {
        Self { handle: Handle::current() }
    }
}

/// Isolates the process. Must be the first thing `main` does, before any thread exists.
///
/// It returns in the engine process only, in fresh (user,) PID, mount and network namespaces with `/proc` of its own and
/// the loopback interface up; the other two processes live and exit inside the call.
///
/// # Errors
/// [`IsolationError`] names the namespace the machine refused and what would allow it.
pub fn enter() -> Result<HostSide, IsolationError> {
    let mask = supervise::hold_signals().map_err(|errno| refuse(Step::Signals, errno))?;
    namespaces::unshare_pid()?;
    supervise::outer()?;
    namespaces::private_mounts()?;
    supervise::init(&mask)?;
    let host = host_side()?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| refuse(Step::Network, errno))?;
    loopback_up().map_err(|errno| refuse(Step::Loopback, errno))?;
    Ok(host)
}

/// Starts the thread that stays behind in the host's network.
fn host_side() -> Result<HostSide, IsolationError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| IsolationError::HostSide { source })?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("host-side".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .map_err(|source| IsolationError::HostSide { source })?;
    Ok(HostSide { handle })
}

fn refuse(step: Step, errno: nix::errno::Errno) -> IsolationError {
    IsolationError::refused(step, errno, &Facts::read())
}
