use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{super::PrivateKey, *};

const NOW_S: u64 = 1_000;

fn key(seed: u64) -> PrivateKey {
    PrivateKey::generate(&mut ChaCha8Rng::seed_from_u64(seed))
}

fn owner() -> PrivateKey {
    key(100)
}

fn info_hash() -> InfoHash {
    InfoHash([7; 20])
}

/// A member whose certificate ends at `expires_s`.
fn member(seed: u64, expires_s: u64) -> Membership {
    let key = key(seed);
    let certificate = Certificate::issue(&owner(), info_hash(), key.public(), expires_s);
    Membership { certificate, key }
}

/// An end of a handshake.
struct End {
    exchange: Exchange,
    keys: Vec<PublicKey>,
    membership: Option<Membership>,
    rng: ChaCha8Rng,
}

impl End {
    fn new(role: Role, membership: Option<Membership>) -> End {
        let rng = ChaCha8Rng::seed_from_u64(role as u64);
        End { exchange: Exchange::new(role), keys: vec![owner().public()], membership, rng }
    }

    fn swarm(&self) -> Swarm<'_> {
        let membership = self.membership.as_ref();
        Swarm { info_hash: info_hash(), torrent_keys: &self.keys, membership, unix_s: NOW_S }
    }

    fn begins(&mut self) -> Option<ProofMessage> {
        let mut exchange = self.exchange.clone();
        let first = exchange.begin(&self.swarm(), &mut self.rng.clone());
        self.exchange = exchange;
        first
    }

    fn hears(&mut self, message: &ProofMessage) -> Result<Step, ProofError> {
        let (mut exchange, mut rng) = (self.exchange.clone(), self.rng.clone());
        let step = exchange.handle(&message.encode(), &self.swarm(), &mut rng);
        (self.exchange, self.rng) = (exchange, rng);
        step
    }
}

/// Both ends, and what each has proven to the other once nothing more is said.
fn shake(a: Option<Membership>, b: Option<Membership>) -> [Result<bool, ProofError>; 2] {
    let (mut a, mut b) = (End::new(Role::Initiator, a), End::new(Role::Responder, b));
    let mut proven = [Ok(false), Ok(false)];
    let mut next = a.begins();
    let mut from_a = true;
    while let Some(message) = next {
        let (hearer, of) = if from_a { (&mut b, 0) } else { (&mut a, 1) };
        from_a = !from_a;
        match hearer.hears(&message) {
            Ok(step) => {
                proven[of] = Ok(step.proven.is_some());
                next = step.reply;
            }
            Err(error) => {
                proven[of] = Err(error);
                next = None;
            }
        }
    }
    proven
}

#[test]
fn two_members_prove_themselves_to_each_other() {
    assert_eq!(shake(Some(member(1, 0)), Some(member(2, NOW_S + 1))), [Ok(true), Ok(true)]);
}

#[test]
fn who_was_dialled_and_has_no_certificate_has_the_other_proven_and_proves_nothing() {
    assert_eq!(shake(Some(member(1, 0)), None), [Ok(true), Ok(false)]);
}

#[test]
fn who_dials_without_a_certificate_does_not_begin() {
    assert_eq!(End::new(Role::Initiator, None).begins(), None);
    assert_eq!(End::new(Role::Responder, Some(member(1, 0))).begins(), None);
}

#[test]
fn a_certificate_that_has_expired_proves_nothing_and_costs_no_connection() {
    let [a, b] = shake(Some(member(1, NOW_S)), Some(member(2, 0)));
    let expected = ProofError::Expired { expired_s: NOW_S, now_s: NOW_S };
    assert!(!expected.is_violation());
    assert_eq!([a, b], [Err(expected), Ok(false)], "nor is it answered with a proof");
}

#[test]
fn a_certificate_with_another_expiry_written_into_it_is_forged() {
    let mut forged = member(1, NOW_S);
    forged.certificate.expires_s = 0;
    assert_eq!(shake(Some(forged), Some(member(2, 0)))[0], Err(ProofError::Forged));
    assert!(ProofError::Forged.is_violation());
}

#[test]
fn a_certificate_of_a_key_that_the_torrent_does_not_name_proves_nothing() {
    let own = key(1);
    let certificate = Certificate::issue(&own, info_hash(), own.public(), 0);
    let found = shake(Some(Membership { certificate, key: own.clone() }), Some(member(2, 0)));
    assert_eq!(found[0], Err(ProofError::UnknownKey { key: own.public() }));
}

#[test]
fn a_certificate_for_another_torrent_proves_nothing() {
    let own = key(1);
    let other = InfoHash([8; 20]);
    let certificate = Certificate::issue(&owner(), other, own.public(), 0);
    let found = shake(Some(Membership { certificate, key: own }), Some(member(2, 0)));
    assert_eq!(found[0], Err(ProofError::OtherCertificate { got: other }));
}

#[test]
fn a_certificate_of_somebody_else_is_of_no_use() {
    let stolen = Membership { key: key(9), ..member(1, 0) };
    let found = shake(Some(stolen), Some(member(2, 0)));
    assert_eq!(found[0], Err(ProofError::NotFresh { key: key(1).public() }));
    assert!(ProofError::NotFresh { key: key(1).public() }.is_violation());
}

#[test]
fn a_proof_that_was_heard_before_is_not_fresh() {
    let mut a = End::new(Role::Initiator, Some(member(1, 0)));
    let challenge = a.begins().unwrap();
    let mut b = End::new(Role::Responder, Some(member(2, 0)));
    let returned = b.hears(&challenge).unwrap().reply.unwrap();
    let heard = a.hears(&returned).unwrap().reply.unwrap();
    assert!(b.hears(&heard).unwrap().proven.is_some());
    let mut later = End { rng: ChaCha8Rng::seed_from_u64(99), ..End::new(Role::Responder, None) };
    later.hears(&challenge).unwrap();
    assert!(matches!(later.hears(&heard), Err(ProofError::NotFresh { .. })));
}

#[test]
fn our_own_proof_proves_nothing_to_us() {
    assert_eq!(shake(Some(member(1, 0)), Some(member(1, 0)))[0], Err(ProofError::Reflected));
}

#[test]
fn a_challenge_for_another_swarm_ends_the_handshake() {
    let mut b = End::new(Role::Responder, Some(member(2, 0)));
    let other = InfoHash([8; 20]);
    let challenge = ProofMessage::Challenge { returned: false, swarm: other, nonce: vec![0; 20] };
    assert_eq!(b.hears(&challenge), Err(ProofError::OtherSwarm { got: other }));
    assert!(b.exchange.has_ended());
}

#[test]
fn no_message_may_come_out_of_turn() {
    let nonce = vec![0; 20];
    let challenge =
        |returned| ProofMessage::Challenge { returned, swarm: info_hash(), nonce: nonce.clone() };
    let certificate = Box::new(member(1, 0).certificate);
    let proof = |returned| ProofMessage::Proof {
        returned,
        certificate: certificate.clone(),
        signature: Vec::new(),
    };
    let all = [challenge(false), challenge(true), proof(false), proof(true)];
    // Each end after as many of its turns as it has, and the one message it may hear.
    let ends = |membership: fn() -> Membership| {
        let idle_b = || End::new(Role::Responder, Some(membership()));
        let mut begun = End::new(Role::Initiator, Some(membership()));
        let first = begun.begins().unwrap();
        let mut returned = idle_b();
        let second = returned.hears(&first).unwrap().reply.unwrap();
        let mut proved = End::new(Role::Initiator, Some(membership()));
        proved.begins();
        proved.hears(&second).unwrap();
        [
            (End::new(Role::Initiator, Some(membership())), "none", 0),
            (idle_b(), "227", 227),
            (begun, "228", 228),
            (returned, "229", 229),
            (proved, "230", 230),
        ]
    };
    for (at, (_, expected, turn)) in ends(|| member(2, 0)).iter().enumerate() {
        for message in all.iter().filter(|message| message.number() != *turn) {
            let mut ends = ends(|| member(2, 0));
            let end = &mut ends[at].0;
            let got = message.number();
            assert_eq!(end.hears(message), Err(ProofError::OutOfOrder { got, expected }));
            assert!(end.exchange.has_ended());
            let again = end.hears(message);
            assert_eq!(again, Err(ProofError::OutOfOrder { got, expected: "none" }));
        }
    }
}

#[test]
fn what_is_no_message_is_malformed() {
    let mut b = End::new(Role::Responder, None);
    let swarm = Swarm { info_hash: info_hash(), torrent_keys: &[], membership: None, unix_s: 0 };
    let error = b.exchange.handle(b"de", &swarm, &mut b.rng).unwrap_err();
    assert_eq!(error.to_string(), "malformed: `message` is a dictionary; expected a list");
    assert!(error.is_violation());
}
