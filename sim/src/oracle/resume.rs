//! I-RESUME: what is remembered is there, whatever the moment of a crash.

use std::{cmp::Ordering, rc::Rc};

use reseed_protocol::{Bitfield, Torrent};

use super::{Code, Finding, Oracle, Scene, Touched};
use crate::{Content, Plan, run::resume_data};

/// Looks at the disk of whoever starts: the pieces that its resume data claims are
/// whole, and once it has looked itself, it knows of no other pieces than are there. It
/// need not find all: of a Merkle torrent the hashes may be lost.
pub(super) struct Resume {
    content: Rc<Content>,
    /// Who reads other bytes from its disk than are there.
    lies: Vec<bool>,
    /// Whether disks may fail, so that what is there need not be found.
    disks_fail: bool,
    /// The true pieces that were on the disk of a peer that has not taken a step since.
    there: Vec<Option<Bitfield>>,
    checks: u64,
}

impl Resume {
    pub(super) fn new(plan: &Plan, content: Rc<Content>) -> Resume {
        let lies = plan.peers.iter().map(|peer| peer.lies.is_some()).collect();
        let disks_fail = !plan.faults.is_empty();
        Resume { content, lies, disks_fail, there: vec![None; plan.peers.len()], checks: 0 }
    }
}

impl Oracle for Resume {
    fn code(&self) -> Code {
        Code::Resume
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn starts(&mut self, scene: Scene<'_>) -> Finding {
        let mut there = Bitfield::empty(self.content.layout().pieces());
        for piece in 0..there.pieces() {
            // What has flipped since nobody can know of without a look.
            let has_flipped = self.content.has_flipped(scene.disk, piece);
            if has_flipped || self.content.is_on(scene.disk, piece) {
                there.insert(piece);
            }
        }
        // Data that is no good is not believed, which the first step shows.
        if let Ok(Some(resume)) = resume_data(&self.content, scene.disk) {
            self.checks += 1;
            if let Some(piece) = resume.verified.iter().find(|piece| !there.contains(*piece)) {
                return Err(format!(
                    "its resume data says that piece {piece} was verified, and it is not whole on \
                     its disk, which has {} of {} pieces",
                    there.count(),
                    there.pieces()
                ));
            }
        }
        self.there[scene.peer] = Some(there).filter(|_| !self.lies[scene.peer]);
        Ok(())
    }

    fn stepped(&mut self, scene: Scene<'_>, torrent: &Torrent, _: Touched<'_>) -> Finding {
        let Some(there) = self.there[scene.peer].take() else { return Ok(()) };
        self.checks += 1;
        let found = torrent.picker().have();
        match found.iter().find(|piece| !there.contains(*piece)) {
            Some(piece) => Err(format!("it took piece {piece} for whole, and it is not")),
            None if self.disks_fail || self.content.metainfo().info.root_hash().is_some() => Ok(()),
            None => match found.count().cmp(&there.count()) {
                Ordering::Equal => Ok(()),
                _ => Err(format!(
                    "it found {} of the {} pieces that are on its disk",
                    found.count(),
                    there.count()
                )),
            },
        }
    }
}
