//! Who may have the content of a closed swarm: the owner's key, everybody's own, and
//! the certificates that go round.

use reseed_protocol::{
    InfoHash,
    extension::closed_swarm::{Certificate, Membership, PrivateKey, PublicKey},
};

use crate::{
    Content, Plan, Substreams,
    plan::{CertificatePlan, PeerPlan},
};

/// Unix time (seconds) at the start of a run: the beginning of 2010.
pub(crate) const UNIX_EPOCH_S: u64 = 1_262_304_000;

/// When a certificate has ended that had before the run began (Unix time, seconds).
const PAST_S: u64 = UNIX_EPOCH_S - 1;

/// The private key of whoever made the torrent. It does not depend on the seed, since
/// the torrent does not.
pub(crate) fn owner() -> PrivateKey {
    key(0, "torrent key")
}

fn key(seed: u64, label: &str) -> PrivateKey {
    PrivateKey::generate(&mut Substreams::new(seed).stream(label))
}

/// A peer's own key.
fn own_key(plan: &Plan, peer: &PeerPlan) -> PrivateKey {
    key(plan.seed, &format!("keys/{}", peer.name))
}

/// What `peer` shows others, if anything.
pub(crate) fn membership(plan: &Plan, peer: &PeerPlan, content: &Content) -> Option<Membership> {
    if !plan.torrent.closed {
        return None;
    }
    let (key, swarm) = (own_key(plan, peer), content.metainfo().info_hash);
    let issue = |by: &PrivateKey, swarm, until| Certificate::issue(by, swarm, key.public(), until);
    let certificate = match peer.certificate {
        CertificatePlan::Valid => issue(&owner(), swarm, 0),
        CertificatePlan::ExpiresMs(at) => issue(&owner(), swarm, expiry_s(at)),
        CertificatePlan::None => return None,
        CertificatePlan::Expired => issue(&owner(), swarm, PAST_S),
        // Ours once, with a later time written into it.
        CertificatePlan::Forged => Certificate { expires_s: 0, ..issue(&owner(), swarm, PAST_S) },
        CertificatePlan::SelfMade => issue(&key, swarm, 0),
        CertificatePlan::OtherSwarm => issue(&owner(), InfoHash([0; 20]), 0),
    };
    Some(Membership { certificate, key })
}

/// Unix time (seconds) at which a certificate ends that is to last for `at_ms` of a run.
fn expiry_s(at_ms: u64) -> u64 {
    UNIX_EPOCH_S + at_ms.div_ceil(1000)
}

/// Until when (Unix seconds, `u64::MAX` for ever) the owner lets `peer` have the
/// content, if at all.
pub(crate) fn entitled_until(plan: &Plan, peer: &PeerPlan) -> Option<u64> {
    match peer.certificate {
        _ if !plan.torrent.closed => Some(u64::MAX),
        CertificatePlan::Valid => Some(u64::MAX),
        CertificatePlan::ExpiresMs(at) => Some(expiry_s(at)),
        // By a clock that was set back it may still have it.
        CertificatePlan::Expired => Some(PAST_S),
        _ => None,
    }
}

/// Whether `peer` may have all of the content, and runs a client, so that it is to finish.
pub(crate) fn is_to_finish(plan: &Plan, peer: &PeerPlan) -> bool {
    peer.runs_client() && entitled_until(plan, peer) == Some(u64::MAX)
}

/// The public key of `peer`.
pub(crate) fn public_key(plan: &Plan, peer: &PeerPlan) -> PublicKey {
    own_key(plan, peer).public()
}
