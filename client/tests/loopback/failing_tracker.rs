//! What is logged of a tracker that fails is a promise: it is said once, with the
//! reason, and the download goes on.

use std::{fs, sync::Arc, time::Duration};

use reseed_client::{DownloadOptions, Env, MemoryDisk, ShutdownOptions, State, TokioEnv};
use reseed_protocol::metainfo::Metainfo;
use tokio::task::LocalSet;
use tracing::Level;
use tracing_subscriber::util::SubscriberInitExt;

use crate::{CONTENT, full, metainfo, session};

/// A torrent whose tracker is a port where nobody listens.
fn with_tracker() -> Metainfo {
    let nobody = vec!["http://127.0.0.1:1/announce".to_owned()];
    Metainfo { announce_list: vec![nobody], ..metainfo(CONTENT) }
}

#[test]
fn a_failing_announce_is_logged_once_with_its_reason_and_the_download_goes_on() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let _logging = tracing_subscriber::fmt()
        .with_max_level(Level::TRACE)
        .with_writer(Arc::new(log.reopen().unwrap()))
        .with_ansi(false)
        .finish()
        .set_default();
    // With the clock paused, minutes of retries take no time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let env = TokioEnv::with_seed(0);
        let silent = DownloadOptions { announce: false, ..DownloadOptions::default() };
        let seeder = session(1, full(CONTENT)).await;
        seeder.add(with_tracker(), silent).unwrap();

        let leecher = session(2, MemoryDisk::new(1 << 20)).await;
        let download = leecher.add(with_tracker(), DownloadOptions::default()).unwrap();
        env.sleep_until(env.now() + Duration::from_secs(300)).await;
        assert_eq!(download.status().state, State::Downloading);
        download.add_peers(vec![seeder.local_addr()]);
        download.wait_for(|status| status.state == State::Seeding).await;
        leecher.shutdown(ShutdownOptions::default()).await.unwrap();
        seeder.shutdown(ShutdownOptions::default()).await.unwrap();
    });
    let log = fs::read_to_string(log.path()).unwrap();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("tracker")).collect();
    let [once] = said[..] else { panic!("expected one line about the tracker, got {said:#?}") };
    assert!(once.contains("WARN") && once.contains("127.0.0.1:1"), "{once}");
}
