//! Why kind could not bring a cluster up: known causes, each with what it looks like and what helps.
//!
//! kind itself says what it waited for in vain; the reason is in the logs of the node, which are collected when it fails.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::Cause;

/// Read of each log, from its end: the last thing that went wrong is the reason.
const TAIL: usize = 1 << 20;
/// Logs that are read at most; a cluster of many nodes has the same trouble on each.
const LOGS: usize = 64;

/// Lines of kind that are shown when none says what went wrong.
const LAST_LINES: usize = 10;

/// A cause, and what shows it: in what kind says or in a log of the node, all of the signs on one line.
struct Known {
    signs: &'static [&'static str],
    cause: Cause,
}

const KNOWN: &[Known] = &[
    Known {
        signs: &["kubelet", "cgroup v1"],
        cause: Cause {
            what: "the kubelet refuses this machine, which has cgroup v1",
            hint: "boot it with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or add to kind/cluster.yaml: \
               kubeadmConfigPatches: [\"{kind: KubeletConfiguration, failCgroupV1: false}\"]",
        },
    },
    Known {
        signs: &["can't get final child's PID from pipe"],
        cause: Cause {
            what: "no container starts in the node, since processes may not lower their OOM score here",
            hint: "give the container engine CAP_SYS_RESOURCE, or add to kind/cluster.yaml: containerdConfigPatches: \
               [\"[plugins.\\\"io.containerd.grpc.v1.cri\\\"]\\nrestrict_oom_score_adj = true\"]",
        },
    },
    Known {
        signs: &["too many open files"],
        cause: Cause {
            what: "the machine has too few inotify instances or open files for a node",
            hint: "sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288",
        },
    },
    Known {
        signs: &["no space left on device"],
        cause: Cause {
            what: "the disk of the container engine is full",
            hint: "docker system prune, then try again",
        },
    },
    Known {
        signs: &["failed to pull image"],
        cause: Cause {
            what: "the node image cannot be pulled",
            hint: "load it (docker load), or name one that is at hand as `image` of each node in kind/cluster.yaml",
        },
    },
    Known {
        signs: &["address already in use"],
        cause: Cause {
            what: "a port the cluster wants on this machine is taken",
            hint: "change `hostPort` or `apiServerPort` in kind/cluster.yaml, or end what listens there (ss -ltnp)",
        },
    },
    Known {
        signs: &["port is already allocated"],
        cause: Cause {
            what: "a port the cluster wants on this machine is taken by another container",
            hint: "change `hostPort` or `apiServerPort` in kind/cluster.yaml, or end that container (docker ps)",
        },
    },
];

/// The first known cause in what kind said, else in the logs.
pub(super) fn cause(said: &str, logs: Option<&Path>) -> Option<Cause> {
    find(said).or_else(|| logs.into_iter().flat_map(files).find_map(|file| find(&tail(&file))))
}

/// What kind said, without its progress and the hundreds of lines of kubeadm it repeats; its last lines if nothing in it is an error.
pub(super) fn essence(said: &str) -> String {
    let is_error = |line: &&str| {
        ["ERROR: ", "error: ", "[ERROR "].iter().any(|sign| line.trim_start().starts_with(sign))
    };
    let errors: Vec<&str> = said.lines().filter(is_error).collect();
    let last = said.lines().count().saturating_sub(LAST_LINES);
    if errors.is_empty() { said.lines().skip(last).collect::<Vec<_>>().join("\n") } else { errors.join("\n") }
}

fn find(text: &str) -> Option<Cause> {
    let shows = |known: &&Known| text.lines().any(|line| known.signs.iter().all(|sign| line.contains(sign)));
    KNOWN.iter().find(shows).map(|known| known.cause)
}

/// The logs of nodes below a folder, those of the kubelet and of containerd first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries(folder)
        .filter(|path| path.is_dir())
        .flat_map(|node| entries(&node).collect::<Vec<_>>())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    let is_first =
        |path: &Path| path.file_stem().is_some_and(|stem| stem == "kubelet" || stem == "containerd");
    files.sort_by_key(|path| (!is_first(path), path.clone()));
    files.truncate(LOGS);
    files
}

fn tail(file: &Path) -> String {
    // A log that cannot be read has no cause in it.
    let bytes = fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL)..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ClusterSpec;

    #[test]
    fn what_kind_says_comes_before_the_logs() {
        let said = "ERROR: failed to create cluster: failed to pull image \"kindest/node:v1\": exit status 1";
        assert_eq!(cause(said, None).unwrap().what, "the node image cannot be pulled");
        assert_eq!(cause("ERROR: failed to create cluster: failed to init node with kubeadm", None), None);
    }

    #[test]
    fn the_reason_is_found_in_the_logs_of_a_node() {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("slipway-control-plane");
        fs::create_dir(&node).unwrap();
        fs::write(node.join("journal.log"), "no space left on device\n").unwrap();
        fs::write(node.join("other.txt"), "too many open files\n").unwrap();
        let found = || cause("ERROR: failed to create cluster", Some(folder.path())).map(|cause| cause.what);
        assert_eq!(found(), Some("the disk of the container engine is full"));
        let line =
            "kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is unsupported";
        fs::write(node.join("kubelet.log"), line).unwrap();
        assert_eq!(found(), Some("the kubelet refuses this machine, which has cgroup v1"));
    }

    #[test]
    fn of_what_kind_says_the_errors_are_shown_else_the_end() {
        let said = "Creating cluster ...\nERROR: failed to create cluster: exit status 1\nI1128 round_trippers.go:632\n\
                    error: wait-control-plane: cannot bootstrap the admin user\ngoroutine 1";
        insta::assert_snapshot!(essence(said), @r"
        ERROR: failed to create cluster: exit status 1
        error: wait-control-plane: cannot bootstrap the admin user
        ");
        let lines: String = (1..=12).map(|number| format!("line {number}\n")).collect();
        assert!(essence(&lines).starts_with("line 3\n") && essence(&lines).ends_with("line 12"));
    }

    /// What a hint says to add is what kind reads: a patch of the kubelet as YAML, one of containerd as TOML.
    #[test]
    fn what_is_to_be_added_to_the_file_can_be_copied_there() {
        let added = |sign: &str| {
            let hint = find(sign).unwrap().hint;
            let line = hint.split_once("kind/cluster.yaml: ").unwrap().1;
            let text = format!("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n{line}\n");
            ClusterSpec::parse(Path::new("kind/cluster.yaml"), &text).unwrap()
        };
        let kubelet = added("kubelet: cgroup v1").kubeadm_config_patches;
        assert_eq!(kubelet, ["{kind: KubeletConfiguration, failCgroupV1: false}"]);
        let containerd = added("can't get final child's PID from pipe").containerd_config_patches;
        assert_eq!(containerd, ["[plugins.\"io.containerd.grpc.v1.cri\"]\nrestrict_oom_score_adj = true"]);
    }

    #[test]
    fn words_of_several_lines_are_no_sign() {
        assert_eq!(cause("the kubelet started\nmounting cgroup v1 hierarchies", None), None);
    }
}
