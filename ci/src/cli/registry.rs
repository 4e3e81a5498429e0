//! `serve-registry`: the registry of a cluster that stays, as a process of its own. Started by other commands, not by people.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ci::interrupt::Interrupt;
use ci::registry;
use clap::Args;

use super::{Outcome, print, unforeseen};

/// Serve a registry until told to end
#[derive(Args)]
pub(super) struct Arguments {
    /// Directory of its content
    #[arg(long)]
    directory: PathBuf,
    /// Where to listen
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    listen: SocketAddr,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let mut interrupt = Interrupt::listen().map_err(|error| unforeseen("listen to signals", &error))?;
    let running = registry::serve(&arguments.directory, arguments.listen).await?;
    print(format!("{}\n", running.address()))?;
    interrupt.comes().await;
    running.stop().await;
    Ok(())
}
