//! The compiler's own sources: installed with it, else Debian's package of exactly its version, unpacked privately.

use std::fs;
use std::path::{Path, PathBuf};

use xshell::cmd;

use super::facts::Compiler;
use super::prepare::{PrepareError, Steps, io_error};

/// Where Debian keeps newer compilers than its release has.
const SUITES: [&str; 4] = ["trixie-backports", "trixie", "forky", "sid"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The directory with `library/std` in it. `cache` keeps the package, `work` holds what is unpacked.
pub(super) fn find(
    steps: &Steps<'_>,
    compiler: &Compiler,
    cache: &Path,
    work: &Path,
) -> Result<PathBuf, PrepareError> {
    if compiler.has_sources {
        return Ok(compiler.sysroot.join("lib/rustlib/src/rust"));
    }
    let package = match cached(cache, &compiler.version) {
        Some(package) => package,
        None => fetch(steps, compiler, cache, work)?,
    };
    let unpacked = work.join("sources");
    let shell = steps.shell()?;
    steps.run(cmd!(shell, "dpkg-deb --extract {package} {unpacked}"))?;
    let sources = unpacked.join("usr/src").join(format!("rustc-{}", compiler.version));
    match sources.join("library/std").is_dir() {
        true => Ok(sources),
        false => Err(PrepareError::Sources {
            version: compiler.version.clone(),
            problem: format!("they are not where they should be in {}", package.display()),
        }),
    }
}

fn cached(cache: &Path, version: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(cache).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_package = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&format!("rust-src_{version}")) && name.ends_with(".deb")
    };
    entries.filter(is_package).max()
}

/// Downloads with apt's own checks of signatures, but with lists and state of its own.
fn fetch(steps: &Steps<'_>, compiler: &Compiler, cache: &Path, work: &Path) -> Result<PathBuf, PrepareError> {
    let version = &compiler.version;
    let unavailable = |problem: String| PrepareError::Sources { version: version.clone(), problem };
    fs::create_dir_all(cache).map_err(io_error("make the directory", cache))?;
    let apt = work.join("apt");
    for part in ["lists/partial", "cache/archives/partial", "state"] {
        let path = apt.join(part);
        fs::create_dir_all(&path).map_err(io_error("make the directory", &path))?;
    }
    let shell = steps.shell()?;
    let uri = steps.run(cmd!(shell, "apt-get indextargets --format $(REPO_URI)"))?;
    let uri = mirror(&uri).ok_or_else(|| unavailable("apt knows no mirror of Debian".to_string()))?;
    for suite in SUITES {
        let list = apt.join(format!("{suite}.list"));
        let source = format!("deb [signed-by={KEYRING}] {uri} {suite} main\n");
        fs::write(&list, source).map_err(io_error("write", &list))?;
        let options = [
            format!("Dir::Etc::SourceList={}", list.display()),
            "Dir::Etc::SourceParts=-".to_string(),
            "Acquire::Languages=none".to_string(),
            format!("Dir::State={}", apt.join("state").display()),
            format!("Dir::State::Lists={}", apt.join("lists").display()),
            format!("Dir::Cache={}", apt.join("cache").display()),
        ];
        let options: Vec<&str> = options.iter().flat_map(|option| ["-o", option.as_str()]).collect();
        let options = options.as_slice();
        // A suite this mirror does not have is no reason to give up.
        if steps.run(cmd!(shell, "apt-get {options...} update")).is_err() {
            continue;
        }
        let known = steps.run(cmd!(shell, "apt-cache {options...} madison rust-src"))?;
        let Some(exact) = package_version(&known, version) else { continue };
        shell.change_dir(cache);
        steps.run(cmd!(shell, "apt-get {options...} download rust-src={exact}"))?;
        return cached(cache, version).ok_or_else(|| unavailable("the download left no package".to_string()));
    }
    Err(unavailable(format!("Debian has them in none of {}", SUITES.join(", "))))
}

/// The mirror of Debian this machine uses; not that of its security updates.
fn mirror(uris: &str) -> Option<&str> {
    uris.lines().map(str::trim).find(|uri| uri.trim_end_matches('/').ends_with("/debian"))
}

/// The package of a compiler's version in apt's table `rust-src | 1.95.0+dfsg1-2~bpo13+1 | …`.
fn package_version(table: &str, version: &str) -> Option<String> {
    let versions = table.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim);
    let mut exact = versions.filter(|found| found.split(['+', '-', '~']).next() == Some(version));
    exact.next().map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_compilers_version_is_taken() {
        let table = " rust-src | 1.96.1+dfsg1-2~bpo13+1 | http://x trixie-backports/main amd64 Packages\n \
                     rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://x trixie-backports/main amd64 Packages\n";
        assert_eq!(package_version(table, "1.95.0").as_deref(), Some("1.95.0+dfsg1-2~bpo13+1"));
        assert_eq!(package_version(table, "1.95.1"), None);
        assert_eq!(package_version("", "1.95.0"), None);
    }

    #[test]
    fn the_mirror_is_the_machines_own() {
        let uris = "http://mirror.example/debian-security/\nhttp://mirror.example/debian/\nhttps://other.example/deb/\n";
        assert_eq!(mirror(uris), Some("http://mirror.example/debian/"));
        assert_eq!(mirror(""), None);
    }

    #[test]
    fn a_package_of_another_version_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("rust-src_1.95.0+dfsg1_all.deb"), "").unwrap();
        assert!(cached(dir.path(), "1.95.0").is_some());
        assert!(cached(dir.path(), "1.96.0").is_none());
        assert!(cached(Path::new("/nowhere"), "1.95.0").is_none());
    }
}
