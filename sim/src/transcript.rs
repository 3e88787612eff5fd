//! What happened, in words for a reader.

use std::net::SocketAddr;

use reseed_client::{Activity, Report};
use reseed_protocol::{
    Connection, ConnectionId, Torrent,
    extension::{
        DontHave, Extension, ExtensionHandshake, HashPiece, MetadataMessage,
        give_to_get::ForwardReport, pex::PexMessage,
    },
    live::Notice,
    torrent::{Event, Frame},
    wire::Message,
};

/// A frame on one line.
pub(crate) fn frame(frame: &Frame) -> String {
    match frame {
        Frame::Handshake(handshake) => {
            let mut words = format!("handshake as {}", handshake.peer_id);
            for (supported, name) in [
                (handshake.supports_fast(), ", fast"),
                (handshake.supports_extensions(), ", extensions"),
            ] {
                words.push_str(if supported { name } else { "" });
            }
            words
        }
        Frame::Message(Message::Extended { id: 0, payload }) => extension_handshake(payload),
        Frame::Message(message @ Message::Extended { id, payload })
            if *id == Extension::HashPiece.local_id() =>
        {
            let name = Extension::HashPiece.name();
            let told = HashPiece::decode(payload).map(|it| format!("extended {id} {name} {it}"));
            told.unwrap_or(message.to_string())
        }
        Frame::Message(message @ Message::Extended { id, payload })
            if *id == Extension::GiveToGet.local_id() =>
        {
            let name = Extension::GiveToGet.name();
            let told =
                ForwardReport::decode(payload).map(|it| format!("extended {id} {name} {it}"));
            told.unwrap_or(message.to_string())
        }
        Frame::Message(message @ Message::Extended { id, payload })
            if *id == Extension::Metadata.local_id() =>
        {
            match MetadataMessage::decode(payload) {
                Ok(Some(it)) => format!("extended {id} {} {it}", Extension::Metadata.name()),
                _ => message.to_string(),
            }
        }
        Frame::Message(message @ Message::Extended { id, payload })
            if *id == Extension::DontHave.local_id() =>
        {
            let name = Extension::DontHave.name();
            let told = DontHave::decode(payload);
            told.map_or(message.to_string(), |it| format!("extended {id} {name} {}", it.piece))
        }
        Frame::Message(message @ Message::Extended { id, payload }) => {
            match PexMessage::decode(payload) {
                Ok(pex) => {
                    let added: Vec<String> =
                        pex.added.iter().map(|peer| format!("+{}", peer.addr)).collect();
                    let dropped: Vec<String> =
                        pex.dropped.iter().map(|addr| format!("-{addr}")).collect();
                    format!("extended {id} ut_pex {}", [added, dropped].concat().join(" "))
                }
                Err(_) => message.to_string(),
            }
        }
        Frame::Message(message) => message.to_string(),
    }
}

fn extension_handshake(payload: &[u8]) -> String {
    let Ok(handshake) = ExtensionHandshake::decode(payload) else {
        return format!("extended 0 ({} bytes, malformed)", payload.len());
    };
    let m: Vec<String> = handshake.m.iter().map(|(name, id)| format!("{name}={id}")).collect();
    let mut words = format!("extended 0 handshake m={{{}}}", m.join(" "));
    if let Some(size) = handshake.metadata_size {
        words += &format!(" metadata_size={size}");
    }
    if let Some(port) = handshake.port {
        words += &format!(" p={port}");
    }
    if let Some(reqq) = handshake.reqq {
        words += &format!(" reqq={reqq}");
    }
    if let Some(ip) = handshake.yourip {
        words += &format!(" yourip={ip}");
    }
    if let Some(version) = handshake.version {
        words += &format!(" v={version:?}");
    }
    words
}

/// An event as what its peer did, where that is not plain from what is said.
pub(crate) fn event(
    event: &Event,
    name: impl Fn(ConnectionId, SocketAddr) -> String,
) -> Option<String> {
    Some(match event {
        Event::Connected { connection, addr, .. } => {
            format!("is connected to {} as {connection}", name(*connection, *addr))
        }
        Event::Disconnected { connection, addr, reason } => {
            format!("parts from {} on {connection}: {reason}", name(*connection, *addr))
        }
        Event::PieceVerified { piece } => format!("has verified piece {piece}"),
        Event::PieceLost { piece } => format!("has lost piece {piece}"),
        Event::PieceFailed { piece, blamed: Some(blamed) } => {
            format!("finds piece {piece} corrupt, all of it from {blamed}")
        }
        Event::PieceFailed { piece, blamed: None } => format!("finds piece {piece} corrupt"),
        Event::AccessProven { connection, addr, key, expires_s } => {
            let until = match expires_s {
                0 => String::new(),
                until => format!(" until {until}"),
            };
            format!(
                "gives {} access on {connection}: it holds key {key}{until}",
                name(*connection, *addr)
            )
        }
        Event::AccessRefused { connection, addr, reason } => {
            format!("refuses {} access on {connection}: {reason}", name(*connection, *addr))
        }
        Event::AccessExpired { connection, addr } => {
            format!(
                "takes access from {} on {connection}: its certificate has ended",
                name(*connection, *addr)
            )
        }
        Event::Banned { addr, peer_id } => format!("bans {addr} ({peer_id})"),
        Event::Ignored { connection, reason } => {
            format!("passes over a message on {connection}: {reason}")
        }
        Event::WriteFailed { piece, reason } => format!("cannot keep piece {piece}: {reason}"),
        Event::ReadFailed { block, reason } => format!("cannot read {block:?}: {reason}"),
        Event::Swallowed { doing, error } => format!("swallows an error while {doing}: {error}"),
        Event::Completed => "is complete".to_owned(),
        Event::Playable => "has enough to play".to_owned(),
        Event::Live(Notice::HookedIn) => "has found the stream, and hooks in".to_owned(),
        Event::Live(Notice::Started) => "begins to play".to_owned(),
        Event::Live(Notice::Dropped { sequence }) => {
            format!("plays without piece {sequence} of the stream, which is late")
        }
        Event::Live(Notice::Stalled) => "has run dry".to_owned(),
        Event::Sought { position } => format!("plays from byte {position} on"),
        Event::CheckFailed(error) => format!("fails in its {error}"),
        Event::AnnounceFailed { reason } => format!("cannot announce: {reason}"),
        Event::TrackerWarning { warning } => format!("is warned by the tracker: {warning}"),
        _ => return None,
    })
}

/// What a peer did around its torrents, where a reader wants to know.
pub(crate) fn activity(activity: &Activity<'_>) -> Option<String> {
    Some(match activity {
        Activity::Reported { reporter, report, result: Ok(()) } => {
            format!("reports to {reporter}: {}", summary(report))
        }
        Activity::Reported { reporter, result: Err(error), .. } => {
            format!("cannot report to {reporter}: {error}")
        }
        Activity::CallbacksDropped => "drops callbacks that took too long".to_owned(),
        Activity::ReportsEnded => "reports no more".to_owned(),
        _ => return None,
    })
}

/// A report in a few words.
fn summary(report: &Report) -> String {
    let number = |path| report.number(path).map_or("?".to_owned(), |number| number.to_string());
    format!(
        "number {}, {}, {} of {} pieces, {} B/s down, {} B/s up",
        number("number"),
        report.text("state").unwrap_or("?"),
        number("verified"),
        number("pieces"),
        number("download_rate"),
        number("upload_rate"),
    )
}

/// How a torrent's connections stand, one in a line.
pub(crate) fn connections(
    torrent: &Torrent,
    name: impl Fn(ConnectionId, SocketAddr) -> String,
) -> Vec<String> {
    let name = |connection: &Connection| name(connection.id(), connection.addr());
    torrent.connections().map(|connection| describe(connection, name(connection))).collect()
}

/// How the playback of a torrent stands, if it is streamed.
pub(crate) fn playback(torrent: &Torrent) -> Option<String> {
    let streaming = torrent.picker().streaming()?;
    let Some(transporter) = torrent.transporter() else {
        return Some("it streams, without a transporter".to_owned());
    };
    Some(format!(
        "it streams: {:?} at piece {} of {}, {} bytes in its buffer",
        transporter.state(streaming),
        streaming.position(),
        streaming.pieces().end,
        transporter.buffered(),
    ))
}

/// Why a torrent's uploads stand still, if it is somebody's turn who is gone.
pub(crate) fn uploads(
    torrent: &Torrent,
    name: impl Fn(ConnectionId, SocketAddr) -> String,
) -> Option<String> {
    let (current, waiting) = torrent.upload_turns();
    let gone = current.filter(|current| torrent.connection(*current).is_none())?;
    let waiting: Vec<String> = waiting
        .into_iter()
        .filter_map(|id| Some(format!("{id} to {}", name(id, torrent.connection(id)?.addr()))))
        .collect();
    let waiting = if waiting.is_empty() { "nobody".to_owned() } else { waiting.join(", ") };
    Some(format!(
        "its uploads stand still: it is the turn of {gone}, which is gone; {waiting} waits"
    ))
}

fn describe(connection: &Connection, name: String) -> String {
    if !connection.is_established() {
        return format!("{name}: {:?}", connection.phase());
    }
    let has = connection.remote_pieces().count();
    let unless = |holds: bool, words: &'static str| if holds { "" } else { words };
    format!(
        "{name}: has {has} pieces{}{}, {} requests wait",
        unless(!connection.is_interested(), ", wanted"),
        unless(!connection.is_peer_choking(), ", chokes us"),
        connection.requested().len(),
    )
}
