//! Linux capabilities: their names and the set a container has by default.

/// Names without the `CAP_` prefix; the index is the kernel's number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What container runtimes grant when nothing is said.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// How many capabilities this table knows.
pub const COUNT: usize = NAMES.len();

/// The capabilities of a container: the default set, without `drop`, with `add`; all of them when privileged. `ALL` works in
/// both lists, and an unknown name is returned as the error.
pub fn granted(privileged: bool, add: &[String], drop: &[String]) -> Result<Vec<u8>, String> {
    if privileged {
        return Ok((0..COUNT).filter_map(|number| u8::try_from(number).ok()).collect());
    }
    let mut set = [false; COUNT];
    for name in DEFAULT {
        mark(&mut set, name, true)?;
    }
    // An added capability wins over a dropped `ALL`, as in every runtime.
    for name in drop {
        mark(&mut set, name, false)?;
    }
    for name in add {
        mark(&mut set, name, true)?;
    }
    Ok((0..).zip(set).filter_map(|(number, granted)| granted.then_some(number)).collect())
}

fn mark(set: &mut [bool; COUNT], name: &str, granted: bool) -> Result<(), String> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if short == "ALL" {
        set.fill(granted);
        return Ok(());
    }
    let found = NAMES.iter().zip(set).find(|(known, _)| **known == short);
    let (_, slot) = found.ok_or_else(|| format!("unknown capability {name:?}"))?;
    *slot = granted;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn dropping_all_leaves_only_what_is_added() {
        assert_eq!(granted(false, &[], &list(&["ALL"])), Ok(vec![]));
        assert_eq!(granted(false, &list(&["NET_BIND_SERVICE"]), &list(&["all"])), Ok(vec![10]));
        assert_eq!(granted(false, &list(&["CAP_SYS_ADMIN"]), &list(&["ALL"])), Ok(vec![21]));
    }

    #[test]
    fn the_default_set_is_that_of_the_field() {
        let default = granted(false, &[], &[]).unwrap();
        assert_eq!(default, [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31]);
        assert_eq!(granted(true, &[], &[]).unwrap().len(), COUNT);
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert_eq!(granted(false, &list(&["FLY"]), &[]), Err("unknown capability \"FLY\"".to_owned()));
    }
}
