use std::collections::BTreeMap;

use bytes::Bytes;
use reseed_protocol::{BLOCK_LENGTH, InfoHash, PeerId};

use super::*;

/// Five pieces of two blocks.
fn layout() -> Layout {
    Layout::new(2 * BLOCK_LENGTH, 10 * u64::from(BLOCK_LENGTH))
}

const BLOCK: Block = Block { piece: 1, begin: BLOCK_LENGTH, length: BLOCK_LENGTH };

fn handshake() -> Handshake {
    Handshake::new(InfoHash([1; 20]), PeerId([2; 20]))
}

/// A connection on which these handshakes were exchanged.
fn after(ours: Handshake, theirs: Handshake) -> Dialogue {
    let mut dialogue = Dialogue::default();
    dialogue.say(&Frame::Handshake(ours), layout()).expect("it is the first");
    dialogue.hear(&Frame::Handshake(theirs), layout());
    dialogue
}

/// Nothing but BEP 3.
fn plain() -> Dialogue {
    after(handshake(), handshake())
}

fn fast() -> Dialogue {
    after(handshake().with_fast(), handshake().with_fast())
}

fn extended() -> Dialogue {
    after(handshake().with_extensions(), handshake().with_extensions())
}

/// A remote that has everything, and lets us request it.
fn open(dialogue: Dialogue) -> Dialogue {
    dialogue.heard(bitfield(0b1111_1000)).heard(Message::Unchoke)
}

fn bitfield(bits: u8) -> Message {
    Message::Bitfield(vec![bits].into())
}

fn block_of(length: u32) -> Message {
    let data = Bytes::from(vec![0; length as usize]);
    Message::Piece { piece: BLOCK.piece, begin: BLOCK.begin, data }
}

/// An extension handshake that declares `ut_pex` under `id`.
fn declaring(id: u8) -> Message {
    let m = BTreeMap::from([("ut_pex".to_owned(), id)]);
    let payload = ExtensionHandshake { m, ..ExtensionHandshake::default() }.encode();
    Message::Extended { id: 0, payload }
}

fn extended_message(id: u8) -> Message {
    Message::Extended { id, payload: Bytes::new() }
}

impl Dialogue {
    #[track_caller]
    fn said(mut self, message: Message) -> Dialogue {
        self.say(&Frame::Message(message), layout()).expect("it may be said");
        self
    }

    fn heard(mut self, message: Message) -> Dialogue {
        self.hear(&Frame::Message(message), layout());
        self
    }

    #[track_caller]
    fn allows(&self, message: Message) {
        assert_eq!(self.may_say(&message, layout()), Ok(()), "{message}");
    }

    #[track_caller]
    fn forbids(&self, message: Message, why: &str) {
        assert_eq!(self.may_say(&message, layout()), Err(why), "{message}");
    }
}

#[test]
fn there_is_one_handshake_and_it_comes_first() {
    let silent = Dialogue::default();
    silent.forbids(Message::Interested, "no handshake was sent before it");
    silent.forbids(Message::KeepAlive, "no handshake was sent before it");
    let again = plain().say(&Frame::Handshake(handshake()), layout());
    assert_eq!(again, Err("a handshake was sent before it"));
}

#[test]
fn what_one_has_is_said_once_and_first() {
    plain().allows(bitfield(0));
    plain().said(bitfield(0)).forbids(bitfield(0), NOT_FIRST);
    plain().said(Message::Interested).forbids(bitfield(0), NOT_FIRST);
    fast().allows(Message::HaveAll);
    fast().said(Message::HaveNone).forbids(Message::HaveAll, NOT_FIRST);
    fast().said(bitfield(0)).forbids(Message::HaveNone, NOT_FIRST);
    let after_theirs = fast().heard(Message::HaveAll).heard(Message::Interested);
    after_theirs.allows(Message::HaveNone);
}

#[test]
fn a_bitfield_has_a_bit_for_each_piece_and_no_more() {
    let why = "not of as many bits as there are pieces";
    plain().forbids(bitfield(0b0000_0100), why);
    plain().forbids(Message::Bitfield(vec![0, 0].into()), why);
    plain().forbids(Message::Bitfield(Bytes::new()), why);
}

#[test]
fn the_fast_messages_need_both_sides_consent() {
    let one_sided = [
        plain(),
        after(handshake().with_fast(), handshake()),
        after(handshake(), handshake().with_fast()),
    ];
    for dialogue in one_sided {
        dialogue.forbids(Message::HaveAll, NOT_FAST);
        dialogue.forbids(Message::HaveNone, NOT_FAST);
        dialogue.forbids(Message::AllowedFast { piece: 0 }, NOT_FAST);
        dialogue.forbids(Message::Suggest { piece: 0 }, NOT_FAST);
        dialogue.heard(Message::Request(BLOCK)).forbids(Message::Reject(BLOCK), NOT_FAST);
    }
}

#[test]
fn a_piece_that_is_named_exists() {
    for piece in [5, u32::MAX] {
        fast().forbids(Message::Have { piece }, NO_PIECE);
        fast().forbids(Message::AllowedFast { piece }, NO_PIECE);
        fast().forbids(Message::Suggest { piece }, NO_PIECE);
    }
    fast().allows(Message::Have { piece: 4 });
}

#[test]
fn a_request_is_for_what_the_remote_has() {
    let why = "the remote does not have the piece";
    let silent = plain().heard(Message::Unchoke);
    silent.forbids(Message::Request(BLOCK), why);
    let others = plain().heard(bitfield(0b1011_1000)).heard(Message::Unchoke);
    others.forbids(Message::Request(BLOCK), why);
    others.heard(Message::Have { piece: 1 }).allows(Message::Request(BLOCK));
}

#[test]
fn a_request_waits_for_the_unchoke() {
    let why = "the remote chokes us";
    let choked = plain().heard(bitfield(0b1111_1000));
    choked.forbids(Message::Request(BLOCK), why);
    let unchoked = choked.heard(Message::Unchoke);
    unchoked.allows(Message::Request(BLOCK));
    unchoked.heard(Message::Choke).forbids(Message::Request(BLOCK), why);
}

#[test]
fn an_allowed_fast_piece_may_be_requested_while_choked() {
    let granted = fast().heard(Message::HaveAll).heard(Message::AllowedFast { piece: 1 });
    granted.allows(Message::Request(BLOCK));
    granted.forbids(Message::Request(Block { piece: 2, ..BLOCK }), "the remote chokes us");
    let not_agreed = plain().heard(bitfield(0b1111_1000)).heard(Message::AllowedFast { piece: 1 });
    not_agreed.forbids(Message::Request(BLOCK), "the remote chokes us");
}

#[test]
fn a_request_lies_in_one_piece_and_is_no_longer_than_a_block() {
    let (open, why) = (open(plain()), "not within a piece, or longer than 16 KiB");
    for block in [
        Block { length: BLOCK_LENGTH + 1, begin: 0, ..BLOCK },
        Block { length: 0, ..BLOCK },
        Block { begin: BLOCK.begin + 1, ..BLOCK },
        Block { begin: u32::MAX, ..BLOCK },
        Block { piece: 5, ..BLOCK },
    ] {
        open.forbids(Message::Request(block), why);
    }
}

#[test]
fn a_block_is_requested_again_only_after_an_end_of_the_first_request() {
    let asked = |dialogue| open(dialogue).said(Message::Request(BLOCK));
    asked(plain()).forbids(Message::Request(BLOCK), "it was requested before");
    asked(plain()).heard(block_of(BLOCK_LENGTH)).allows(Message::Request(BLOCK));
    asked(plain()).said(Message::Cancel(BLOCK)).allows(Message::Request(BLOCK));
    asked(fast()).said(Message::Cancel(BLOCK)).allows(Message::Request(BLOCK));
    asked(fast()).heard(Message::Reject(BLOCK)).allows(Message::Request(BLOCK));
}

#[test]
fn a_choke_ends_requests_unless_the_fast_extension_answers_each() {
    let choked_since = |dialogue| {
        let asked = open(dialogue).said(Message::Request(BLOCK));
        asked.heard(Message::Choke).heard(Message::Unchoke)
    };
    choked_since(plain()).allows(Message::Request(BLOCK));
    choked_since(fast()).forbids(Message::Request(BLOCK), "it was requested before");
}

#[test]
fn only_what_was_requested_is_cancelled_and_only_once() {
    open(plain()).forbids(Message::Cancel(BLOCK), "it was not requested");
    let cancelled =
        |dialogue| open(dialogue).said(Message::Request(BLOCK)).said(Message::Cancel(BLOCK));
    cancelled(plain()).forbids(Message::Cancel(BLOCK), "it was not requested");
    cancelled(fast()).forbids(Message::Cancel(BLOCK), "it was cancelled before");
    cancelled(fast()).said(Message::Request(BLOCK)).allows(Message::Cancel(BLOCK));
}

#[test]
fn a_block_goes_out_once_to_who_requested_just_that() {
    plain().forbids(block_of(BLOCK_LENGTH), UNREQUESTED);
    let asked = plain().heard(Message::Request(BLOCK));
    asked.forbids(block_of(BLOCK_LENGTH - 1), UNREQUESTED);
    asked.said(block_of(BLOCK_LENGTH)).forbids(block_of(BLOCK_LENGTH), UNREQUESTED);
}

#[test]
fn a_cancelled_request_is_answered_with_the_fast_extension_only() {
    let cancelled =
        |dialogue: Dialogue| dialogue.heard(Message::Request(BLOCK)).heard(Message::Cancel(BLOCK));
    cancelled(plain()).forbids(block_of(BLOCK_LENGTH), UNREQUESTED);
    cancelled(fast()).allows(block_of(BLOCK_LENGTH));
    cancelled(fast()).said(Message::Reject(BLOCK)).forbids(Message::Reject(BLOCK), UNREQUESTED);
}

#[test]
fn our_choke_drops_the_remotes_requests_unless_the_fast_extension_answers_each() {
    let choked = |dialogue: Dialogue| dialogue.heard(Message::Request(BLOCK)).said(Message::Choke);
    choked(plain()).forbids(block_of(BLOCK_LENGTH), UNREQUESTED);
    choked(fast()).allows(Message::Reject(BLOCK));
}

#[test]
fn nothing_is_rejected_that_was_not_requested() {
    fast().forbids(Message::Reject(BLOCK), UNREQUESTED);
    fast().heard(Message::Request(BLOCK)).allows(Message::Reject(BLOCK));
}

#[test]
fn an_extended_message_has_an_id_that_the_remote_declared() {
    let why = "the remote declared no such extension";
    extended().forbids(extended_message(1), why);
    extended().heard(declaring(0)).forbids(extended_message(1), why);
    extended().said(declaring(1)).forbids(extended_message(1), why);
    let declared = extended().heard(declaring(3));
    declared.allows(extended_message(3));
    declared.forbids(extended_message(1), why);
    declared.heard(declaring(0)).forbids(extended_message(3), why);
}

#[test]
fn the_extension_handshake_needs_both_sides_consent() {
    extended().allows(declaring(1));
    plain().forbids(declaring(1), "extensions were not agreed on");
    let ours_alone = after(handshake().with_extensions(), handshake());
    ours_alone.forbids(declaring(1), "extensions were not agreed on");
}

/// BEP 54.
#[test]
fn a_piece_that_is_gone_is_not_requested() {
    let ours = || handshake().with_extensions();
    let m = BTreeMap::from([("lt_donthave".to_owned(), 7)]);
    let payload = ExtensionHandshake { m, ..ExtensionHandshake::default() }.encode();
    let declared = Message::Extended { id: 0, payload };
    let gone = |id, piece: u32| {
        let payload = Bytes::copy_from_slice(&piece.to_be_bytes());
        Message::Extended { id, payload }
    };
    let dialogue = || open(after(ours(), ours())).said(declared.clone());
    dialogue().heard(gone(7, BLOCK.piece + 1)).allows(Message::Request(BLOCK));
    dialogue().heard(gone(8, BLOCK.piece)).allows(Message::Request(BLOCK));
    let forbidden = dialogue().heard(gone(7, BLOCK.piece));
    assert_eq!(
        forbidden.may_say(&Message::Request(BLOCK), layout()),
        Err("the remote does not have the piece"),
    );
    let again = forbidden.heard(Message::Have { piece: BLOCK.piece });
    again.allows(Message::Request(BLOCK));
}
