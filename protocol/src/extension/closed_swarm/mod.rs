//! Closed swarms: who may be given content, proven by certificates. `NS_CS`, as
//! NextShare's peers spoke it; there is no BEP.
//!
//! A torrent that names public keys in its `cs_keys` is closed: pieces, and word of
//! them, go only to who holds a [`Certificate`] (a *proof of access*) signed with one
//! of the keys, and proves in an [`Exchange`] that it is theirs. Whoever holds a
//! torrent's [`PrivateKey`] makes certificates: [`Certificate::issue`].
//!
//! ```text
//!  who dialled (A)                               who was dialled (B)
//!     CHALLENGE_A     [227, swarm, nonce A]     ------>
//!                     <------  [228, swarm, nonce B]    CHALLENGE_B
//!     POA_EXCHANGE_A  [229, certificate, proof] ------>
//!                     <------  [230, certificate, proof]  POA_EXCHANGE_B
//! ```
//!
//! A certificate stands in a message as five items: the torrent's info-hash, the
//! torrent's public key, the holder's public key, the time when it expires (Unix
//! seconds, 0 for never), and the owner's signature. The proof is the holder's
//! signature over `[nonce A, nonce B, certificate]`.
//!
//! # What differs from NextShare
//! - The owner's signature covers the expiry. There it did not, so that who held a
//!   certificate could write another time into it.
//! - The curve is NIST P-256 with SHA-256, where a binary curve with SHA-1 was used
//!   that nobody maintains. The crate is RustCrypto's `p256`, which is released with
//!   the rest of that project and runs in constant time; its signatures are
//!   deterministic (RFC 6979), so that no bad generator gives a key away.
//! - A proof that is our own, sent back to us, is none.
//!
//! What it still cannot do: nothing ties the proof to the connection, so who sits
//! between two members and hands on all that they say is taken for one of them.

mod certificate;
mod exchange;
mod key;
mod message;

pub use certificate::{Certificate, Membership};
pub use exchange::{Exchange, ProofError, Role, Step, Swarm};
pub use key::{FLAT_LENGTH, KeyError, PrivateKey, PublicKey};
pub use message::{Nonce, ProofMessage};

/// Keys that a torrent may name (count). More are a mistake, or an attack.
pub const TORRENT_KEYS_MAX: usize = 32;

/// The longest message that is read (bytes): a certificate and a proof take some 500.
pub const MESSAGE_LENGTH_MAX: usize = 2048;
