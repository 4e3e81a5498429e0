//! Images, built away from the thread that waits for signals.

use images::{BuildPlan, BuiltImage};

use crate::event::{Event, EventSink};
use crate::exit::{Failure, Reason};

/// Builds what the plan says.
pub async fn build(plan: &BuildPlan, events: &EventSink) -> Result<Vec<BuiltImage>, Failure> {
    let (plan, events) = (plan.clone(), events.clone());
    let build = move || images::build(&plan, &|event| events.emit(Event::Build(event)));
    let built = tokio::task::spawn_blocking(build).await;
    let ending = || Failure::says(Reason::Unforeseen, "build the images: the process is ending", None);
    Ok(built.map_err(|_| ending())??)
}
