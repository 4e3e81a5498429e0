//! Where an image came from: an in-toto statement with SLSA provenance v1. Pure.

use serde_json::{Value, json};

use super::Origin;
use crate::container::Container;
use crate::digest::Digest;
use crate::document::Descriptor;
use crate::layer::compressor;
use crate::plan::{BuildPlan, PlannedImage};
use crate::recipe::Base;

const BUILD_TYPE: &str = "https://kubernaut.ai/slipway/build/v1";
const BUILDER: &str = "https://kubernaut.ai/slipway";

/// The statement about an image. It names no time and no machine: whoever repeats the build gets the same one.
pub fn statement(
    plan: &BuildPlan,
    planned: &PlannedImage,
    origin: &Origin,
    lock: &str,
    index: &Descriptor,
) -> Value {
    let Origin { commit, changed, repository, compiler } = origin;
    let digest = |digest: &Digest| json!({ digest.algorithm().name(): digest.hex() });
    let source = commit.as_ref().map(|commit| {
        json!({
            "uri": repository.as_ref().map_or("git+local".to_string(), |url| format!("git+{url}")),
            "digest": { "gitCommit": commit },
            "annotations": { "changed": changed },
        })
    });
    let compiler = compiler.as_ref().map(|compiler| {
        json!({
            "name": "rustc",
            "uri": format!("pkg:generic/rustc@{}", compiler.version),
            "digest": { "gitCommit": compiler.commit },
        })
    });
    let lock = json!({ "uri": "Cargo.lock", "digest": digest(&Digest::of(lock.as_bytes())) });
    let base = match &planned.recipe.base {
        Base::Scratch => None,
        Base::Image(base) => Some(json!({
            "uri": format!("docker://{}/{}", base.registry, base.repository),
            "digest": base.digest.as_ref().map(digest),
        })),
    };
    let toolchain = plan.container.as_ref().map(|container| {
        let Container { toolchain, .. } = container;
        json!({
            "uri": format!("docker://{}/{}", toolchain.registry, toolchain.repository),
            "digest": toolchain.digest.as_ref().map(digest),
        })
    });
    // In a container the compiler is the container's.
    let compiler = toolchain.or(compiler);
    let materials: Vec<Value> =
        source.clone().into_iter().chain([lock]).chain(compiler).chain(base).collect();
    let compilations: Vec<Value> = plan
        .compilations
        .iter()
        .filter(|compilation| planned.platforms.contains(&compilation.toolchain.platform))
        .map(|compilation| {
            let toolchain = &compilation.toolchain;
            json!({ "platform": toolchain.platform, "target": toolchain.triple, "how": toolchain.why })
        })
        .collect();
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": planned.recipe.name, "digest": digest(&index.digest) }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "source": source,
                    "recipe": planned.recipe,
                    "platforms": planned.platforms,
                    "profile": plan.profile.as_deref().unwrap_or("dev"),
                    "sourceDateEpoch": plan.source_date_epoch,
                },
                "internalParameters": {
                    "compilations": compilations,
                    "container": plan.container,
                    "compressor": compressor(planned.recipe.compression),
                },
                "resolvedDependencies": materials,
            },
            "runDetails": { "builder": { "id": BUILDER, "version": { "slipway": env!("CARGO_PKG_VERSION") } } },
        },
    })
}
