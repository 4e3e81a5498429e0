//! From a container's specification and its image to the process that is started. All of it is pure.
//!
//! Of the security context these are applied: users and groups, `runAsNonRoot`, `privileged`, capabilities,
//! `readOnlyRootFilesystem`, `allowPrivilegeEscalation`. Accepted and not applied: seccomp and AppArmor profiles, SELinux labels,
//! `procMount`, sysctls, `hostPID`, `hostIPC`, host ports.

pub(crate) mod command;
pub(crate) mod environment;
pub(crate) mod field;
pub(crate) mod files;
pub(crate) mod identity;
