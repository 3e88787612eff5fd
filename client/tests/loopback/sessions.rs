//! Sessions: what they get, keep, and go on with.

use std::{net::SocketAddr, num::NonZeroU64, path::Path};

use reseed_client::{
    Disk, DownloadOptions, FileDisk, MemoryDisk, Session, SessionOptions, ShutdownOptions, State,
    TokioEnv, TokioNetwork,
};
use reseed_protocol::Magnet;

use crate::{LOCALHOST, full, metainfo, options, run, session};

fn content(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn knowing(peer: SocketAddr) -> DownloadOptions {
    DownloadOptions { peers: vec![peer], ..DownloadOptions::default() }
}

#[test]
fn a_leecher_gets_the_content_of_a_seed_and_both_shut_down_whole() {
    run(async {
        let content = content(3_000_001);
        let metainfo = metainfo(&content);
        let seeder = session(1, full(&content)).await;
        let seeding = seeder.add(metainfo.clone(), DownloadOptions::default()).unwrap();
        seeding.wait_for(|status| status.state == State::Seeding).await;

        let folder = tempfile::tempdir().unwrap();
        let leecher = session(2, FileDisk::new(folder.path())).await;
        let download = leecher.add(metainfo, knowing(seeder.local_addr())).unwrap();
        let done = download.wait_for(|status| status.state == State::Seeding).await;
        assert_eq!(done.verified, done.pieces);

        leecher.shutdown(ShutdownOptions::default()).await.unwrap();
        seeder.shutdown(ShutdownOptions::default()).await.unwrap();
        assert!(leecher.tasks().is_empty() && seeder.tasks().is_empty());
        assert_eq!(std::fs::read(folder.path().join("content")).unwrap(), content);
    });
}

#[test]
fn a_download_that_was_stopped_goes_on_from_what_it_had() {
    run(async {
        let content = content(3_000_001);
        let metainfo = metainfo(&content);
        let seeder = session(1, full(&content)).await;
        seeder.add(metainfo.clone(), DownloadOptions::default()).unwrap();

        let disk = MemoryDisk::new(1 << 30);
        let slow = SessionOptions { download_limit: NonZeroU64::new(5_000_000), ..options() };
        let env = TokioEnv::with_seed(2);
        let first = Session::start(TokioNetwork::new(), env, disk.clone(), slow).await.unwrap();
        let download = first.add(metainfo.clone(), knowing(seeder.local_addr())).unwrap();
        download.wait_for(|status| status.verified >= 5).await;
        first.shutdown(ShutdownOptions::default()).await.unwrap();
        let had = download.status().verified;
        assert!((5..46).contains(&had), "stopped half way, with {had} pieces");

        let second = session(3, disk.clone()).await;
        let download = second.add(metainfo, DownloadOptions::default()).unwrap();
        let status = download.wait_for(|status| status.state == State::Downloading).await;
        assert_eq!(status.verified, had, "all that was verified, with nobody to ask");
        download.add_peers(vec![seeder.local_addr()]);
        download.wait_for(|status| status.state == State::Seeding).await;
        let mut copy = vec![0; content.len()];
        disk.read_at(Path::new("content"), 0, &mut copy).unwrap();
        assert_eq!(copy, content);
        second.shutdown(ShutdownOptions::default()).await.unwrap();
        seeder.shutdown(ShutdownOptions::default()).await.unwrap();
    });
}

#[test]
fn a_magnet_link_gets_the_metadata_keeps_it_and_gets_the_content() {
    run(async {
        let content = content(3_000_001);
        let metainfo = metainfo(&content);
        let magnet = Magnet {
            info_hash: metainfo.info_hash,
            name: None,
            trackers: Vec::new(),
            peers: Vec::new(),
            select_only: Vec::new(),
        };
        let seeder = session(1, full(&content)).await;
        let sharing = DownloadOptions { metadata: true, ..DownloadOptions::default() };
        seeder.add(metainfo, sharing).unwrap();

        let disk = MemoryDisk::new(1 << 30);
        let leecher = session(2, disk.clone()).await;
        let download = leecher.add_magnet(magnet.clone(), knowing(seeder.local_addr())).unwrap();
        assert_eq!(download.status().pieces, 0, "nobody knows");
        let done = download.wait_for(|status| status.state == State::Seeding).await;
        assert_eq!((done.verified, done.pieces), (46, 46));
        leecher.shutdown(ShutdownOptions::default()).await.unwrap();
        seeder.shutdown(ShutdownOptions::default()).await.unwrap();
        assert!(leecher.tasks().is_empty());

        let alone = session(3, disk.clone()).await;
        let download = alone.add_magnet(magnet, DownloadOptions::default()).unwrap();
        let done = download.wait_for(|status| status.state == State::Seeding).await;
        assert_eq!(done.verified, 46, "with nobody to ask");
        alone.shutdown(ShutdownOptions::default()).await.unwrap();
    });
}

#[test]
fn a_magnet_link_that_nobody_answers_for_can_be_stopped() {
    run(async {
        let link = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567";
        let leecher = session(2, MemoryDisk::new(1 << 20)).await;
        let nobody = knowing(LOCALHOST.replace(":0", ":9").parse().unwrap());
        let download = leecher.add_magnet(link.parse().unwrap(), nobody).unwrap();
        download.wait_for(|status| status.state == State::FetchingMetadata).await;
        leecher.shutdown(ShutdownOptions::default()).await.unwrap();
        assert!(leecher.tasks().is_empty());
        assert_eq!(download.status().state, State::Stopped);
    });
}
