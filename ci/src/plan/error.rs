//! Why what was asked for cannot be planned, and what helps.

use super::Skipped;
use crate::event::Stage;

/// What was asked for cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No tier has that name.
    #[error("run the tier `{name}`: the pipeline `{pipeline}` has none of that name")]
    UnknownTier {
        /// What was asked for.
        name: String,
        /// The pipeline.
        pipeline: String,
        /// The likely fix.
        hint: Option<String>,
    },
    /// No component has that name.
    #[error("leave out the component `{name}`: there is none of that name")]
    UnknownComponent {
        /// What was asked for.
        name: String,
        /// The likely fix.
        hint: Option<String>,
    },
    /// A tier that was asked for by name cannot run here.
    #[error("run the tier `{tier}`: {}", skipped.reason)]
    Skipped {
        /// The tier.
        tier: String,
        /// Why.
        skipped: Skipped,
    },
    /// A tier wants an image nobody builds.
    #[error("run the tier `{tier}`: its environment wants the image `{image}`, which is not built here")]
    UnknownImage {
        /// The tier.
        tier: String,
        /// The image.
        image: String,
        /// The likely fix.
        hint: Option<String>,
    },
    /// The pipeline has no such stage.
    #[error("begin at `{stage}`: the pipeline `{pipeline}` does not go through that stage")]
    NoSuchStage {
        /// The stage.
        stage: Stage,
        /// The pipeline.
        pipeline: String,
    },
    /// The nodes of a cluster that is not ours cannot pull from this machine.
    #[error("use the {provider}: its nodes cannot pull from the registry on this machine")]
    NoRegistry {
        /// The cluster.
        provider: String,
    },
    /// The images.
    #[error(transparent)]
    Images(#[from] images::plan::PlanError),
    /// The cluster.
    #[error("{}", .0.problem)]
    Cluster(kind::Unavailable),
}

impl PlanError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            PlanError::UnknownTier { hint, .. }
            | PlanError::UnknownComponent { hint, .. }
            | PlanError::UnknownImage { hint, .. } => hint.clone(),
            PlanError::Skipped { skipped, .. } => Some(skipped.hint.clone()),
            PlanError::NoSuchStage { pipeline, .. } => {
                Some(format!("see its stages: cargo xtask plan {pipeline}"))
            }
            PlanError::NoRegistry { .. } => {
                Some("name one that they can pull from: `--registry registry.example.com/team`".to_owned())
            }
            PlanError::Images(error) => error.hint(),
            PlanError::Cluster(unavailable) => Some(unavailable.hint.clone()),
        }
    }
}
