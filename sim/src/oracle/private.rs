//! I-PRIV: of a private torrent no `ut_pex` is offered and no peer exchange sent.
//! BEP 27.

use reseed_protocol::{
    Torrent,
    extension::ExtensionHandshake,
    torrent::{Frame, Speaker, Spoken},
    wire::Message,
};

use super::{Code, Finding, Oracle, Scene};

/// Reads every extended message that a peer says.
#[derive(Default)]
pub(super) struct Private {
    checks: u64,
}

impl Oracle for Private {
    fn code(&self) -> Code {
        Code::Priv
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn spoke(&mut self, _: Scene<'_>, _: &Torrent, spoken: &Spoken) -> Finding {
        let (Speaker::Us, Frame::Message(Message::Extended { id, payload })) =
            (spoken.by, &spoken.frame)
        else {
            return Ok(());
        };
        self.checks += 1;
        if *id != 0 {
            return Err(format!("it sends extended message {id} in a private torrent"));
        }
        let handshake = ExtensionHandshake::decode(payload).map_err(|error| error.to_string())?;
        match handshake.m.get("ut_pex") {
            None | Some(0) => Ok(()),
            Some(id) => Err(format!("it offers ut_pex as {id} in a private torrent")),
        }
    }
}
