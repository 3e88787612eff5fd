//! What is logged of a tracker that fails is a promise: it is said once, with the
//! reason, and the download goes on.

use std::{path::Path, time::Duration};

use reseed_client::{
    Disk, DownloadOptions, Env, MemoryDisk, Session, SessionOptions, ShutdownOptions, State,
    TokioEnv, TokioNetwork,
};
use reseed_protocol::Defects;
use reseed_protocol::metainfo::{Content, Draft, Metainfo};
use tokio::task::LocalSet;
use tracing_test::traced_test;

const CONTENT: &[u8] = &[7; 100_000];

/// A torrent whose tracker is a port where nobody listens.
fn metainfo() -> Metainfo {
    let draft = Draft {
        name: "content".to_owned(),
        piece_length: 32_768,
        private: false,
        merkle: false,
        live: None,
        torrent_keys: Vec::new(),
        announce: Some("http://127.0.0.1:1/announce".to_owned()),
        content: Content::File { length: CONTENT.len() as u64 },
    };
    Metainfo::create(&draft, CONTENT).unwrap().0
}

async fn session(seed: u64, disk: MemoryDisk) -> Session<TokioNetwork, TokioEnv, MemoryDisk> {
    let options = SessionOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        upload_limit: None,
        download_limit: None,
        defects: Defects::NONE,
    };
    Session::start(TokioNetwork::new(), TokioEnv::with_seed(seed), disk, options).await.unwrap()
}

#[test]
#[traced_test]
fn a_failing_announce_is_logged_once_with_its_reason_and_the_download_goes_on() {
    // With the clock paused, minutes of retries take no time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let env = TokioEnv::with_seed(0);
        let full = MemoryDisk::new(1 << 20);
        full.write_at(Path::new("content"), 0, CONTENT).unwrap();
        let silent = DownloadOptions { announce: false, ..DownloadOptions::default() };
        let seeder = session(1, full).await;
        seeder.add(metainfo(), silent).unwrap();

        let leecher = session(2, MemoryDisk::new(1 << 20)).await;
        let download = leecher.add(metainfo(), DownloadOptions::default()).unwrap();
        env.sleep_until(env.now() + Duration::from_secs(300)).await;
        assert_eq!(download.status().state, State::Downloading);
        download.add_peers(vec![seeder.local_addr()]);
        download.wait_for(|status| status.state == State::Seeding).await;
        leecher.shutdown(ShutdownOptions::default()).await.unwrap();
        seeder.shutdown(ShutdownOptions::default()).await.unwrap();
    });
    logs_assert(|lines: &[&str]| {
        let said: Vec<&&str> = lines.iter().filter(|line| line.contains("tracker")).collect();
        match said.as_slice() {
            [once] if once.contains("WARN") && once.contains("127.0.0.1:1") => Ok(()),
            said => Err(format!("expected one warning that names the tracker, got {said:#?}")),
        }
    });
}
