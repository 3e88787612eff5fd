//! A plan, for a reader.

use std::{
    fmt::{self, Write},
    net::SocketAddr,
};

use comfy_table::{CellAlignment, Table, presets};
use reseed_protocol::Layout;
use reseed_sim::{
    Plan,
    plan::{
        Action, AppPlan, CertificatePlan, EventPlan, Exit, Fault, FaultPlan, Has, Lies, LinkPlan,
        Locality, Lost, PeerPlan, Remnant, TrackerFault, When,
    },
};

/// Peers that are shown one by one (count); of more there is only the number.
const PEERS_SHOWN: usize = 32;

/// What will happen, in a few lines: the torrent, the tracker, the limits, the
/// peers and the events.
pub fn summary(plan: &Plan) -> String {
    let mut text = String::new();
    write_summary(plan, &mut text).expect("a String takes whatever is written");
    text
}

fn write_summary(plan: &Plan, out: &mut String) -> fmt::Result {
    writeln!(out, "  torrent  {}", torrent(plan))?;
    if let Some(tracker) = &plan.tracker {
        let (address, interval) = (tracker.address, tracker.interval_s);
        let silent = if tracker.silent { ", silent" } else { "" };
        let udp = if tracker.udp { ", UDP" } else { "" };
        let link = link(tracker.link);
        writeln!(out, "  tracker  {address}, every {interval} s{silent}{udp}, {link}")?;
        for fault in &tracker.faults {
            let (name, from, span) =
                (fault.fault.name(), seconds(fault.from_ms), seconds(fault.for_ms));
            writeln!(out, "           {name}{} from {from} for {span}", amount(fault.fault))?;
        }
    }
    let (done, steps) = (seconds(plan.limits.done_ms), plan.limits.steps);
    writeln!(out, "  limits   all done after {done} of virtual time, {steps} steps")?;
    writeln!(out, "  tasks    {:.1} % drawn out of turn", plan.perturbation * 100.0)?;
    if plan.buggify > 0.0 {
        writeln!(out, "  buggify  {:.1} %", plan.buggify * 100.0)?;
    }
    if let Some(flip) = &plan.flip {
        let (option, peers) = (flip.feature.name(), flip.peers.join(", "));
        writeln!(out, "  twin     the same with {option} switched at {peers}")?;
    }
    writeln!(out)?;
    writeln!(out, "{}", indent(&peers(plan)))?;
    if plan.peers.len() > PEERS_SHOWN {
        writeln!(out, "  … and {} more", plan.peers.len() - PEERS_SHOWN)?;
    }
    if !plan.events.is_empty() || !plan.faults.is_empty() {
        writeln!(out)?;
    }
    for (index, event) in plan.events.iter().enumerate() {
        writeln!(out, "  event {index}: {}", sentence(event))?;
    }
    for (index, fault) in plan.faults.iter().enumerate() {
        writeln!(out, "  fault {index}: {}", fault_sentence(fault))?;
    }
    Ok(())
}

/// How much of it, for faults of which there is more or less.
fn amount(fault: TrackerFault) -> String {
    match fault {
        TrackerFault::Slow { ms } => format!(", by {}", seconds(ms)),
        TrackerFault::DeadAddresses { count } => format!(", {count}"),
        _ => String::new(),
    }
}

fn torrent(plan: &Plan) -> String {
    let torrent = &plan.torrent;
    let length: u64 = torrent.files.iter().map(|file| file.length).sum();
    let pieces = Layout::new(torrent.piece_length, length).pieces();
    let files = match torrent.files.len() {
        1 => String::new(),
        files => format!(" in {files} files"),
    };
    let private = if torrent.private { ", private" } else { "" };
    let merkle = if torrent.merkle { ", Merkle" } else { "" };
    let closed = if torrent.closed { ", closed swarm" } else { "" };
    let bitrate = torrent.bitrate.map_or(String::new(), |rate| format!(", {rate} B/s"));
    let live = torrent.live.map_or(String::new(), |made| format!(", live, to piece {made}"));
    format!(
        "{}: {}{files}, {pieces} × {}{private}{merkle}{closed}{bitrate}{live}",
        torrent.name,
        bytes(length),
        bytes(torrent.piece_length.into())
    )
}

fn peers(plan: &Plan) -> String {
    let mut table = plain_table();
    table.set_header(["peer", "address", "joins", "has", "link", "knows", "options"]);
    for peer in plan.peers.iter().take(PEERS_SHOWN) {
        table.add_row([
            peer.name.clone(),
            address(peer),
            seconds(peer.join_ms),
            has(&peer.has),
            link(peer.link),
            knows(&peer.knows),
            options(peer, plan.torrent.closed),
        ]);
    }
    table.column_mut(2).expect("there are seven").set_cell_alignment(CellAlignment::Right);
    table.trim_fmt()
}

/// The port only where it is not the usual one.
fn address(peer: &PeerPlan) -> String {
    match peer.port == PeerPlan::new("").port {
        true => peer.address.to_string(),
        false => SocketAddr::new(peer.address, peer.port).to_string(),
    }
}

/// A table without lines.
pub fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn has(has: &Has) -> String {
    match has {
        Has::Nothing => "nothing".to_owned(),
        Has::Everything => "everything".to_owned(),
        Has::Pieces(pieces) if pieces.len() <= 4 => format!("pieces {pieces:?}"),
        Has::Pieces(pieces) => format!("{} pieces", pieces.len()),
    }
}

fn link(link: LinkPlan) -> String {
    let mut text = millis(link.latency_us);
    if link.jitter_us > 0 {
        text += &format!(" + {}", millis(link.jitter_us));
    }
    if let Some(bandwidth) = link.bandwidth {
        text += &format!(", {}/s", bytes(bandwidth));
    }
    if let Some(queue) = link.queue {
        text += &format!(", queue {}", bytes(queue));
    }
    text
}

fn knows(known: &[String]) -> String {
    match known.len() {
        0 => "nobody".to_owned(),
        1..=3 => known.join(", "),
        more => format!("{more} peers"),
    }
}

fn options(peer: &PeerPlan, closed: bool) -> String {
    if !peer.runs_client() {
        let number = peer.behaviour.number();
        let number = number.map_or(String::new(), |(number, _, what)| format!(", {number} {what}"));
        let nat = if peer.nat { ", behind a NAT" } else { "" };
        return format!("no client: {}{number}{nat}", peer.behaviour.name());
    }
    let mut options = vec![format!("{} slots", peer.upload_slots)];
    let mut add = |there: bool, option: &str| {
        if there {
            options.push(option.to_owned());
        }
    };
    match peer.remnant {
        Remnant::Nothing => {}
        Remnant::OtherBytes => add(true, "other bytes on its disk"),
        Remnant::StaleResume => add(true, "stale resume data"),
        Remnant::BrokenResume => add(true, "broken resume data"),
    }
    add(peer.announce, "announce");
    add(peer.pex, "pex");
    add(peer.fast, "fast");
    add(peer.nat, "behind a NAT");
    add(peer.metadata, "gives metadata");
    add(peer.magnet, "from a magnet link");
    add(peer.peer_priority, "by priority");
    add(peer.dont_have, "dont-have");
    add(peer.super_seed, "super-seeds");
    add(peer.locality == Locality::Subnet, "prefers its subnet");
    add(peer.locality == Locality::Parity, "prefers its parity");
    let limits = [("up", peer.upload_limit), ("down", peer.download_limit)];
    for (way, limit) in limits {
        if let Some(limit) = limit {
            options.push(format!("{way} {}/s", bytes(limit)));
        }
    }
    if let Some(most) = peer.initiate_max {
        options.push(format!("dials up to {most}"));
    }
    if peer.stream {
        options.push("streams".to_owned());
    }
    if let Some(player) = &peer.player {
        options.push(format!("plays from byte {} on", player.from));
    }
    options.extend(app(&peer.app));
    if let Some(reports) = peer.reports {
        let server = if reports.server { " to a server" } else { "" };
        options.push(format!("reports{server} every {}", seconds(reports.interval_ms)));
    }
    if closed {
        options.push(certificate(peer.certificate));
    }
    match &peer.lies {
        None => {}
        Some(Lies::Blocks(share)) => options.push(format!("forges {share} of its blocks")),
        Some(Lies::Pieces(pieces)) => options.push(format!("forges {} pieces", pieces.len())),
    }
    options.join(", ")
}

fn certificate(certificate: CertificatePlan) -> String {
    match certificate {
        CertificatePlan::Valid => "a valid certificate".to_owned(),
        CertificatePlan::ExpiresMs(at) => format!("a certificate that expires at {}", seconds(at)),
        CertificatePlan::None => "no certificate".to_owned(),
        CertificatePlan::Expired => "an expired certificate".to_owned(),
        CertificatePlan::Forged => "a forged certificate".to_owned(),
        CertificatePlan::SelfMade => "a certificate of its own making".to_owned(),
        CertificatePlan::OtherSwarm => "a certificate for another swarm".to_owned(),
    }
}

/// What is not as usual in the program around a peer's client.
fn app(app: &AppPlan) -> Vec<String> {
    let usual = AppPlan::default();
    let mut words = Vec::new();
    match app.exit_when {
        Exit::Never => {}
        Exit::Finished => words.push("exits when finished".to_owned()),
        Exit::Played => words.push("exits when it has played".to_owned()),
        Exit::Seeded(ms) => words.push(format!("exits {} after it has finished", seconds(ms))),
    }
    if app.downloads != usual.downloads {
        words.push(format!("{} downloads", app.downloads));
    }
    if app.poll_ms != usual.poll_ms {
        words.push(format!("looks every {}", seconds(app.poll_ms)));
    }
    if app.grace_ms != usual.grace_ms {
        words.push(format!("parts within {}", seconds(app.grace_ms)));
    }
    if app.callback_ms > 0 {
        words.push(format!("a callback takes {}", seconds(app.callback_ms)));
    }
    if !app.checkpoint {
        words.push("saves nothing at the end".to_owned());
    }
    words
}

fn sentence(event: &EventPlan) -> String {
    let peer = &event.peer;
    let what = match event.action {
        Action::Leave => format!("{peer} leaves"),
        Action::Interrupt => format!("{peer} is interrupted"),
        Action::Crash => format!("{peer} crashes"),
        Action::Start => format!("{peer} starts"),
        Action::Wipe => format!("the disk of {peer} is emptied"),
    };
    format!("{what} {}", time(&event.when, event.delay_ms))
}

/// When something comes to pass.
fn time(when: &When, delay_ms: u64) -> String {
    let once = match delay_ms {
        0 => "once".to_owned(),
        delay => format!("{} after", seconds(delay)),
    };
    match when {
        When::At(at) => format!("at {}", seconds(at.saturating_add(delay_ms))),
        When::Verified { peer, pieces } => format!("{once} {peer} has verified {pieces} pieces"),
        When::CopyWithout { peer } => format!("{once} there is a copy without {peer}"),
        When::After(index) => format!("{once} event {index} has happened"),
    }
}

fn fault_sentence(plan: &FaultPlan) -> String {
    let FaultPlan { fault, hosts, when, delay_ms, for_ms, .. } = plan;
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let what = match fault {
        Fault::Partition => "nothing passes between others and".to_owned(),
        Fault::OneWay(Lost::Sent) => "others hear nothing of".to_owned(),
        Fault::OneWay(Lost::Received) => "nothing of others reaches".to_owned(),
        Fault::LinkCut => "nothing passes between any two of".to_owned(),
        Fault::Loss { share } => format!("{} of the packets are lost of", percent(*share)),
        Fault::BurstyLoss { begins, ends, bad, good } => format!(
            "packets are lost in bursts ({} to {}, begun by {} and ended by {}) of",
            percent(*good),
            percent(*bad),
            percent(*begins),
            percent(*ends)
        ),
        Fault::Duplication { share } => {
            format!("{} of the datagrams come twice of", percent(*share))
        }
        Fault::Reordering { share, by_us } => {
            format!("{} of the packets are up to {} late of", percent(*share), millis(*by_us))
        }
        Fault::Latency { more_us } => format!("packets take {} longer of", millis(*more_us)),
        Fault::Jitter { most_us } => format!("packets take up to {} longer of", millis(*most_us)),
        Fault::Bandwidth { bytes_per_s } => {
            format!("links carry {}/s at most of", bytes(*bytes_per_s))
        }
        Fault::QueueOverflow { bytes_per_s, queue } => format!(
            "links carry {}/s at most, and {} may wait, of",
            bytes(*bytes_per_s),
            bytes(*queue)
        ),
        Fault::Pause => "nothing runs at".to_owned(),
        Fault::ClockJump { by_ms } => {
            let (size, way) = (seconds(by_ms.unsigned_abs()), way(*by_ms, ["ahead", "back"]));
            format!("the clock is {size} {way} at")
        }
        Fault::ClockSkew { ppm } => {
            format!("the clock goes {} ppm {} at", ppm.unsigned_abs(), way(*ppm, ["fast", "slow"]))
        }
        Fault::DiskFull { room } => format!("the disk has {} left at", bytes(*room)),
        Fault::ReadError { share } => format!("{} of the reads fail at", percent(*share)),
        Fault::WriteError { share } => format!("{} of the writes fail at", percent(*share)),
        Fault::TornWrite { share } => format!("{} of the writes are torn at", percent(*share)),
        Fault::SlowDisk { op_us } => format!("the disk takes {} for anything at", millis(*op_us)),
        Fault::BitFlip { bits } => format!("{bits} bits flip on the disk of"),
    };
    let hosts = match hosts.len() {
        0..=4 => hosts.join(", "),
        more => format!("{more} hosts"),
    };
    let lasts = match for_ms {
        0 => String::new(),
        ms => format!(", for {}", seconds(*ms)),
    };
    format!("{what} {hosts}, {}{lasts}", time(when, *delay_ms))
}

fn way(number: i64, [up, down]: [&'static str; 2]) -> &'static str {
    if number < 0 { down } else { up }
}

fn seconds(millis: u64) -> String {
    format!("{} s", millis as f64 / 1000.0)
}

fn millis(micros: u64) -> String {
    format!("{} ms", micros as f64 / 1000.0)
}

/// Whole KiB or MiB where it is a whole number of them.
pub fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.iter().find(|(unit, _)| count > 0 && count.is_multiple_of(*unit));
    match unit {
        Some((unit, name)) => format!("{} {name}", count / unit),
        None => format!("{count} B"),
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {}", line.trim())).collect::<Vec<_>>().join("\n")
}
