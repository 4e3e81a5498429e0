//! The machine the node is on: what it has and what it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use k8s_openapi::api::core::v1::NodeSystemInfo;
use nix::sys::statvfs::statvfs;

use super::image::manifest::Platform;

/// How many pods a node takes.
const PODS: u32 = 110;

/// Facts that do not change while the node runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    cpus: usize,
    memory_kib: u64,
    disk_bytes: u64,
    kernel: String,
    os_image: String,
    machine_id: String,
    boot_id: String,
}

impl Machine {
    /// Reads them; what cannot be read is left out. `directory` is where pods write.
    pub(super) fn read(directory: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let line = |path: &str| text(path).trim().to_owned();
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_kib: memory(&text("/proc/meminfo")).unwrap_or(0),
            disk_bytes: statvfs(directory).map_or(0, |disk| disk.blocks() * disk.fragment_size()),
            kernel: line("/proc/sys/kernel/osrelease"),
            os_image: os_name(&text("/etc/os-release")).unwrap_or_else(|| "Linux".to_owned()),
            machine_id: line("/etc/machine-id"),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
        }
    }

    /// Capacity by resource; all of it may be used by pods.
    pub(super) fn resources(&self) -> BTreeMap<String, String> {
        let entries = [
            ("cpu", self.cpus.to_string()),
            ("memory", format!("{}Ki", self.memory_kib)),
            ("ephemeral-storage", self.disk_bytes.to_string()),
            ("pods", PODS.to_string()),
        ];
        entries.into_iter().map(|(name, amount)| (name.to_owned(), amount)).collect()
    }

    /// `status.nodeInfo`
    pub(super) fn info(&self, version: &str) -> NodeSystemInfo {
        let Platform { os, architecture } = Platform::native();
        NodeSystemInfo {
            architecture,
            boot_id: self.boot_id.clone(),
            container_runtime_version: format!("slipway://{}", env!("CARGO_PKG_VERSION")),
            kernel_version: self.kernel.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: version.to_owned(),
            machine_id: self.machine_id.clone(),
            operating_system: os,
            os_image: self.os_image.clone(),
            system_uuid: self.machine_id.clone(),
            ..NodeSystemInfo::default()
        }
    }
}

fn memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn os_name(os_release: &str) -> Option<String> {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_what_the_machine_says() {
        assert_eq!(memory("MemTotal:       16316412 kB\nMemFree: 1 kB\n"), Some(16_316_412));
        let name = os_name("NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
        assert_eq!(name.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
    }
}
