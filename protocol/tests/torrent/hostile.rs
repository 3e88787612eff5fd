//! What remotes try that mean no good.

use reseed_protocol::{
    Bitfield, Layout, PeerId,
    torrent::{CloseReason, Config},
    wire::Handshake,
};

use crate::{
    INFO_HASH, start,
    talk::{Talk, torrent},
};

#[test]
fn who_says_it_is_us_gets_one_handshake_and_no_second_one() {
    for second in [PeerId([1; 20]), PeerId([2; 20])] {
        let layout = Layout::new(16 * 1024, 100_000);
        let start = start(layout, Bitfield::empty(layout.pieces()));
        let mut talk = Talk::new(torrent(Config::new(PeerId([1; 20]), 6881), start));
        talk.hears_bytes(&Handshake::new(INFO_HASH, PeerId([1; 20])).encode());
        assert_eq!((talk.said().buffered(), talk.closed()), (Handshake::LENGTH, None));
        talk.hears_bytes(&Handshake::new(INFO_HASH, second).encode());
        assert_eq!(talk.said().buffered(), Handshake::LENGTH, "BEP 3 has one each way");
        let violation = CloseReason::Violation("a second handshake".to_owned());
        assert_eq!(talk.closed(), Some(&violation));
    }
}
