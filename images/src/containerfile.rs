//! Containerfiles out of recipes, for those who build with docker, podman or buildah. Pure.
//!
//! The same image as the native builder's, made inside a toolchain image that is pinned by digest. Dependencies get a layer of their own that
//! survives changes of the sources: they are compiled against a skeleton, the manifests with empty sources. No syntax of one builder only:
//! BuildKit, Docker's classic builder, podman and buildah all read it.

use std::fmt::Write;

use crate::bundle::Bundle;
use crate::recipe::{Base, Binary, EntryContent, Recipe};
use crate::reference::Reference;

/// A recipe cannot be a Containerfile.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ContainerfileError {
    /// The toolchain image could become another one.
    #[error("build in `{image}`: it is not pinned by digest")]
    Unpinned {
        /// The image.
        image: String,
    },
    /// A file of a layer comes with this program, which the builder does not have.
    #[error("write a Containerfile for `{image}`: its layers have the bundle `{bundle}`")]
    Bundle {
        /// The image.
        image: String,
        /// The bundle.
        bundle: Bundle,
    },
    /// The binary is not built from source.
    #[error("write a Containerfile for `{image}`: its binary is prebuilt")]
    Prebuilt {
        /// The image.
        image: String,
    },
}

impl ContainerfileError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            ContainerfileError::Unpinned { .. } => Some(
                "take the digest from `images/mirror.lock`, which `cargo xtask mirror sync` writes"
                    .to_string(),
            ),
            ContainerfileError::Bundle { .. } => {
                Some("put the file into the workspace and name it as `source`".to_string())
            }
            ContainerfileError::Prebuilt { .. } => None,
        }
    }
}

/// The Containerfile of an image; its context is the workspace.
pub fn containerfile(recipe: &Recipe, toolchain: &Reference) -> Result<String, ContainerfileError> {
    if toolchain.digest.is_none() {
        return Err(ContainerfileError::Unpinned { image: toolchain.to_string() });
    }
    let Binary::Cargo { package: _, bin } = &recipe.binary else {
        return Err(ContainerfileError::Prebuilt { image: recipe.name.clone() });
    };
    let mut text = String::new();
    let mut line = |words: String| {
        text += &words;
        text += "\n";
    };
    line(format!(
        "# {}: generated from `{}` by `cargo xtask codegen`; do not edit.",
        recipe.name,
        crate::recipe::FILE
    ));
    line("# By hand: docker build --file <this file> <the workspace>".to_string());
    line(format!("ARG TOOLCHAIN={toolchain}"));
    line(String::new());
    line("# The manifests with empty sources: changes only when a dependency does.".to_string());
    line("FROM ${TOOLCHAIN} AS skeleton".to_string());
    line("WORKDIR /workspace".to_string());
    line("COPY . .".to_string());
    line(format!("RUN {}", SKELETON.join(" && \\\n    ")));
    line(String::new());
    line("# Every dependency, compiled once.".to_string());
    line("FROM ${TOOLCHAIN} AS program".to_string());
    line("WORKDIR /workspace".to_string());
    line("COPY --from=skeleton /workspace .".to_string());
    line(format!("RUN {}", build(bin)));
    line("# The program itself; newer than its skeleton, so that cargo sees a change.".to_string());
    line("COPY . .".to_string());
    line(format!(
        "RUN {}",
        PROGRAM.map(|step| step.replace("{build}", &build(bin)).replace("{bin}", bin)).join(" && \\\n    ")
    ));
    for step in files(recipe)? {
        line(format!("RUN {step}"));
    }
    line(String::new());
    match &recipe.base {
        Base::Scratch => line("FROM scratch".to_string()),
        Base::Image(base) => line(format!("FROM {base}")),
    }
    line("COPY --from=program /root-of-image/ /".to_string());
    line(format!("COPY --from=program /program {}", recipe.entrypoint));
    for (name, value) in &recipe.environment {
        line(format!("ENV {name}={}", quoted(value)));
    }
    for (name, value) in &recipe.labels {
        line(format!("LABEL {name}={}", quoted(value)));
    }
    if !recipe.ports.is_empty() {
        let ports: Vec<String> = recipe.ports.iter().map(|port| format!("{port}/tcp")).collect();
        line(format!("EXPOSE {}", ports.join(" ")));
    }
    line(format!("USER {}", recipe.user));
    line("WORKDIR /".to_string());
    line(format!("ENTRYPOINT [{}]", quoted(&recipe.entrypoint)));
    Ok(text)
}

/// Empties every source file; a program's becomes one that does nothing.
const SKELETON: [&str; 3] = [
    "find . -name '*.rs' -not -path './target/*' -exec sh -c 'for f; do case \"$f\" in */main.rs|*/bin/*.rs|*/build.rs) echo \"fn main() { }\" > \"$f\" ;; *) : > \"$f\" ;; esac; done' sh {} +",
    "find . -type f -not -name '*.rs' -not -name Cargo.toml -not -name Cargo.lock -not -name 'rust-toolchain*' -not -path './.cargo/*' -delete",
    "find . -exec touch --date=@0 {} +",
];

/// Builds and puts the program where the last stage finds it, whatever the target is called.
const PROGRAM: [&str; 3] = [
    "find . -name '*.rs' -not -path './target/*' -exec touch {} +",
    "{build}",
    "cp \"$(find target -path '*/release/{bin}' -type f | head -n 1)\" /program && mkdir -p /root-of-image",
];

fn build(bin: &str) -> String {
    format!("cargo build --release --locked --workspace --bin {bin}")
}

/// Steps that make the declared layers below `/root-of-image`.
fn files(recipe: &Recipe) -> Result<Vec<String>, ContainerfileError> {
    let mut steps = Vec::new();
    for entry in recipe.layers.iter().flat_map(|layer| &layer.entries) {
        let path = shell_quoted(&format!("/root-of-image{}", entry.path));
        let mode = format!("{:04o}", entry.mode);
        let parent = format!("mkdir -p \"$(dirname {path})\"");
        steps.push(match &entry.content {
            EntryContent::Directory => format!("mkdir -p {path} && chmod {mode} {path}"),
            EntryContent::Text(text) => {
                format!(
                    "{parent} && printf %b {} > {path} && chmod {mode} {path}",
                    shell_quoted(&escaped(text))
                )
            }
            EntryContent::Source(source) => {
                format!("{parent} && cp {} {path} && chmod {mode} {path}", shell_quoted(source))
            }
            EntryContent::Bundle(bundle) => {
                return Err(ContainerfileError::Bundle { image: recipe.name.clone(), bundle: *bundle });
            }
        });
    }
    Ok(steps)
}

/// As `printf %b` reads it, on one line.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t")
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A JSON string, which Containerfiles understand; `$` would begin a variable.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' | '$' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            other => {
                // Writing to a string does not fail.
                let _ = out.write_char(other);
            }
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe;

    fn recipe() -> Recipe {
        let text = r#"
            [defaults]
            user = "65532:65532"
            platforms = ["linux/amd64"]
            layers = ["root"]
            [layer.root]
            directories = [{ path = "/tmp", mode = "1777" }]
            files = [{ path = "/etc/motd", content = "it's\n" }]
            [image.kettle]
            package = "kettle"
            ports = [8080]
            environment = { PRICE = "5$" }
        "#;
        recipe::parse("images.toml", text).unwrap().images.remove(0)
    }

    fn toolchain() -> Reference {
        format!("registry.example/rust:1.95@sha256:{}", "0".repeat(64)).parse().unwrap()
    }

    #[test]
    fn a_recipe_becomes_stages_that_any_builder_reads() {
        let text = containerfile(&recipe(), &toolchain()).unwrap();
        let stages: Vec<&str> = text.lines().filter(|line| line.starts_with("FROM ")).collect();
        assert_eq!(stages, ["FROM ${TOOLCHAIN} AS skeleton", "FROM ${TOOLCHAIN} AS program", "FROM scratch"]);
        let check = |line: &str| assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
        check(&format!("ARG TOOLCHAIN={}", toolchain()));
        check("RUN cargo build --release --locked --workspace --bin kettle");
        check("RUN mkdir -p '/root-of-image/tmp' && chmod 1777 '/root-of-image/tmp'");
        check(
            "RUN mkdir -p \"$(dirname '/root-of-image/etc/motd')\" && printf %b 'it'\\''s\\n' > '/root-of-image/etc/motd' \
             && chmod 0644 '/root-of-image/etc/motd'",
        );
        check("COPY --from=program /program /usr/local/bin/kettle");
        check("ENV PRICE=\"5\\$\"");
        check("EXPOSE 8080/tcp");
        check("USER 65532:65532");
        check("ENTRYPOINT [\"/usr/local/bin/kettle\"]");
    }

    #[test]
    fn an_image_that_could_change_is_no_toolchain() {
        let unpinned: Reference = "registry.example/rust:1.95".parse().unwrap();
        let error = containerfile(&recipe(), &unpinned).unwrap_err();
        assert!(error.to_string().contains("registry.example/rust:1.95"), "{error}");
        assert!(error.hint().unwrap().contains("mirror"), "{:?}", error.hint());
    }
}
