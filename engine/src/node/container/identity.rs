//! As whom a container runs: security context, the image's user, and the accounts the image knows.

use k8s_openapi::api::core::v1::{Pod, SecurityContext};

use crate::node::pod::status::full_name;
use crate::node::sandbox::capability;

/// `/etc/passwd` and `/etc/group` of an image; empty where it has none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    /// `/etc/passwd`
    pub passwd: String,
    /// `/etc/group`
    pub group: String,
}

/// Ids and powers of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Numbers of its capabilities.
    pub capabilities: Vec<u8>,
    /// It can gain no privileges.
    pub no_new_privileges: bool,
    /// It may do anything.
    pub privileged: bool,
}

/// Decides as whom a container runs. The error is the message of `CreateContainerConfigError`.
pub(crate) fn identity(
    pod: &Pod,
    container: &str,
    own: &SecurityContext,
    image_user: &str,
    accounts: &Accounts,
) -> Result<Identity, String> {
    let shared = pod.spec.as_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default();
    let chosen_user = own.run_as_user.or(shared.run_as_user);
    let chosen_group = own.run_as_group.or(shared.run_as_group);
    let (user, group) = image_user.split_once(':').unwrap_or((image_user, ""));
    if own.run_as_non_root.or(shared.run_as_non_root) == Some(true) {
        verify_not_root(pod, container, chosen_user, user)?;
    }
    let id = |id: i64| u32::try_from(id).map_err(|_| format!("{id} is not a user or group id"));
    let (uid, account) = match chosen_user {
        Some(chosen) => (id(chosen)?, accounts.by_id(id(chosen)?)),
        None if user.is_empty() => (0, accounts.by_id(0)),
        None => match user.parse() {
            Ok(uid) => (uid, accounts.by_id(uid)),
            Err(_) => {
                let account = accounts.by_name(user);
                let unknown = || format!("unable to find user {user}: no matching entries in passwd file");
                (account.as_ref().ok_or_else(unknown)?.uid, account)
            }
        },
    };
    let gid = match (chosen_group, chosen_user, group) {
        (Some(group), _, _) => id(group)?,
        // The image's group belongs to the image's user.
        (None, None, group) if !group.is_empty() => accounts.group_id(group)?,
        _ => account.as_ref().map_or(0, |account| account.gid),
    };
    let merge = shared.supplemental_groups_policy.as_deref() != Some("Strict");
    let from_image = account.iter().filter(|_| merge).flat_map(|account| accounts.groups_of(&account.name));
    let wanted = shared.supplemental_groups.iter().flatten().chain(&shared.fs_group);
    let mut groups: Vec<u32> = wanted.map(|group| id(*group)).collect::<Result<_, _>>()?;
    groups.extend(from_image);
    groups.sort_unstable();
    groups.dedup();
    let capabilities = own.capabilities.clone().unwrap_or_default();
    let privileged = own.privileged == Some(true);
    Ok(Identity {
        uid,
        gid,
        groups,
        capabilities: capability::granted(
            privileged,
            capabilities.add.as_deref().unwrap_or_default(),
            capabilities.drop.as_deref().unwrap_or_default(),
        )?,
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        privileged,
    })
}

fn verify_not_root(pod: &Pod, container: &str, chosen: Option<i64>, user: &str) -> Result<(), String> {
    let place = || format!("(pod: {:?}, container: {container})", full_name(pod));
    match (chosen, user.parse::<u32>()) {
        (Some(0), _) => Err(format!("container's runAsUser breaks non-root policy {}", place())),
        (Some(_), _) => Ok(()),
        (None, Ok(uid)) if uid != 0 => Ok(()),
        (None, Err(_)) if !user.is_empty() => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root {}",
            place()
        )),
        (None, _) => Err(format!("container has runAsNonRoot and image will run as root {}", place())),
    }
}

struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Accounts {
    fn all(&self) -> impl Iterator<Item = Account> {
        self.passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _password, uid, gid) =
                (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            Some(Account { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()? })
        })
    }

    fn by_id(&self, uid: u32) -> Option<Account> {
        self.all().find(|account| account.uid == uid)
    }

    fn by_name(&self, name: &str) -> Option<Account> {
        self.all().find(|account| account.name == name)
    }

    /// Name, id and members of each group.
    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _password, gid) = (fields.next()?, fields.next()?, fields.next()?);
            Some((name, gid.parse().ok()?, fields.next().unwrap_or_default()))
        })
    }

    fn group_id(&self, group: &str) -> Result<u32, String> {
        let named = || self.groups().find(|(name, _, _)| *name == group).map(|(_, gid, _)| gid);
        group
            .parse()
            .ok()
            .or_else(named)
            .ok_or_else(|| format!("unable to find group {group}: no matching entries in group file"))
    }

    fn groups_of(&self, user: &str) -> Vec<u32> {
        self.groups()
            .filter(|(_, _, members)| members.split(',').any(|member| member == user))
            .map(|(_, gid, _)| gid)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn decide(pod: Value, own: Value, image_user: &str) -> Result<Identity, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"containers": [], "securityContext": pod},
        }))
        .unwrap();
        let accounts = Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/app:\n".to_owned(),
            group: "root:x:0:\nstaff:x:50:app,other\nlog:x:4:other\n".to_owned(),
        };
        identity(&pod, "c", &serde_json::from_value(own).unwrap(), image_user, &accounts)
    }

    #[test]
    fn users_come_from_the_container_then_the_pod_then_the_image() {
        for (pod, own, image, expected) in [
            (json!({}), json!({}), "", (0, 0, vec![])),
            (json!({}), json!({}), "65532", (65532, 0, vec![])),
            (json!({}), json!({}), "app", (1000, 1001, vec![50])),
            (json!({}), json!({}), "app:staff", (1000, 50, vec![50])),
            (json!({}), json!({}), "1000:7", (1000, 7, vec![50])),
            (json!({"runAsUser": 5}), json!({}), "app:staff", (5, 0, vec![])),
            (json!({"runAsUser": 5, "runAsGroup": 6}), json!({"runAsUser": 7}), "app", (7, 6, vec![])),
            (
                json!({"runAsUser": 1000, "fsGroup": 9, "supplementalGroups": [8]}),
                json!({}),
                "",
                (1000, 1001, vec![8, 9, 50]),
            ),
            (
                json!({"runAsUser": 1000, "supplementalGroupsPolicy": "Strict"}),
                json!({}),
                "",
                (1000, 1001, vec![]),
            ),
        ] {
            let identity = decide(pod.clone(), own.clone(), image).unwrap();
            assert_eq!((identity.uid, identity.gid, identity.groups), expected, "{pod} {own} {image}");
        }
    }

    #[test]
    fn root_is_refused_where_it_must_not_be() {
        let place = "(pod: \"p_ns(u)\", container: c)";
        for (own, image, expected) in [
            (json!({"runAsUser": 1}), "", None),
            (json!({}), "65532:65532", None),
            (json!({"runAsUser": 0}), "1", Some("container's runAsUser breaks non-root policy")),
            (json!({}), "", Some("container has runAsNonRoot and image will run as root")),
            (json!({}), "0", Some("container has runAsNonRoot and image will run as root")),
            (
                json!({}),
                "app",
                Some(
                    "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root",
                ),
            ),
        ] {
            let refused = decide(json!({"runAsNonRoot": true}), own, image).err();
            assert_eq!(refused, expected.map(|text| format!("{text} {place}")));
        }
    }

    #[test]
    fn unknown_names_are_errors() {
        for (own, image, expected) in [
            (json!({}), "nobody", "unable to find user nobody: no matching entries in passwd file"),
            (json!({}), "app:x", "unable to find group x: no matching entries in group file"),
            (json!({"capabilities": {"add": ["FLY"]}}), "", "unknown capability \"FLY\""),
        ] {
            assert_eq!(decide(json!({}), own, image).unwrap_err(), expected);
        }
    }
}
