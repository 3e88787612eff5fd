//! Which extension has which id, in each direction.

use std::collections::{BTreeMap, BTreeSet};

use super::ExtensionHandshake;

/// An extension that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Extension {
    /// Blocks of a Merkle torrent with what proves their piece's hash,
    /// `Tr_hashpiece`. BEP 30.
    HashPiece,
    /// Peer exchange, `ut_pex`. BEP 11. Not to be offered for a private torrent:
    /// BEP 27.
    Pex,
    /// The handshake of closed swarms, `NS_CS`, as NextShare's peers speak it.
    ClosedSwarm,
    /// Give-to-get, `Tr_G2G_v2`, among those who play a download while it comes in.
    /// NextShare.
    GiveToGet,
    /// Metadata exchange, `ut_metadata`. BEP 9. Not for a private torrent: BEP 27.
    Metadata,
    /// Live streams, `Tr_LIVE_v1`: it has no messages, and says that the sender knows
    /// that pieces are forgotten and made anew. NextShare.
    Live,
    /// Pieces that are gone, `lt_donthave`. BEP 54.
    DontHave,
}

impl Extension {
    /// Every one.
    pub const ALL: &[Extension] = &[
        Extension::HashPiece,
        Extension::Pex,
        Extension::ClosedSwarm,
        Extension::GiveToGet,
        Extension::Metadata,
        Extension::Live,
        Extension::DontHave,
    ];

    /// Its name in `m`.
    pub fn name(self) -> &'static str {
        match self {
            Extension::HashPiece => "Tr_hashpiece",
            Extension::Pex => "ut_pex",
            Extension::ClosedSwarm => "NS_CS",
            Extension::GiveToGet => "Tr_G2G_v2",
            Extension::Metadata => "ut_metadata",
            Extension::Live => "Tr_LIVE_v1",
            Extension::DontHave => "lt_donthave",
        }
    }

    /// The id under which a remote sends it to us, in every connection.
    pub fn local_id(self) -> u8 {
        match self {
            // The id that the message had before there were extensions.
            Extension::HashPiece => 250,
            Extension::Pex => 1,
            Extension::ClosedSwarm => 227,
            Extension::GiveToGet => 235,
            Extension::Metadata => 2,
            Extension::Live => 254,
            Extension::DontHave => 3,
        }
    }
}

/// The ids of one connection: ours for what comes in, the remote's for what goes
/// out. BEP 10.
#[derive(Debug, Clone)]
pub struct Registry {
    offered: BTreeSet<Extension>,
    remote: BTreeMap<Extension, u8>,
    /// Whether the remote has declared anything at all.
    declared: bool,
}

/// The remote does not take an extension's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// It has declared nothing.
    #[error("no `m` to look up {name} in: no extension handshake came")]
    NoHandshake {
        /// The extension's name in `m`.
        name: &'static str,
    },
    /// It has not declared this one.
    #[error("no {name} in the remote's `m`")]
    NotDeclared {
        /// The extension's name in `m`.
        name: &'static str,
    },
}

impl Registry {
    /// The registry of a connection on which we take the extensions in `offered`.
    pub fn new(offered: &[Extension]) -> Registry {
        Registry {
            offered: offered.iter().copied().collect(),
            remote: BTreeMap::new(),
            declared: false,
        }
    }

    /// The `m` of our own handshake.
    pub fn handshake_m(&self) -> BTreeMap<String, u8> {
        self.offered
            .iter()
            .map(|extension| (extension.name().to_owned(), extension.local_id()))
            .collect()
    }

    /// Takes over what the remote declares: a new id for each extension that it
    /// names, none for one that it names with 0. What it does not name stays as it
    /// was, because a later handshake holds only changes.
    pub fn apply(&mut self, handshake: &ExtensionHandshake) {
        self.declared = true;
        for &extension in Extension::ALL {
            match handshake.m.get(extension.name()) {
                Some(0) => drop(self.remote.remove(&extension)),
                Some(&id) => drop(self.remote.insert(extension, id)),
                None => {}
            }
        }
    }

    /// The id under which to send `extension`: `None` unless the remote takes it
    /// and we offer it ourselves.
    pub fn remote_id(&self, extension: Extension) -> Option<u8> {
        let id = self.remote.get(&extension)?;
        self.offered.contains(&extension).then_some(*id)
    }

    /// The same, for who has something to send that the remote asked for: says why it
    /// cannot.
    pub fn demand(&self, extension: Extension) -> Result<u8, NotTaken> {
        let name = extension.name();
        match self.remote_id(extension) {
            Some(id) => Ok(id),
            None if self.declared => Err(NotTaken::NotDeclared { name }),
            None => Err(NotTaken::NoHandshake { name }),
        }
    }

    /// Which extension a message that came with `id` belongs to: `None` if we
    /// offer none under it. Id 0 is the handshake itself.
    pub fn local(&self, id: u8) -> Option<Extension> {
        self.offered.iter().copied().find(|extension| extension.local_id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declares(id: u8) -> ExtensionHandshake {
        ExtensionHandshake {
            m: [("ut_pex".to_owned(), id), ("xy_other".to_owned(), 9)].into(),
            ..ExtensionHandshake::default()
        }
    }

    #[test]
    fn no_two_extensions_share_an_id_or_take_that_of_the_handshake() {
        let ids: BTreeSet<u8> = Extension::ALL.iter().map(|one| one.local_id()).collect();
        assert_eq!(ids.len(), Extension::ALL.len());
        assert!(!ids.contains(&0));
    }

    #[test]
    fn nothing_is_sent_before_the_remote_declares_it() {
        let mut registry = Registry::new(&[Extension::Pex]);
        assert_eq!(registry.remote_id(Extension::Pex), None);
        let name = "ut_pex";
        assert_eq!(registry.demand(Extension::Pex), Err(NotTaken::NoHandshake { name }));
        registry.apply(&ExtensionHandshake::default());
        assert_eq!(registry.demand(Extension::Pex), Err(NotTaken::NotDeclared { name }));
        registry.apply(&declares(7));
        assert_eq!(registry.remote_id(Extension::Pex), Some(7));
        assert_eq!(registry.demand(Extension::Pex), Ok(7));
    }

    #[test]
    fn a_later_handshake_changes_what_it_names_and_only_that() {
        let mut registry = Registry::new(&[Extension::Pex]);
        registry.apply(&declares(7));
        registry.apply(&ExtensionHandshake::default());
        assert_eq!(registry.remote_id(Extension::Pex), Some(7), "not named");
        registry.apply(&declares(3));
        assert_eq!(registry.remote_id(Extension::Pex), Some(3), "renumbered");
        registry.apply(&declares(0));
        assert_eq!(registry.remote_id(Extension::Pex), None, "switched off");
        registry.apply(&declares(5));
        assert_eq!(registry.remote_id(Extension::Pex), Some(5), "on again");
    }

    #[test]
    fn what_comes_in_has_the_id_that_we_declared() {
        let mut registry = Registry::new(&[Extension::Pex]);
        registry.apply(&declares(7));
        let declared = registry.handshake_m()["ut_pex"];
        assert_eq!(registry.local(declared), Some(Extension::Pex));
        assert_eq!(registry.local(7), None, "that is the remote's own id");
        assert_eq!(registry.local(0), None);
    }

    #[test]
    fn what_is_not_offered_is_neither_declared_nor_taken_nor_sent() {
        let mut registry = Registry::new(&[]);
        registry.apply(&declares(7));
        assert!(registry.handshake_m().is_empty());
        assert_eq!(registry.remote_id(Extension::Pex), None);
        assert_eq!(registry.local(Extension::Pex.local_id()), None);
    }
}
