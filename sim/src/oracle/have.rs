//! I-HAVE: only pieces that are verified on the local store are announced, and
//! the bytes served are the true ones.

use std::{collections::BTreeMap, rc::Rc};

use reseed_protocol::{
    Bitfield, Block, Torrent,
    torrent::{Event, Frame, Speaker, Spoken},
    wire::Message,
};

use super::{Code, Finding, Oracle, Scene, brought};
use crate::{Content, Plan};

/// Holds each peer's disk against the truth when the peer first claims a piece.
pub(super) struct Have {
    content: Rc<Content>,
    /// Pieces found true on each peer's disk since it started.
    found: Vec<Bitfield>,
    /// Peers that are meant to lie: what they serve is I-BAN's affair.
    liars: Vec<bool>,
    /// Which piece of a live stream each peer had at a place when it last claimed that.
    made: BTreeMap<(usize, u32), u64>,
    checks: u64,
}

impl Have {
    pub(super) fn new(plan: &Plan, content: Rc<Content>) -> Have {
        let none = Bitfield::empty(content.layout().pieces());
        let liars: Vec<bool> = plan.peers.iter().map(|peer| peer.lies.is_some()).collect();
        Have { content, found: vec![none; liars.len()], liars, made: BTreeMap::new(), checks: 0 }
    }

    fn claims(&mut self, scene: Scene<'_>, piece: u32) -> Finding {
        self.checks += 1;
        if self.content.broadcast().is_some() {
            return self.claims_live(scene, piece);
        }
        if self.found[scene.peer].contains(piece) {
            return Ok(());
        }
        if !self.content.is_on(scene.disk, piece) && !self.content.has_flipped(scene.disk, piece) {
            return Err(format!("it claims piece {piece}, which is not whole on its disk"));
        }
        self.found[scene.peer].insert(piece);
        Ok(())
    }

    /// What lies at a place of a live stream changes, and only for a later piece.
    fn claims_live(&mut self, scene: Scene<'_>, place: u32) -> Finding {
        let Some(made) = self.content.made_on(scene.disk, place) else {
            if self.content.has_flipped(scene.disk, place) {
                return Ok(());
            }
            return Err(format!("it claims piece {place}, and no true one is on its disk"));
        };
        let before = self.made.insert((scene.peer, place), made);
        match before.is_none_or(|before| before <= made) {
            true => Ok(()),
            false => Err(format!("it claims piece {place}, where an earlier one is by now")),
        }
    }

    /// What has flipped on its disk it serves in good faith.
    fn serves(&mut self, scene: Scene<'_>, block: Block, data: &[u8]) -> Finding {
        self.checks += 1;
        match self.content.is_true(block, data) || self.content.has_flipped(scene.disk, block.piece)
        {
            true => Ok(()),
            false => Err(format!("it serves {block:?} with other bytes than the true ones")),
        }
    }
}

impl Oracle for Have {
    fn code(&self) -> Code {
        Code::Have
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn started(&mut self, peer: usize) {
        self.found[peer] = Bitfield::empty(self.content.layout().pieces());
        self.made.retain(|(whose, _), _| *whose != peer);
    }

    fn happened(&mut self, scene: Scene<'_>, _: &Torrent, event: &Event) -> Finding {
        if let Event::PieceLost { piece } = event {
            self.found[scene.peer].remove(*piece);
        }
        Ok(())
    }

    fn spoke(&mut self, scene: Scene<'_>, _: &Torrent, spoken: &Spoken) -> Finding {
        let (Speaker::Us, Frame::Message(message)) = (spoken.by, &spoken.frame) else {
            return Ok(());
        };
        let pieces = self.content.layout().pieces();
        match message {
            Message::Have { piece } => self.claims(scene, *piece),
            Message::HaveAll => (0..pieces).try_for_each(|piece| self.claims(scene, piece)),
            Message::Bitfield(bytes) => {
                let claimed =
                    Bitfield::from_wire(bytes, pieces).map_err(|error| error.to_string())?;
                claimed.iter().try_for_each(|piece| self.claims(scene, piece))
            }
            message if self.liars[scene.peer] && brought(message).is_some() => Ok(()),
            _ => match brought(message) {
                Some((block, data)) => self.serves(scene, block, &data),
                None => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{super::stage, *};
    use crate::{SimDisk, plan::Has};

    /// What is found when a peer with the first two of three pieces says `message`.
    fn finding(message: Message) -> Finding {
        let (content, disk) = (stage::content(), SimDisk::new());
        content.put(&Has::Pieces(vec![0, 1]), &disk).expect("there is room");
        finding_of(
            Have {
                content,
                found: vec![Bitfield::empty(3)],
                liars: vec![false],
                made: BTreeMap::new(),
                checks: 0,
            },
            &disk,
            message,
        )
    }

    fn finding_of(mut have: Have, disk: &SimDisk, message: Message) -> Finding {
        let torrent = stage::torrent(stage::id(1));
        have.spoke(stage::scene(0, 0, disk), &torrent, &stage::said(message))
    }

    fn claimed(piece: u32) -> Finding {
        Err(format!("it claims piece {piece}, which is not whole on its disk"))
    }

    #[test]
    fn whichever_way_a_piece_is_claimed_it_is_on_the_disk() {
        assert_eq!(finding(Message::Have { piece: 1 }), Ok(()));
        assert_eq!(finding(Message::Have { piece: 2 }), claimed(2));
        assert_eq!(finding(Message::Bitfield(vec![0b1100_0000].into())), Ok(()));
        assert_eq!(finding(Message::Bitfield(vec![0b0110_0000].into())), claimed(2));
        assert_eq!(finding(Message::HaveAll), claimed(2));
        assert_eq!(finding(Message::HaveNone), Ok(()));
    }

    #[test]
    fn what_is_served_is_true_to_the_last_byte() {
        let block = Block { piece: 1, begin: 0, length: 16 * 1024 };
        let served =
            |data: Vec<u8>| finding(Message::Piece { piece: 1, begin: 0, data: Bytes::from(data) });
        let mut data = stage::content().block(block).unwrap().to_vec();
        assert_eq!(served(data.clone()), Ok(()));
        *data.last_mut().unwrap() ^= 1;
        let words = format!("it serves {block:?} with other bytes than the true ones");
        assert_eq!(served(data), Err(words));
    }
}
