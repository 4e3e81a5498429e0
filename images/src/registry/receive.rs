//! A request body on its way to a file: hashed and written on a thread of its own, a few pieces at a time.

use axum::body::Body;
use futures::StreamExt;
use std::io::Write;
use tokio::sync::mpsc;

use super::answer::Fault;
use super::store::{StoreError, Upload};
use crate::digest::Hasher;

/// Pieces on their way from the socket to the disk.
const IN_FLIGHT: usize = 8;

/// Appends the body to the upload. What has arrived stays when the connection breaks, so that the client can continue; a body of another
/// length than `expected` leaves nothing.
pub(super) async fn receive(
    body: Body,
    mut upload: Upload,
    mut hasher: Option<Hasher>,
    expected: Option<u64>,
) -> Result<(Upload, Option<Hasher>), Fault> {
    let (sender, mut receiver) = mpsc::channel::<bytes::Bytes>(IN_FLIGHT);
    let before = upload.size;
    let writer = tokio::task::spawn_blocking(move || {
        while let Some(piece) = receiver.blocking_recv() {
            if let Some(hasher) = &mut hasher {
                hasher.update(&piece);
            }
            upload.file.write_all(&piece)?;
            upload.grown(piece.len() as u64);
        }
        Ok::<_, std::io::Error>((upload, hasher))
    });
    let mut stream = body.into_data_stream();
    let mut broken = None;
    while let Some(piece) = stream.next().await {
        match piece {
            // A writer that has stopped says why below.
            Ok(piece) => {
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    drop(sender);
    let written = writer.await.map_err(|_| StoreError::Interrupted)?;
    let (mut upload, hasher) = written.map_err(|source| StoreError::Io {
        step: "write an upload in",
        path: "_uploads".into(),
        source,
    })?;
    if let Some(error) = broken {
        return Err(Fault::UploadInvalid(format!("the body ended early: {error}")));
    }
    if expected.is_some_and(|expected| upload.size - before != expected) {
        let arrived = upload.size - before;
        upload.rewind(before)?;
        return Err(Fault::UploadInvalid(format!("the piece has {arrived} bytes, its range says otherwise")));
    }
    Ok((upload, hasher))
}
