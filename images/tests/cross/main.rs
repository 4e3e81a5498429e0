//! An image for another architecture, really compiled on this machine and started under an emulator.
//!
//! Makes a toolchain on its first run, which takes minutes and needs package registries: run by name
//! (`cargo test -p images --test cross`), never by a plain `cargo test`.

use std::fs;
use std::path::Path;

use images::plan::{BuildRequest, Platforms, plan};
use images::proof::{Boot, Linkage};
use images::{Platform, build, recipe, toolchain};

const RECIPES: &str = r#"
    [defaults]
    user = "65532:65532"
    platforms = ["linux/amd64", "linux/arm64"]
    [image.greeter]
    package = "greeter"
"#;

/// A panic that is caught shows that unwinding works, which depends on the linker.
const PROGRAM: &str = r#"
    fn main() {
        std::panic::set_hook(Box::new(|_| ()));
        let caught = std::thread::spawn(|| panic!()).join().is_err();
        println!("greeter on {}, panic caught: {caught}", std::env::consts::ARCH);
    }
"#;

#[test]
fn both_platforms_are_built_and_started() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_path_buf();
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"greeter\"]\n");
    write("greeter/Cargo.toml", "[package]\nname = \"greeter\"\nversion = \"1.0.0\"\nedition = \"2024\"\n");
    write("greeter/src/main.rs", PROGRAM);
    write(".cargo/config.toml", include_str!("../../../.cargo/config.toml"));
    write("images/images.toml", RECIPES);

    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let toolchains = toolchain::directory(&workspace.join("target/slipway/cache"));
    let request = BuildRequest {
        root: root.clone(),
        cache: root.join("target/slipway"),
        images: Vec::new(),
        platforms: Platforms::Declared,
        profile: Some("release".to_string()),
        compression: None,
        source_date_epoch: 0,
        toolchains: toolchain::Facts::gather(&root, &toolchains),
        container: None,
        origin: None,
    };
    let plan = plan(&recipe::load(&root).unwrap(), &request).unwrap();
    let images = build(&plan, &|_| ()).unwrap();

    assert_eq!(images[0].manifests.len(), 2);
    for row in &images[0].proof {
        assert_eq!(row.linkage, Linkage::Static, "{row:?}");
        let answer = match &row.boot {
            Boot::Native { answer } | Boot::Emulated { answer, .. } => answer,
            Boot::NotRun { reason } => panic!("{reason}\n  hint: apt-get install qemu-user-static"),
        };
        let platform: Platform = row.platform.parse().unwrap();
        let expected = format!("greeter on {}, panic caught: true", platform.rust_architecture());
        assert_eq!(*answer, expected);
    }
}
