//! The handshake itself: who may say what when, and what it proves.

use rand::Rng;

use super::{
    Certificate, Membership, ProofMessage, PublicKey,
    message::{Nonce, nonce},
};
use crate::{BencodeError, InfoHash};

/// Which end of the handshake one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A: who dialled, and speaks first.
    Initiator,
    /// B: who was dialled.
    Responder,
}

/// What a peer knows when it takes part in a handshake.
#[derive(Debug, Clone, Copy)]
pub struct Swarm<'a> {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// The keys that the torrent names.
    pub torrent_keys: &'a [PublicKey],
    /// What we can prove ourselves with, if anything.
    pub membership: Option<&'a Membership>,
    /// The time (Unix seconds).
    pub unix_s: u64,
}

/// One connection's handshake, as one end has it. It proves each to the other, or one
/// to the other, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    role: Role,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Nothing was said. NextShare: IDLE.
    Idle,
    /// A has sent its challenge. NextShare: EXPECTING_RETURN_CHALLENGE.
    Challenged { nonce_a: Nonce },
    /// B has returned the challenge. NextShare: EXPECTING_INITIATOR_RESPONSE.
    Returned { nonce_a: Nonce, nonce_b: Nonce },
    /// A has sent its proof. NextShare: EXPECTING_RESPONDER_RESPONSE.
    Proved { nonce_a: Nonce, nonce_b: Nonce },
    /// It has come to its end, or failed. NextShare: COMPLETED.
    Ended,
}

/// What a message leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// What to say to it.
    pub reply: Option<ProofMessage>,
    /// What the remote has just proven.
    pub proven: Option<Certificate>,
}

/// Why a message proves nothing. After it the handshake is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// It is no message of the handshake.
    #[error("malformed: {0}")]
    Malformed(#[from] BencodeError),
    /// It is not its turn.
    #[error("message {got} where {expected} is expected")]
    OutOfOrder {
        /// The message's number.
        got: u8,
        /// What may come.
        expected: &'static str,
    },
    /// The challenge is for another swarm than the connection.
    #[error("a challenge for swarm {got}")]
    OtherSwarm {
        /// That swarm.
        got: InfoHash,
    },
    /// The certificate is for another torrent.
    #[error("a certificate for swarm {got}")]
    OtherCertificate {
        /// That torrent.
        got: InfoHash,
    },
    /// The certificate is of a key that the torrent does not name.
    #[error("a certificate of torrent key {key}, which the torrent does not name")]
    UnknownKey {
        /// That key.
        key: PublicKey,
    },
    /// The certificate has ended.
    #[error("a certificate that expired at {expired_s}; it is {now_s} (Unix seconds)")]
    Expired {
        /// When it ended.
        expired_s: u64,
        /// When it was looked at.
        now_s: u64,
    },
    /// The owner did not sign the certificate as it is.
    #[error("a certificate that its owner did not sign")]
    Forged,
    /// The holder's signature is not over this handshake's nonces: the certificate is
    /// somebody else's, or the proof an old one.
    #[error("a proof that the holder of {key} did not sign, or not now")]
    NotFresh {
        /// The certificate's key.
        key: PublicKey,
    },
    /// It is our own proof that came back.
    #[error("our own proof")]
    Reflected,
}

impl ProofError {
    /// Whether it is an attack or a bug, and costs the connection. Else the remote
    /// may be honest, and just has no access: it may still give us what it has.
    pub fn is_violation(&self) -> bool {
        match self {
            ProofError::OtherCertificate { .. }
            | ProofError::UnknownKey { .. }
            | ProofError::Expired { .. } => false,
            ProofError::Malformed(_)
            | ProofError::OutOfOrder { .. }
            | ProofError::OtherSwarm { .. }
            | ProofError::Forged
            | ProofError::NotFresh { .. }
            | ProofError::Reflected => true,
        }
    }
}

impl Exchange {
    /// The handshake of a connection that has just been opened.
    pub fn new(role: Role) -> Exchange {
        Exchange { role, state: State::Idle }
    }

    /// Whether nothing was said yet.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether nothing more is to come.
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Gives up.
    pub fn end(&mut self) {
        self.state = State::Ended;
    }

    /// A's first message. `None` if it is B who is asked, if it was said before, or if
    /// there is nothing that could be proven.
    pub fn begin(&mut self, swarm: &Swarm<'_>, rng: &mut impl Rng) -> Option<ProofMessage> {
        if self.role != Role::Initiator || !self.is_idle() || swarm.membership.is_none() {
            return None;
        }
        let nonce_a = nonce(rng);
        self.state = State::Challenged { nonce_a: nonce_a.clone() };
        Some(ProofMessage::Challenge { returned: false, swarm: swarm.info_hash, nonce: nonce_a })
    }

    /// The remote's next message. After an error the handshake has ended.
    pub fn handle(
        &mut self,
        payload: &[u8],
        swarm: &Swarm<'_>,
        rng: &mut impl Rng,
    ) -> Result<Step, ProofError> {
        let state = std::mem::replace(&mut self.state, State::Ended);
        let message = ProofMessage::decode(payload)?;
        match (self.role, state, message) {
            (
                Role::Responder,
                State::Idle,
                ProofMessage::Challenge { returned: false, swarm: theirs, nonce: nonce_a },
            ) => {
                swarm.is_that(theirs)?;
                let nonce_b = nonce(rng);
                let reply = ProofMessage::Challenge {
                    returned: true,
                    swarm: swarm.info_hash,
                    nonce: nonce_b.clone(),
                };
                self.state = State::Returned { nonce_a, nonce_b };
                Ok(Step { reply: Some(reply), proven: None })
            }
            (
                Role::Initiator,
                State::Challenged { nonce_a },
                ProofMessage::Challenge { returned: true, swarm: theirs, nonce: nonce_b },
            ) => {
                swarm.is_that(theirs)?;
                let reply = swarm.proof(false, &nonce_a, &nonce_b);
                self.state = State::Proved { nonce_a, nonce_b };
                Ok(Step { reply, proven: None })
            }
            (
                Role::Responder,
                State::Returned { nonce_a, nonce_b },
                ProofMessage::Proof { returned: false, certificate, signature },
            ) => {
                swarm.judge(&certificate, &signature, &nonce_a, &nonce_b)?;
                // Who has no certificate cannot answer; A waits in vain.
                let reply = swarm.proof(true, &nonce_a, &nonce_b);
                Ok(Step { reply, proven: Some(*certificate) })
            }
            (
                Role::Initiator,
                State::Proved { nonce_a, nonce_b },
                ProofMessage::Proof { returned: true, certificate, signature },
            ) => {
                swarm.judge(&certificate, &signature, &nonce_a, &nonce_b)?;
                Ok(Step { reply: None, proven: Some(*certificate) })
            }
            (role, state, message) => Err(ProofError::OutOfOrder {
                got: message.number(),
                expected: match (role, state) {
                    (Role::Responder, State::Idle) => "227",
                    (Role::Initiator, State::Challenged { .. }) => "228",
                    (Role::Responder, State::Returned { .. }) => "229",
                    (Role::Initiator, State::Proved { .. }) => "230",
                    _ => "none",
                },
            }),
        }
    }
}

impl Swarm<'_> {
    fn is_that(&self, theirs: InfoHash) -> Result<(), ProofError> {
        match theirs == self.info_hash {
            true => Ok(()),
            false => Err(ProofError::OtherSwarm { got: theirs }),
        }
    }

    /// Our proof, if we have what it takes.
    fn proof(&self, returned: bool, nonce_a: &[u8], nonce_b: &[u8]) -> Option<ProofMessage> {
        let Membership { certificate, key } = self.membership?;
        let signature = key.sign(&ProofMessage::signed(nonce_a, nonce_b, certificate));
        let certificate = Box::new(certificate.clone());
        Some(ProofMessage::Proof { returned, certificate, signature })
    }

    /// Whether a remote has proven access: that it has a certificate for this torrent,
    /// and the key to it. What is cheap to see is looked at first.
    fn judge(
        &self,
        certificate: &Certificate,
        signature: &[u8],
        nonce_a: &[u8],
        nonce_b: &[u8],
    ) -> Result<(), ProofError> {
        if certificate.swarm != self.info_hash {
            return Err(ProofError::OtherCertificate { got: certificate.swarm });
        }
        if !self.torrent_keys.contains(&certificate.torrent_key) {
            return Err(ProofError::UnknownKey { key: certificate.torrent_key });
        }
        let key = certificate.node_key;
        if self.membership.is_some_and(|ours| ours.certificate.node_key == key) {
            return Err(ProofError::Reflected);
        }
        if !certificate.is_signed() {
            return Err(ProofError::Forged);
        }
        if !key.verifies(&ProofMessage::signed(nonce_a, nonce_b, certificate), signature) {
            return Err(ProofError::NotFresh { key });
        }
        if certificate.has_expired(self.unix_s) {
            let (expired_s, now_s) = (certificate.expires_s, self.unix_s);
            return Err(ProofError::Expired { expired_s, now_s });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
