//! Recipes as they should be read, and each mistake as a person sees it.

use super::*;

const GOOD: &str = r#"
[defaults]
platforms = ["linux/amd64", "linux/arm64"]
user = "65532:65532"

[image.app]
package = "application"
ports = [9090, 8080]
"#;

/// The good file with one thing replaced.
fn error(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    match parse("images/images.toml", &GOOD.replacen(from, to, 1)) {
        Ok(recipes) => panic!("accepted: {recipes:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn bases_and_the_toolchain_are_pulled_from_their_copies() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let lock = format!(
        "version = 1\n[[image]]\nsource = \"docker.io/library/rust\"\ndestination = \"quay.io/own/rust\"\ntag = \"1\"\ndigest = \"{digest}\"\nmedia-type = \"x\"\nsize = 1\nsince = \"2026-01-01T00:00:00Z\"\n"
    );
    let text = format!(
        "[defaults]\nplatforms = [\"linux/amd64\"]\nuser = \"1:1\"\n[container]\ntoolchain = \"docker.io/library/rust@{digest}\"\n[image.a]\npackage = \"a\"\nbase = \"docker.io/library/rust:1@{digest}\"\n[image.b]\npackage = \"b\"\nbase = \"docker.io/library/rust:2@{digest}\"\n"
    );
    let recipes = parse("images.toml", &text).unwrap().pulled(&Lock::parse(&lock).unwrap());
    let copy = format!("quay.io/own/rust:1@{digest}");
    assert_eq!(recipes.toolchain.as_ref().map(ToString::to_string).as_ref(), Some(&copy));
    let Base::Image(base) = &recipes.get("a").unwrap().base else { panic!("{recipes:?}") };
    assert_eq!(base.to_string(), copy);
    let Base::Image(base) = &recipes.get("b").unwrap().base else { panic!("{recipes:?}") };
    assert_eq!(base.registry, "docker.io");
}

#[test]
fn defaults_are_filled_in() {
    let recipes = parse("images.toml", GOOD).unwrap();
    insta::assert_json_snapshot!(recipes, @r#"
    {
      "images": [
        {
          "name": "app",
          "binary": {
            "cargo": {
              "package": "application",
              "bin": "app"
            }
          },
          "base": "scratch",
          "platforms": [
            "linux/amd64",
            "linux/arm64"
          ],
          "user": "65532:65532",
          "ports": [
            8080,
            9090
          ],
          "labels": {},
          "environment": {},
          "entrypoint": "/usr/local/bin/app",
          "layers": [],
          "compression": {
            "gzip": 6
          }
        }
      ],
      "toolchain": null
    }
    "#);
}

#[test]
fn the_workspace_declares_sound_recipes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let recipes = load(root).unwrap();
    assert!(recipes.images.len() > 1);
    for recipe in &recipes.images {
        assert!(recipe.platforms.contains(&Platform::host()), "{}", recipe.name);
        assert_ne!(recipe.user.split(':').next(), Some("0"), "{} runs as root", recipe.name);
    }
}

#[test]
fn a_missing_file_says_where_it_was_expected() {
    let error = load(Path::new("/nonexistent")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/images/images.toml"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn a_misspelt_key() {
    insta::assert_snapshot!(error("ports =", "prots ="), @r#"
    images/images.toml:8:1: unknown field `prots`, expected one of `package`, `bin`, `prebuilt`, `base`, `platforms`, `user`, `ports`, `labels`, `environment`, `entrypoint`, `layers`, `compression`
      |
    8 | prots = [9090, 8080]
      | ^^^^^
      = hint: did you mean `ports`?
    "#);
}

#[test]
fn a_misspelt_default() {
    insta::assert_snapshot!(error("platforms =", "platform ="), @r#"
    images/images.toml:3:1: unknown field `platform`, expected one of `base`, `platforms`, `user`, `layers`, `compression`
      |
    3 | platform = ["linux/amd64", "linux/arm64"]
      | ^^^^^^^^
      = hint: did you mean `platforms`?
    "#);
}

#[test]
fn a_misspelt_table() {
    insta::assert_snapshot!(error("[image.app]", "[images.app]"), @r#"
    images/images.toml:6:2: unknown field `images`, expected one of `defaults`, `container`, `layer`, `image`
      |
    6 | [images.app]
      |  ^^^^^^
      = hint: did you mean `image`?
    "#);
}

#[test]
fn an_unknown_platform() {
    insta::assert_snapshot!(error("linux/arm64", "linux/amr64"), @r#"
    images/images.toml:3:29: unknown platform `linux/amr64`, expected one of `linux/amd64`, `linux/arm64`, `linux/arm/v7`, `linux/ppc64le`, `linux/riscv64`, `linux/s390x`
      |
    3 | platforms = ["linux/amd64", "linux/amr64"]
      |                             ^^^^^^^^^^^^^
      = hint: did you mean `linux/arm64`?
    "#);
}

#[test]
fn a_platform_twice() {
    insta::assert_snapshot!(error("linux/arm64", "linux/amd64"), @r#"
    images/images.toml:3:29: platform `linux/amd64` is listed twice
      |
    3 | platforms = ["linux/amd64", "linux/amd64"]
      |                             ^^^^^^^^^^^^^
    "#);
}

#[test]
fn a_name_for_the_user() {
    insta::assert_snapshot!(error("65532:65532", "nonroot"), @r#"
    images/images.toml:4:8: user `nonroot` is not numeric
      |
    4 | user = "nonroot"
      |        ^^^^^^^^^
      = hint: write `"uid:gid"`, e.g. `"65532:65532"`: Kubernetes cannot check runAsNonRoot by name
    "#);
}

#[test]
fn a_port_out_of_range() {
    insta::assert_snapshot!(error("8080", "80800"), @r#"
    images/images.toml:8:16: invalid value: integer `80800`, expected u16
      |
    8 | ports = [9090, 80800]
      |                ^^^^^
    "#);
}

#[test]
fn a_port_twice() {
    insta::assert_snapshot!(error("8080", "9090"), @r#"
    images/images.toml:8:16: port 9090 is listed twice
      |
    8 | ports = [9090, 9090]
      |                ^^^^
    "#);
}

#[test]
fn a_name_no_registry_accepts() {
    insta::assert_snapshot!(error("[image.app]", "[image.App]"), @r#"
    images/images.toml:6:8: `App` cannot be the name of an image
      |
    6 | [image.App]
      |        ^^^
      = hint: use lower-case letters, digits and single `-`, `_` or `.` between them
    "#);
}

#[test]
fn no_package() {
    insta::assert_snapshot!(error("package = \"application\"", ""), @r#"
    images/images.toml:6:8: image `app` has no `package`
      |
    6 | [image.app]
      |        ^^^
      = hint: add `package = "<crate of the workspace>"`
    "#);
}

#[test]
fn two_sources_for_one_binary() {
    insta::assert_snapshot!(error("ports =", "prebuilt = \"dist/app\"\nports ="), @r#"
    images/images.toml:8:12: `prebuilt` and `package` or `bin` exclude each other
      |
    8 | prebuilt = "dist/app"
      |            ^^^^^^^^^^
      = hint: keep one of the two
    "#);
}

#[test]
fn a_crate_name_that_is_an_option() {
    insta::assert_snapshot!(error("\"application\"", "\"--release\""), @r#"
    images/images.toml:7:11: `--release` is not the name of a crate or binary
      |
    7 | package = "--release"
      |           ^^^^^^^^^^^
    "#);
}

#[test]
fn an_unknown_layer() {
    let to = "layers = [\"rot\"]\nports =";
    let text = GOOD.replacen("ports =", to, 1) + "\n[layer.root]\ndirectories = [{ path = \"/tmp\" }]\n";
    let error = parse("images/images.toml", &text).unwrap_err().to_string();
    insta::assert_snapshot!(error, @r#"
    images/images.toml:8:11: there is no layer `rot`
      |
    8 | layers = ["rot"]
      |           ^^^^^
      = hint: did you mean `root`?
    "#);
}

#[test]
fn a_path_out_of_the_image() {
    insta::assert_snapshot!(error("ports =", "entrypoint = \"/bin/../../etc/shadow\"\nports ="), @r#"
    images/images.toml:8:14: `/bin/../../etc/shadow` is not a plain absolute path in the image
      |
    8 | entrypoint = "/bin/../../etc/shadow"
      |              ^^^^^^^^^^^^^^^^^^^^^^^
    "#);
}

#[test]
fn a_path_out_of_the_workspace() {
    let layer = "[layer.x]\nfiles = [{ path = \"/a\", source = \"../../etc/shadow\" }]\n[image.app]";
    insta::assert_snapshot!(error("[image.app]", layer), @r#"
    images/images.toml:7:34: `../../etc/shadow` is not a path relative to the workspace root
      |
    7 | files = [{ path = "/a", source = "../../etc/shadow" }]
      |                                  ^^^^^^^^^^^^^^^^^^
    "#);
}

#[test]
fn a_mode_that_is_not_octal() {
    let layer = "[layer.x]\ndirectories = [{ path = \"/a\", mode = \"0789\" }]\n[image.app]";
    insta::assert_snapshot!(error("[image.app]", layer), @r#"
    images/images.toml:7:38: `0789` is not a file mode
      |
    7 | directories = [{ path = "/a", mode = "0789" }]
      |                                      ^^^^^^
      = hint: write it in octal, e.g. `"0644"`
    "#);
}

#[test]
fn a_gzip_level_that_does_not_exist() {
    insta::assert_snapshot!(error("ports =", "compression = { gzip = 10 }\nports ="), @r#"
    images/images.toml:8:15: gzip has no level 10
      |
    8 | compression = { gzip = 10 }
      |               ^^^^^^^^^^^^^
      = hint: gzip has levels from 0 to 9, zstd from 1 to 19
    "#);
}

#[test]
fn a_base_that_could_become_another_one() {
    insta::assert_snapshot!(error("ports =", "base = \"registry.example/ubi:9\"\nports ="), @r#"
    images/images.toml:8:8: base `registry.example/ubi:9` is not pinned by digest
      |
    8 | base = "registry.example/ubi:9"
      |        ^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: add the digest: `skopeo inspect docker://registry.example/ubi:9` shows it
    "#);
    insta::assert_snapshot!(error("ports =", "base = \"ubi\"\nports ="), @r#"
    images/images.toml:8:8: `ubi` is not an image reference: it does not name a registry host
      |
    8 | base = "ubi"
      |        ^^^^^
      = hint: write it as `"registry.example/name:tag@sha256:…"`
    "#);
}

#[test]
fn a_directory_declared_as_a_file() {
    let layer = "[layer.x]\nfiles = [{ path = \"/zones\", bundle = \"tzdata\" }]\n[image.app]";
    insta::assert_snapshot!(error("[image.app]", layer), @r#"
    images/images.toml:7:19: the bundle `tzdata` is a directory
      |
    7 | files = [{ path = "/zones", bundle = "tzdata" }]
      |                   ^^^^^^^^
      = hint: declare it below `directories`
    "#);
}

#[test]
fn not_toml() {
    insta::assert_snapshot!(error("[image.app]", "[image.app"), @r#"
    images/images.toml:6:11: unclosed table, expected `]`
      |
    6 | [image.app
      |           ^
    "#);
}

#[test]
fn an_image_twice() {
    insta::assert_snapshot!(error("[image.app]", "[image.app]\npackage = \"x\"\n[image.app]"), @r#"
    images/images.toml:8:8: duplicate key
      |
    8 | [image.app]
      |        ^^^
    "#);
}

#[test]
fn nothing_declared() {
    let error = parse("images/images.toml", "").unwrap_err().to_string();
    insta::assert_snapshot!(error, @r#"
    images/images.toml:1:1: the file declares no image
      |
    1 | 
      | ^
      = hint: add a table `[image.<name>]` with the key `package`
    "#);
}

#[test]
fn hostile_text_is_an_error_and_never_a_panic() {
    for text in [
        "\u{0}",
        "é = \"ü\"\n[",
        "[image.\"é\"]\npackage = 1",
        "a = [[[[[[[[",
        "[image.app]\n\tprots = 1",
        "\r\n\r\n=",
    ] {
        let error = parse("images.toml", text).unwrap_err().to_string();
        assert!(error.starts_with("images.toml:") && error.contains('^'), "{error}");
    }
}
