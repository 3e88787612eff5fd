//! What trackers answer, and are asked.

use reseed_protocol::tracker::{
    AnnounceRequest, AnnounceResponse, ScrapeResponse, read_scrape_query, scrape_query,
};

/// The first byte says whether an answer or a query follows. An answer is bounded, and
/// reads back as it is written; a query says again what it said.
pub fn run(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    if kind % 2 == 0 { answer(rest) } else { query(rest) }
}

fn answer(body: &[u8]) {
    if let Ok(scraped) = ScrapeResponse::from_bytes(body) {
        assert!(scraped.swarms.len() <= ScrapeResponse::SWARMS_MAX);
        assert_eq!(ScrapeResponse::from_bytes(&scraped.to_bytes()), Ok(scraped));
    }
    let Ok(answer) = AnnounceResponse::from_bytes(body) else { return };
    let bounds = AnnounceResponse::INTERVAL_MIN..=AnnounceResponse::INTERVAL_MAX;
    assert!(bounds.contains(&answer.interval));
    assert!(answer.min_interval.is_none_or(|interval| bounds.contains(&interval)));
    assert!(answer.peers.len() <= AnnounceResponse::PEERS_MAX);
    for compact in [true, false] {
        let again = AnnounceResponse::from_bytes(&answer.to_bytes(compact));
        assert_eq!(again.as_ref(), Ok(&answer), "compact: {compact}");
    }
}

fn query(query: &[u8]) {
    let Ok(query) = str::from_utf8(query) else { return };
    if let Ok(swarms) = read_scrape_query(query) {
        assert_eq!(read_scrape_query(&scrape_query(&swarms)), Ok(swarms));
    }
    let Ok(request) = AnnounceRequest::from_query(query) else { return };
    assert_eq!(AnnounceRequest::from_query(&request.to_query()), Ok(request));
}

/// Compact and not, a failure, a query.
pub fn seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 5] = [
        b"\0d8:completei1e10:incompletei2e8:intervali1800e12:min intervali60e5:peers12:\
          \x0a\0\0\x01\x1a\xe1\x0a\0\0\x02\x1a\xe16:peers618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\
          \x01\x1a\xe110:tracker id2:xy15:warning message2:hme",
        b"\0d8:intervali1800e5:peersld2:ip8:10.0.0.17:peer id20:aaaaaaaaaaaaaaaaaaaa\
          4:porti6881eeee",
        b"\0d5:filesd20:xxxxxxxxxxxxxxxxxxxxd8:completei11e10:downloadedi13772e\
          10:incompletei19eeee",
        b"\0d14:failure reason5:sorrye",
        b"\x01info_hash=%01aaaaaaaaaaaaaaaaaaa&peer_id=-RE0001-aaaaaaaaaaaa&port=6881&uploaded=0\
          &downloaded=0&left=7&compact=1&key=01234567&event=started",
    ];
    texts.map(Vec::from).into()
}
