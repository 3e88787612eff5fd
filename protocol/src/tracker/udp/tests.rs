use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

fn announce(event: Option<Event>) -> AnnounceRequest {
    AnnounceRequest {
        info_hash: InfoHash([0xaa; 20]),
        peer_id: PeerId([0xbb; 20]),
        port: 6881,
        uploaded: 3,
        downloaded: 1,
        left: 2,
        event,
        numwant: None,
        compact: true,
        key: 0x0102_0304,
        tracker_id: None,
    }
}

fn answer(peers: &[&str]) -> AnnounceResponse {
    AnnounceResponse {
        interval: Duration::from_secs(1800),
        min_interval: None,
        complete: Some(7),
        incomplete: Some(9),
        peers: peers.iter().map(|peer| peer.parse().unwrap()).collect(),
        warning: None,
        tracker_id: None,
    }
}

#[test]
fn requests_have_their_fields_where_bep_15_has_them() {
    let connect = UdpRequest::Connect { transaction: 0x0506_0708 }.encode();
    assert_eq!(connect, &[0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 5, 6, 7, 8][..]);
    let announced = UdpRequest::Announce {
        connection: 0x1112_1314_1516_1718,
        transaction: 0x2122_2324,
        announce: announce(Some(Event::Started)),
        url_data: "/announce?x=1".to_owned(),
    };
    let bytes = announced.encode();
    let field = |offset: usize, length: usize| &bytes[offset..offset + length];
    assert_eq!(field(0, 8), [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
    assert_eq!(field(8, 8), [0, 0, 0, 1, 0x21, 0x22, 0x23, 0x24]);
    assert_eq!((field(16, 20), field(36, 20)), (&[0xaa; 20][..], &[0xbb; 20][..]));
    assert_eq!(field(56, 8), 1u64.to_be_bytes(), "downloaded");
    assert_eq!(field(64, 8), 2u64.to_be_bytes(), "left");
    assert_eq!(field(72, 8), 3u64.to_be_bytes(), "uploaded");
    assert_eq!(field(80, 4), [0, 0, 0, 2], "started");
    assert_eq!(field(84, 4), [0; 4], "the address that it comes from");
    assert_eq!(field(88, 4), [1, 2, 3, 4], "key");
    assert_eq!(field(92, 4), [0xff; 4], "as many as the tracker likes");
    assert_eq!(field(96, 2), 6881u16.to_be_bytes());
    assert_eq!(field(98, 2), [2, 13]);
    assert_eq!(&bytes[100..], b"/announce?x=1");
}

#[test]
fn an_answer_is_read_as_bep_15_has_it_and_of_a_peer_cut_short_nothing() {
    let mut bytes = vec![0, 0, 0, 1, 0, 0, 0, 5];
    for number in [1800u32, 9, 7] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend([192, 0, 2, 1, 0x1a, 0xe1, 192, 0, 2]);
    let response = answer(&["192.0.2.1:6881"]);
    let read = UdpResponse::decode(&bytes, false);
    assert_eq!(read, Some(UdpResponse::Announce { transaction: 5, response }));
    assert_eq!(UdpResponse::decode(&bytes[..19], false), None);
    assert_eq!(UdpResponse::decode(&[0, 0, 0, 9, 0, 0, 0, 5], false), None);
}

#[test]
fn a_scrape_and_its_answer_have_their_fields_where_bep_15_has_them() {
    let (connection, transaction) = (0x1112_1314_1516_1718, 0x2122_2324);
    let swarms = vec![InfoHash([0xaa; 20]), InfoHash([0xbb; 20])];
    let bytes = UdpRequest::Scrape { connection, transaction, swarms }.encode();
    let head = [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0, 0, 0, 2, 0x21, 0x22, 0x23, 0x24];
    assert_eq!(bytes, [&head[..], &[0xaa; 20], &[0xbb; 20]].concat());

    let answer = [0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 7, 0, 0, 1, 0, 0, 0, 0, 9, 1, 2];
    let counts = SwarmCounts { complete: 7, downloaded: 256, incomplete: 9 };
    let read = UdpResponse::decode(&answer, false);
    assert_eq!(read, Some(UdpResponse::Scrape { transaction: 5, swarms: vec![counts] }));
}

#[test]
fn a_scrape_connects_and_asks_and_an_announce_is_no_answer_to_it() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let swarms = vec![InfoHash([0xaa; 20])];
    let mut exchange = UdpExchange::scrape(swarms.clone());
    let connect = sent(&mut exchange, 0, &mut rng);
    let id = UdpResponse::Connect { transaction: transaction(&connect), connection: 77 };
    assert_eq!(exchange.receive(&id.encode(), at(1)), None);
    let asked = sent(&mut exchange, 1, &mut rng);
    let transaction = transaction(&asked);
    assert_eq!(asked, Some(UdpRequest::Scrape { connection: 77, transaction, swarms }));
    let announced = UdpResponse::Announce { transaction, response: answer(&[]) };
    assert_eq!(exchange.receive(&announced.encode(), at(2)), None);
    let swarms = vec![SwarmCounts { complete: 1, downloaded: 2, incomplete: 3 }];
    let scraped = UdpResponse::Scrape { transaction, swarms: swarms.clone() };
    let told = exchange.receive(&scraped.encode(), at(2));
    assert_eq!(told, Some(Ok(UdpAnswer::Scraped(swarms))));
}

#[test]
fn long_url_data_goes_out_in_parts_and_unknown_options_are_passed_over() {
    let url_data = format!("/{}", "x".repeat(600));
    let (connection, transaction) = (1, 2);
    let announce = announce(None);
    let whole = UdpRequest::Announce { connection, transaction, announce, url_data };
    let bytes = whole.encode();
    assert_eq!(bytes.len(), 98 + 601 + 3 * 2);
    assert_eq!(UdpRequest::decode(&bytes), Some(whole.clone()));
    let more = [&bytes[..], &[1, 77, 2, 0, 0, 0, 2, 1, b'y']].concat();
    assert_eq!(UdpRequest::decode(&more), Some(whole), "an option, and what follows the end");
    assert_eq!(UdpRequest::decode(&bytes[..700]), None, "cut short");
}

/// An exchange and its generator.
fn exchange() -> (UdpExchange, ChaCha8Rng) {
    let exchange = UdpExchange::new(announce(None), "/announce".to_owned(), false);
    (exchange, ChaCha8Rng::seed_from_u64(1))
}

fn at(seconds: u64) -> Time {
    Time::from_secs(seconds)
}

fn sent(exchange: &mut UdpExchange, now: u64, rng: &mut ChaCha8Rng) -> Option<UdpRequest> {
    exchange.poll(at(now), rng).map(|bytes| UdpRequest::decode(&bytes).unwrap())
}

fn transaction(request: &Option<UdpRequest>) -> u32 {
    match request {
        Some(
            UdpRequest::Connect { transaction }
            | UdpRequest::Announce { transaction, .. }
            | UdpRequest::Scrape { transaction, .. },
        ) => *transaction,
        None => panic!("nothing was sent"),
    }
}

#[test]
fn it_connects_then_announces_under_the_id_that_it_got() {
    let (mut exchange, mut rng) = exchange();
    let connect = sent(&mut exchange, 0, &mut rng);
    let transaction_of_connect = transaction(&connect);
    assert!(matches!(connect, Some(UdpRequest::Connect { .. })));
    assert_eq!(sent(&mut exchange, 1, &mut rng), None);
    let id = UdpResponse::Connect { transaction: transaction_of_connect, connection: 77 };
    assert_eq!(exchange.receive(&id.encode(), at(1)), None);
    let announced = sent(&mut exchange, 1, &mut rng);
    let url = "/announce";
    assert!(matches!(
        &announced,
        Some(UdpRequest::Announce { connection: 77, url_data, .. }) if url_data == url
    ));
    let response = answer(&["192.0.2.1:6881"]);
    let answered =
        UdpResponse::Announce { transaction: transaction(&announced), response: response.clone() };
    let scraped = UdpResponse::Scrape { transaction: transaction(&announced), swarms: vec![] };
    assert_eq!(exchange.receive(&scraped.encode(), at(2)), None, "it did not ask for that");
    let answer = UdpAnswer::Announced(response);
    assert_eq!(exchange.receive(&answered.encode(), at(2)), Some(Ok(answer)));
}

#[test]
fn silence_doubles_the_patience_and_an_old_id_is_asked_for_anew() {
    let (mut exchange, mut rng) = exchange();
    let connect = sent(&mut exchange, 0, &mut rng);
    assert_eq!(exchange.poll_timeout(), Some(at(15)));
    assert_eq!(sent(&mut exchange, 14, &mut rng), None);
    let again = sent(&mut exchange, 15, &mut rng);
    assert!(matches!(again, Some(UdpRequest::Connect { .. })));
    assert_eq!(exchange.poll_timeout(), Some(at(15 + 30)));
    assert_eq!(again, connect, "so that an answer to the first is one to both");
    let id = UdpResponse::Connect { transaction: transaction(&again), connection: 2 };
    exchange.receive(&id.encode(), at(20));
    for (now, connects) in [(20, false), (50, false), (110, true)] {
        let request = sent(&mut exchange, now, &mut rng);
        assert_eq!(matches!(request, Some(UdpRequest::Connect { .. })), connects, "{now}");
    }
}

#[test]
fn only_an_answer_to_what_was_asked_counts() {
    let (mut exchange, mut rng) = exchange();
    let connect = sent(&mut exchange, 0, &mut rng);
    let transaction = transaction(&connect);
    let response = answer(&[]);
    for datagram in [
        UdpResponse::Connect { transaction: transaction ^ 1, connection: 1 },
        UdpResponse::Announce { transaction, response },
        UdpResponse::Error { transaction: transaction ^ 1, message: String::new() },
    ] {
        assert_eq!(exchange.receive(&datagram.encode(), at(1)), None, "{datagram:?}");
    }
    let refusal = UdpResponse::Error { transaction, message: "no".to_owned() };
    let told = exchange.receive(&refusal.encode(), at(1));
    assert_eq!(told, Some(Err("the tracker refuses: no".to_owned())));
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        connection: u64, transaction: u32, downloaded: u64, left: u64, port: u16,
        numwant in prop::option::of(0u32..1 << 31), url_data in ".{0,300}", message in ".{0,80}",
        ipv6: bool,
    ) {
        let announce = AnnounceRequest { downloaded, left, port, numwant, ..announce(None) };
        for request in [
            UdpRequest::Connect { transaction },
            UdpRequest::Announce { connection, transaction, announce, url_data },
            UdpRequest::Scrape { connection, transaction, swarms: vec![InfoHash([7; 20]); 3] },
        ] {
            prop_assert_eq!(UdpRequest::decode(&request.encode()), Some(request));
        }
        let peers = if ipv6 { ["[2001:db8::1]:1"] } else { ["192.0.2.1:1"] };
        for response in [
            UdpResponse::Connect { transaction, connection },
            UdpResponse::Announce { transaction, response: answer(&peers) },
            UdpResponse::Scrape {
                transaction,
                swarms: vec![SwarmCounts { complete: port.into(), downloaded: 1, incomplete: 2 }],
            },
            UdpResponse::Error { transaction, message },
        ] {
            prop_assert_eq!(UdpResponse::decode(&response.encode(), ipv6), Some(response));
        }
    }

    #[test]
    fn any_datagram_is_read_or_passed_over(bytes: Vec<u8>, ipv6: bool) {
        let _ = (UdpRequest::decode(&bytes), UdpResponse::decode(&bytes, ipv6));
    }
}
