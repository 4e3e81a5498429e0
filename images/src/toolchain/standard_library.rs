//! The standard library of a target, built once with the compiler that will use it.
//!
//! cargo builds a standard library from sources it finds beside the compiler, so the compiler is given a home of its own for the time of the
//! build: hard links to its files, and the sources. What stays is a sysroot with nothing but the library; every later build is an
//! ordinary one with `--sysroot`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use xshell::cmd;

use super::facts::Compiler;
use super::prepare::{PrepareError, Steps, io_error};
use super::rust_src;
use crate::platform::host_triple;

/// The sysroot of all libraries built for a compiler.
pub(super) fn sysroot(toolchains: &Path, compiler: &Compiler) -> PathBuf {
    toolchains.join(format!("rust-{}", compiler.version)).join("sysroot")
}

/// Where the library of a target is.
pub(super) fn directory(toolchains: &Path, compiler: &Compiler, triple: &str) -> PathBuf {
    sysroot(toolchains, compiler).join("lib/rustlib").join(triple)
}

/// Targets whose library was built.
pub(super) fn built(toolchains: &Path, compiler: &Compiler) -> BTreeSet<String> {
    let rustlib = sysroot(toolchains, compiler).join("lib/rustlib");
    let entries = fs::read_dir(rustlib).into_iter().flatten().filter_map(Result::ok);
    let names = entries.filter(|entry| entry.path().join("lib").is_dir());
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Builds the library of a target, or nothing.
pub(super) fn build(
    steps: &Steps<'_>,
    toolchains: &Path,
    compiler: &Compiler,
    triple: &str,
) -> Result<(), PrepareError> {
    let made = directory(toolchains, compiler, triple);
    let work = steps.staging(&toolchains.join("work"))?;
    let sources = rust_src::find(steps, compiler, &toolchains.join("packages"), work.path())?;
    let home = work.path().join("home");
    furnish(compiler, &sources, &home)?;

    let krate = work.path().join("empty");
    fs::create_dir_all(krate.join("src")).map_err(io_error("make the directory", &krate))?;
    let manifest = "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
    for (file, text) in [("Cargo.toml", manifest), ("src/lib.rs", "#![no_std]\n")] {
        let path = krate.join(file);
        fs::write(&path, text).map_err(io_error("write", &path))?;
    }
    let target = work.path().join("target");
    let shell = steps.shell()?;
    shell.change_dir(&krate);
    let (cargo, rustc) = (home.join("bin/cargo"), home.join("bin/rustc"));
    let source_path = home.join("lib/rustlib/src/rust");
    // Paths in panic messages are those of an official library, so binaries do not say where this one was built.
    let flags = [
        "-Cembed-bitcode=yes".to_string(),
        format!("--remap-path-prefix={}=/rustc/{}", source_path.display(), compiler.commit),
        format!("--remap-path-prefix={}=/rustc/{}", sources.display(), compiler.commit),
    ];
    // The sources bring their dependencies along; nothing is downloaded.
    let vendored = [
        "source.crates-io.replace-with=\"vendored\"".to_string(),
        format!("source.vendored.directory=\"{}\"", source_path.join("library/vendor").display()),
    ];
    let mut arguments = vec!["--offline"];
    if source_path.join("library/vendor").is_dir() {
        arguments.extend(vendored.iter().flat_map(|config| ["--config", config.as_str()]));
    } else {
        arguments.clear();
    }
    steps.run(
        cmd!(shell, "{cargo} build --release --target {triple} -Zbuild-std=std,panic_unwind,panic_abort {arguments...}")
            .env("RUSTC", rustc)
            // The only way to a compiler's own library with that compiler; nothing that is shipped is built like this.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_INCREMENTAL", "0")
            // rustup points it at the compiler's first home, and the compiler would believe to be there.
            .env_remove("LD_LIBRARY_PATH"),
    )?;

    let staged = steps.staging(&made)?;
    let lib = staged.path().join("lib");
    // rustc looks for start-up objects there; zig brings its own.
    let self_contained = lib.join("self-contained");
    fs::create_dir_all(&self_contained).map_err(io_error("make the directory", &self_contained))?;
    let deps = target.join(triple).join("release/deps");
    for entry in fs::read_dir(&deps).map_err(io_error("list", &deps))? {
        let path = entry.map_err(io_error("list", &deps))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libempty-") {
            fs::copy(&path, lib.join(&name)).map_err(io_error("copy", &path))?;
        }
    }
    steps.publish(staged, &made)
}

/// A home for the compiler with its sources in it.
fn furnish(compiler: &Compiler, sources: &Path, home: &Path) -> Result<(), PrepareError> {
    let host = format!("lib/rustlib/{}", host_triple());
    for part in ["bin", "libexec", &host] {
        let from = compiler.sysroot.join(part);
        if from.is_dir() {
            link_tree(&from, &home.join(part))?;
        }
    }
    let lib = compiler.sysroot.join("lib");
    for entry in fs::read_dir(&lib).map_err(io_error("list", &lib))? {
        let path = entry.map_err(io_error("list", &lib))?.path();
        if path.is_file() {
            link(&path, &home.join("lib").join(path.file_name().unwrap_or_default()))?;
        }
    }
    let place = home.join("lib/rustlib/src");
    fs::create_dir_all(&place).map_err(io_error("make the directory", &place))?;
    std::os::unix::fs::symlink(sources, place.join("rust")).map_err(io_error("link", sources))
}

fn link_tree(from: &Path, to: &Path) -> Result<(), PrepareError> {
    fs::create_dir_all(to).map_err(io_error("make the directory", to))?;
    for entry in fs::read_dir(from).map_err(io_error("list", from))? {
        let path = entry.map_err(io_error("list", from))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() { link_tree(&path, &target)? } else { link(&path, &target)? }
    }
    Ok(())
}

/// A hard link, or a copy where the file system is another one.
fn link(from: &Path, to: &Path) -> Result<(), PrepareError> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs::copy(from, to).map(drop).map_err(io_error("copy", from))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::copy(from, to).map(drop).map_err(io_error("copy", from))
        }
        result => result.map_err(io_error("link", from)),
    }
}
