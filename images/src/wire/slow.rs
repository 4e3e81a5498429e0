//! Connections on which time passes, and which may break.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Options;

/// Read at once.
const PIECE: usize = 64 << 10;
/// Pieces that may be under way; more than any delay of interest can fill.
const UNDER_WAY: usize = 256;

/// Accepts connections and makes them slow.
pub(super) struct SlowListener {
    listener: TcpListener,
    options: Options,
    /// Decides where connections break; the same for every run.
    dice: u64,
}

impl SlowListener {
    pub(super) fn new(listener: TcpListener, options: Options) -> SlowListener {
        SlowListener { listener, options, dice: 0x9e37_79b9_7f4a_7c15 }
    }

    /// How many bytes the next connection lives.
    fn life(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        match &self.options.cut_after {
            Some(range) => range.start + self.dice % (range.end - range.start).max(1),
            None => u64::MAX,
        }
    }
}

impl axum::serve::Listener for SlowListener {
    type Io = DuplexStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (DuplexStream, SocketAddr) {
        loop {
            if let Ok((stream, address)) = self.listener.accept().await {
                let (near, far) = tokio::io::duplex(PIECE);
                let (delay, life) = (self.options.delay, self.life());
                tokio::spawn(connect(stream, far, delay, life));
                return (near, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Moves bytes both ways until one side ends or the connection breaks.
async fn connect(stream: TcpStream, far: DuplexStream, delay: Duration, life: u64) {
    // As everybody's sockets do; else the kernel would add delays of its own.
    let _ = stream.set_nodelay(true);
    // Shaking hands takes a round trip before the first byte.
    let begin = Instant::now() + 2 * delay;
    let (from_client, to_client) = split(stream);
    let (from_server, to_server) = split(far);
    let up = pump(from_client, to_server, begin, delay, life);
    let down = pump(from_server, to_client, begin, delay, life);
    tokio::pin!(up, down);
    // One that breaks in one direction is gone in both; where one side ends, an answer may still be under way.
    tokio::select! {
        end = &mut up => if end == End::Ended { down.await; },
        _ = &mut down => {}
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Somebody had no more to say.
    Ended,
    /// The wire broke.
    Broken,
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    begin: Instant,
    delay: Duration,
    life: u64,
) -> End {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Bytes)>(UNDER_WAY);
    let read = async move {
        let mut lived = 0;
        let mut buffer = BytesMut::with_capacity(PIECE);
        loop {
            buffer.reserve(PIECE);
            match from.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return End::Ended,
                Ok(length) => lived += length as u64,
            }
            // What came before it broke arrives: who tries again and again gets further each time.
            let beyond = usize::try_from(lived.saturating_sub(life)).unwrap_or(usize::MAX);
            buffer.truncate(buffer.len().saturating_sub(beyond));
            let due = (Instant::now() + delay).max(begin);
            if sender.send((due, buffer.split().freeze())).await.is_err() {
                return End::Ended;
            }
            if beyond > 0 {
                return End::Broken;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = receiver.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    let (end, ()) = tokio::join!(read, write);
    end
}
