//! Announces to a UDP tracker on loopback. BEP 15, BEP 12.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use futures_util::future::{Either, select};
use reseed_client::{
    DownloadOptions, MemoryDisk, ShutdownOptions, State, TokioEnv, TokioNetwork, scrape,
};
use reseed_protocol::{
    InfoHash,
    metainfo::Metainfo,
    tracker::{AnnounceRequest, AnnounceResponse, Event, SwarmCounts, UdpRequest, UdpResponse},
};
use tokio::net::UdpSocket;

use crate::{CONTENT, LOCALHOST, full, metainfo, run, session};

const COUNTS: SwarmCounts = SwarmCounts { complete: 3, downloaded: 20, incomplete: 4 };
const CONNECTION: u64 = 0x0102_0304_0506_0708;

/// A torrent with a tier of nobody before that of `tracker`.
fn with_tracker(tracker: SocketAddr) -> Metainfo {
    let nobody = vec!["http://127.0.0.1:1/announce".to_owned()];
    let tracker = vec![format!("udp://{tracker}/announce?key=1")];
    Metainfo { announce_list: vec![nobody, tracker], ..metainfo(CONTENT) }
}

/// Answers connects and announces for ever, with `peer` among the answers, and keeps what
/// it heard.
async fn track(socket: &UdpSocket, peer: SocketAddr, heard: &RefCell<Vec<AnnounceRequest>>) {
    let mut buffer = [0; 2000];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let answer = match UdpRequest::decode(&buffer[..length]).expect("it speaks BEP 15") {
            UdpRequest::Connect { transaction } => {
                UdpResponse::Connect { transaction, connection: CONNECTION }
            }
            UdpRequest::Announce { connection, transaction, announce, url_data } => {
                assert_eq!((connection, &*url_data), (CONNECTION, "/announce?key=1"));
                heard.borrow_mut().push(announce);
                let mut response =
                    AnnounceResponse::from_bytes(b"d8:intervali60e5:peers0:e").unwrap();
                response.peers.push(peer);
                UdpResponse::Announce { transaction, response }
            }
            UdpRequest::Scrape { connection, transaction, swarms } => {
                assert_eq!((connection, swarms.len()), (CONNECTION, 1));
                UdpResponse::Scrape { transaction, swarms: vec![COUNTS] }
            }
        };
        socket.send_to(&answer.encode(), from).await.unwrap();
    }
}

#[test]
fn peers_come_from_a_udp_tracker_of_the_second_tier_which_hears_a_whole_life() {
    run(async {
        let socket = UdpSocket::bind(LOCALHOST).await.unwrap();
        let metainfo = with_tracker(socket.local_addr().unwrap());
        let silent = DownloadOptions { announce: false, ..DownloadOptions::default() };
        let seeder = session(1, full(CONTENT)).await;
        seeder.add(metainfo.clone(), silent).unwrap();

        let heard = Rc::new(RefCell::new(Vec::new()));
        let life = async {
            let leecher = session(2, MemoryDisk::new(1 << 20)).await;
            let download = leecher.add(metainfo, DownloadOptions::default()).unwrap();
            download.wait_for(|status| status.state == State::Seeding).await;
            leecher.shutdown(ShutdownOptions::default()).await.unwrap();
        };
        let tracker = track(&socket, seeder.local_addr(), &heard);
        let (life, tracker) = (std::pin::pin!(life), std::pin::pin!(tracker));
        assert!(matches!(select(life, tracker).await, Either::Left(_)));
        let heard: Vec<_> = heard.take().iter().map(|it| (it.event, it.left)).collect();
        let length = CONTENT.len() as u64;
        assert_eq!(heard.first(), Some(&(Some(Event::Started), length)));
        assert_eq!(heard.last(), Some(&(Some(Event::Stopped), 0)));
        seeder.shutdown(ShutdownOptions::default()).await.unwrap();
    });
}

/// BEP 15, BEP 48.
#[test]
fn a_udp_tracker_tells_how_a_swarm_stands() {
    run(async {
        let socket = UdpSocket::bind(LOCALHOST).await.unwrap();
        let url = format!("udp://{}", socket.local_addr().unwrap());
        let (network, env) = (TokioNetwork::new(), TokioEnv::with_seed(1));
        let (swarm, patience) = (InfoHash([7; 20]), Duration::from_secs(10));
        let asked = scrape(&network, &env, &url, swarm, patience);
        let heard = RefCell::default();
        let tracker = track(&socket, "127.0.0.1:1".parse().unwrap(), &heard);
        let (asked, tracker) = (std::pin::pin!(asked), std::pin::pin!(tracker));
        let Either::Left((answer, _)) = select(asked, tracker).await else { unreachable!() };
        assert_eq!(answer.unwrap(), Some(COUNTS));
    });
}
