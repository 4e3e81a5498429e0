//! The binary `workflowexecution-controller`.

use std::process::ExitCode;

use controller::config::Config;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only if a provider was chosen before, which then serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config::load(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let telemetry = match telemetry::start("workflowexecution-controller", &config.log) {
        Ok(telemetry) => telemetry,
        Err(error) => clap::Command::new("workflowexecution-controller")
            .error(clap::error::ErrorKind::ValueValidation, format!("cannot read `--log` {error}"))
            .exit(),
    };
    let outcome = run(config).await;
    telemetry.finish().await;
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the controller cannot run");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let client = kube::Client::try_default().await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let told_to_end = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(controller::run(config, client, told_to_end).await?)
}
