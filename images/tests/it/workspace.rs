//! A workspace to build: one crate with two programs, and nothing to download.

use std::fs;
use std::path::{Path, PathBuf};

const RECIPES: &str = r#"
    [defaults]
    base = "scratch"
    user = "65532:65532"
    platforms = ["linux/amd64", "linux/arm64"]
    layers = ["root"]
    [layer.root]
    directories = [{ path = "/tmp", mode = "1777" }]
    [image.greeter]
    package = "greeter"
    ports = [8080]
    environment = { GREETING = "hello" }
    [image.tool]
    package = "greeter"
    bin = "other-tool"
"#;

const CONFIG: &str = r#"
    [build]
    target = "host-tuple"
    [target.'cfg(target_env = "gnu")']
    rustflags = ["-C", "target-feature=+crt-static"]
"#;

pub const PROGRAM: &str = r#"fn main() { println!("greeter 1.0") }"#;

/// A workspace of one crate with two programs.
pub fn workspace(dir: &Path) -> PathBuf {
    let root = dir.join("workspace");
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"greeter\"]\n[profile.dev]\ndebug = false\n",
    );
    write(".cargo/config.toml", CONFIG);
    write("greeter/Cargo.toml", "[package]\nname = \"greeter\"\nversion = \"1.0.0\"\nedition = \"2024\"\n");
    write("greeter/src/main.rs", PROGRAM);
    write("greeter/src/bin/other-tool.rs", "fn main() { println!(\"other 2.0\") }");
    write("images/images.toml", RECIPES);
    root
}
