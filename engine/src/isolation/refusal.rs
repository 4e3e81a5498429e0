//! Why a machine refused to isolate the engine, and what would allow it.

use std::fmt;
use std::fs;
use std::io;

use nix::errno::Errno;

/// The machine refused a step of the isolation.
#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    /// A system call failed.
    #[error("isolating the engine: {step}: {errno}\nhint: {hint}")]
    Refused {
        /// What was attempted.
        step: Step,
        /// The kernel's answer.
        errno: Errno,
        /// What is missing and how to get it.
        hint: String,
    },
    /// The runtime on the host's side of the network could not start.
    #[error("isolating the engine: starting the thread that keeps the host's network")]
    HostSide {
        /// The cause.
        source: io::Error,
    },
}

impl IsolationError {
    pub(super) fn refused(step: Step, errno: Errno, facts: &Facts) -> Self {
        Self::Refused { step, errno, hint: hint(step, errno, facts) }
    }
}

/// A step of the isolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Blocking the signals that are forwarded.
    Signals,
    /// `unshare(CLONE_NEWUSER)`.
    User,
    /// Writing the id maps of the user namespace.
    UserMap,
    /// `unshare(CLONE_NEWPID)`.
    Pid,
    /// `fork`.
    Fork,
    /// `unshare(CLONE_NEWNS)`.
    Mount,
    /// Making every mount private.
    PrivateMounts,
    /// Mounting `/proc` of the new PID namespace.
    Proc,
    /// `unshare(CLONE_NEWNET)`.
    Network,
    /// Bringing the loopback interface up.
    Loopback,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Signals => "blocking signals",
            Self::User => "creating a user namespace",
            Self::UserMap => "mapping the user into its namespace",
            Self::Pid => "creating a PID namespace",
            Self::Fork => "starting a process in the new namespaces",
            Self::Mount => "creating a mount namespace",
            Self::PrivateMounts => "making mounts private",
            Self::Proc => "mounting a fresh /proc",
            Self::Network => "creating a network namespace",
            Self::Loopback => "bringing the loopback interface up",
        })
    }
}

/// What the machine says about namespaces.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// `user.max_user_namespaces`
    pub max_user_namespaces: Option<u64>,
    /// `kernel.unprivileged_userns_clone` (Debian)
    pub unprivileged_userns_clone: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns` (Ubuntu)
    pub apparmor_restrict_userns: Option<u64>,
    /// The process has CAP_SYS_ADMIN where it stands.
    pub cap_sys_admin: bool,
}

impl Facts {
    pub(super) fn read() -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
        Self {
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            unprivileged_userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restrict_userns: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            cap_sys_admin: fs::read_to_string("/proc/self/status")
                .is_ok_and(|status| has_cap_sys_admin(&status)),
        }
    }
}

fn has_cap_sys_admin(status: &str) -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << CAP_SYS_ADMIN) != 0)
}

fn hint(step: Step, errno: Errno, facts: &Facts) -> String {
    if facts.unprivileged_userns_clone == Some(0) {
        return "user namespaces are disabled: run as root, or `sysctl -w kernel.unprivileged_userns_clone=1`".to_owned();
    }
    if facts.max_user_namespaces == Some(0) {
        return "user namespaces are disabled: run as root, or `sysctl -w user.max_user_namespaces=10000`"
            .to_owned();
    }
    if facts.apparmor_restrict_userns == Some(1) && !facts.cap_sys_admin {
        return "AppArmor takes the rights of user namespaces away: run as root, or \
                `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
            .to_owned();
    }
    match (step, errno) {
        (Step::Proc, _) => "the surrounding container masks parts of /proc: start it with `--privileged` or \
                            `--security-opt systempaths=unconfined`"
            .to_owned(),
        (_, Errno::ENOSPC | Errno::EUSERS) => {
            "too many namespaces exist: raise the limits in /proc/sys/user/max_*_namespaces".to_owned()
        }
        (_, Errno::EINVAL | Errno::ENOSYS) => {
            "the kernel was built without this namespace; Linux 5.11 or later with CONFIG_NAMESPACES is needed".to_owned()
        }
        (_, Errno::EPERM | Errno::EACCES) if !facts.cap_sys_admin => {
            "neither CAP_SYS_ADMIN nor a user namespace is available: run as root, or in a container with \
             `--cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined`"
                .to_owned()
        }
        _ => "the engine needs Linux with root or user namespaces".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(step: Step, errno: Errno, facts: &Facts) -> String {
        IsolationError::refused(step, errno, facts).to_string()
    }

    #[test]
    fn a_disabled_sysctl_is_named() {
        let debian = Facts { unprivileged_userns_clone: Some(0), ..Facts::default() };
        assert!(said(Step::User, Errno::EPERM, &debian).contains("kernel.unprivileged_userns_clone=1"));
        let limit = Facts { max_user_namespaces: Some(0), ..Facts::default() };
        assert!(said(Step::User, Errno::ENOSPC, &limit).contains("user.max_user_namespaces"));
        let ubuntu = Facts { apparmor_restrict_userns: Some(1), ..Facts::default() };
        assert!(said(Step::Mount, Errno::EPERM, &ubuntu).contains("apparmor_restrict_unprivileged_userns=0"));
    }

    #[test]
    fn a_missing_capability_is_named_together_with_the_step() {
        let message = said(Step::User, Errno::EPERM, &Facts::default());
        assert!(message.contains("creating a user namespace"), "{message}");
        assert!(message.contains("CAP_SYS_ADMIN"), "{message}");
    }

    #[test]
    fn a_masked_proc_is_explained() {
        let message = said(Step::Proc, Errno::EPERM, &Facts { cap_sys_admin: true, ..Facts::default() });
        assert!(message.contains("systempaths=unconfined"), "{message}");
    }

    #[test]
    fn the_effective_set_decides_about_cap_sys_admin() {
        assert!(has_cap_sys_admin("Name:\tx\nCapPrm:\t0\nCapEff:\t000001fffeffffff\n"));
        assert!(!has_cap_sys_admin("CapPrm:\t000001ffffffffff\nCapEff:\t0000000000000000\n"));
    }
}
