//! Sessions, and programs around them, on the machine's own loopback: the same code that
//! simulations run, on real sockets and a real clock. One binary, because each that holds
//! a whole session takes half a minute to build.

mod app;
mod failing_tracker;
mod sessions;
mod udp_tracker;

use std::path::Path;

use reseed_client::{Disk, MemoryDisk, Session, SessionOptions, TokioEnv, TokioNetwork};
use reseed_protocol::{
    Defects,
    metainfo::{Content, Draft, Metainfo},
};
use tokio::task::LocalSet;

const LOCALHOST: &str = "127.0.0.1:0";
const CONTENT: &[u8] = &[7; 100_000];

/// A torrent of one file, `content`, without a tracker.
fn metainfo(content: &[u8]) -> Metainfo {
    let draft = Draft {
        name: "content".to_owned(),
        piece_length: 65_536,
        private: false,
        merkle: false,
        live: None,
        torrent_keys: Vec::new(),
        announce: None,
        content: Content::File { length: content.len() as u64 },
    };
    Metainfo::create(&draft, content).unwrap().0
}

/// A disk that has all of `content`.
fn full(content: &[u8]) -> MemoryDisk {
    let disk = MemoryDisk::new(1 << 30);
    disk.write_at(Path::new("content"), 0, content).unwrap();
    disk
}

fn options() -> SessionOptions {
    SessionOptions {
        listen: LOCALHOST.parse().unwrap(),
        upload_limit: None,
        download_limit: None,
        defects: Defects::NONE,
    }
}

async fn session<D: Disk>(seed: u64, disk: D) -> Session<TokioNetwork, TokioEnv, D> {
    Session::start(TokioNetwork::new(), TokioEnv::with_seed(seed), disk, options()).await.unwrap()
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}
