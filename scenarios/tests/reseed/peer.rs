//! `reseed create`, `seed` and `get` as their users see them: two processes, real
//! sockets, on loopback.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use reseed_protocol::{
    Metainfo,
    tracker::{ScrapeResponse, SwarmCounts, scrape_query},
};
use tempfile::TempDir;

use crate::command;

/// Several pieces of several files, one of them empty.
const FILES: [(&str, usize); 3] = [("a.bin", 3_000_001), ("more/b.bin", 70_000), ("more/none", 0)];

fn reseed(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

/// A folder with content in `source/music`, and `music.torrent` beside it.
struct Shared {
    folder: TempDir,
    info_hash: String,
}

impl Shared {
    fn new(create: &[&str]) -> Shared {
        let folder = tempfile::tempdir().unwrap();
        let mut shared = Shared { folder, info_hash: String::new() };
        for (number, (path, length)) in FILES.into_iter().enumerate() {
            let path = shared.path("source/music").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let byte = |at: usize| (at.wrapping_mul(0x9e37_79b9) >> 13) as u8 ^ number as u8;
            fs::write(path, (0..length).map(byte).collect::<Vec<u8>>()).unwrap();
        }
        let (content, out) = (shared.path("source/music"), shared.torrent());
        let args = ["create", content.to_str().unwrap(), "--out", &out, "--piece-length", "65536"];
        let output = reseed(&[&args[..], create].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        shared.info_hash = stdout(&output).split(':').next().unwrap().to_owned();
        shared
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn text(&self, below: &str) -> String {
        self.path(below).to_str().unwrap().to_owned()
    }

    fn torrent(&self) -> String {
        self.text("music.torrent")
    }

    /// Shares it, and waits until that has begun.
    fn seed(&self) -> Seed {
        self.seed_at("127.0.0.1:0")
    }

    fn seed_at(&self, listen: &str) -> Seed {
        self.seed_with(listen, &[])
    }

    fn seed_with(&self, listen: &str, more: &[&str]) -> Seed {
        let (torrent, from) = (self.torrent(), self.text("source"));
        let args = ["seed", &torrent, "--from", &from, "--listen", listen];
        let piped = command(&[&args[..], more].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = piped.unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let at = line.trim().rsplit(' ').next().unwrap().to_owned();
        let ip = listen.strip_suffix('0').unwrap();
        assert!(line.starts_with(&format!("seeding music, 2.93 MiB, at {ip}")), "{line}");
        Seed { child, out, at }
    }

    fn get(&self, seed: &Seed, more: &[&str]) -> Command {
        let (torrent, to) = (self.torrent(), self.text("copy"));
        command(&[&["get", &torrent, "--to", &to, "--peer", &seed.at][..], more].concat())
    }

    fn assert_copied(&self) {
        for (path, length) in FILES {
            let read = |folder: &str| fs::read(self.path(folder).join(path)).unwrap();
            let (source, copy) = (read("source/music"), read("copy/music"));
            assert_eq!(source.len(), length);
            assert!(source == copy, "{path} differs");
        }
    }
}

/// A process that shares; killed if a test ends before it does.
struct Seed {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    at: String,
}

impl Seed {
    /// What it prints from its interrupt on, and its exit status.
    fn interrupt(mut self) -> (String, Option<i32>) {
        interrupt(&self.child);
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap().code())
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ctrl-C, as a terminal sends it.
fn interrupt(child: &Child) {
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
}

fn listing(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn one_process_gets_what_another_seeds_and_both_end_as_they_should() {
    let shared = Shared::new(&[]);
    let seed = shared.seed();
    let output = shared.get(&seed, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stdout(&output).contains("47 of 47 pieces came"), "{output:?}");
    shared.assert_copied();

    let again = shared.get(&seed, &[]).output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    assert!(stdout(&again).contains("were here already"), "{again:?}");

    let (rest, code) = seed.interrupt();
    assert_eq!(code, Some(0));
    assert_eq!(rest, "stopped: 2.93 MiB were sent\n");
    assert_eq!(listing(&shared.path("source")), ["music"], "a seed writes nothing");
}

#[test]
fn a_magnet_link_with_a_peer_in_it_is_all_that_is_needed() {
    let shared = Shared::new(&[]);
    let seed = shared.seed();
    let (to, link) = (shared.text("copy"), format!("magnet:?xt=urn:btih:{}", shared.info_hash));
    let output = reseed(&["get", &format!("{link}&x.pe={}", seed.at), "--to", &to]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stdout(&output).contains("2.93 MiB; 47 of 47 pieces came"), "{output:?}");
    shared.assert_copied();
    drop(seed);

    let again = reseed(&["get", &link, "--to", &to, "--listen", "127.0.0.1:0"]);
    assert!(stdout(&again).contains("were here already"), "with nobody to ask: {again:?}");
}

#[test]
fn of_files_that_are_selected_and_no_others_the_pieces_come() {
    let shared = Shared::new(&[]);
    let seed = shared.seed();
    let output = shared.get(&seed, &["--select", "1-2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // `more/b.bin` ends in the last piece and begins in the one before.
    assert!(stdout(&output).contains("2 of 47 pieces came"), "{output:?}");
    let read = |folder: &str| fs::read(shared.path(folder).join("more/b.bin")).unwrap();
    assert!(read("source/music") == read("copy/music"));

    let rest = shared.get(&seed, &[]).output().unwrap();
    assert!(stdout(&rest).contains("45 of 47 pieces came"), "{rest:?}");
    shared.assert_copied();
    let none = shared.get(&seed, &["--select", "3"]).output().unwrap();
    assert_eq!(none.status.code(), Some(1));
    assert!(str::from_utf8(&none.stderr).unwrap().contains("none of the 3 files is selected"));
}

#[test]
fn peers_meet_over_ipv6() {
    let shared = Shared::new(&[]);
    let seed = shared.seed_at("[::1]:0");
    let output = shared.get(&seed, &["--listen", "[::]:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    shared.assert_copied();
}

#[test]
fn a_seed_that_shows_its_pieces_one_at_a_time_gives_all_of_them() {
    let shared = Shared::new(&[]);
    let seed = shared.seed_with("127.0.0.1:0", &["--super-seed"]);
    let output = shared.get(&seed, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    shared.assert_copied();
}

/// BEP 48.
#[test]
fn a_tracker_tells_how_a_swarm_stands_and_one_that_does_not_is_told_of() {
    let tracker = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/announce.php?key=1", tracker.local_addr().unwrap());
    let shared = Shared::new(&["--tracker", &url]);
    let torrent = shared.torrent();
    let info_hash = Metainfo::from_bytes(&fs::read(&torrent).unwrap()).unwrap().info_hash;
    let mut asking = command(&["scrape", &torrent]).stdout(Stdio::piped()).spawn().unwrap();
    let (stream, _) = tracker.accept().unwrap();
    let mut request = String::new();
    let mut reader = BufReader::new(&stream);
    while !request.ends_with("\r\n\r\n") {
        reader.read_line(&mut request).unwrap();
    }
    let query = scrape_query(&[info_hash]);
    assert!(request.starts_with(&format!("GET /scrape.php?key=1&{query} HTTP")), "{request}");
    let counts = SwarmCounts { complete: 11, downloaded: 13_772, incomplete: 19 };
    let body = ScrapeResponse { swarms: [(info_hash, counts)].into() }.to_bytes();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    (&stream).write_all(&[head.as_bytes(), &body].concat()).unwrap();
    let mut told = String::new();
    asking.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(told, format!("{url}: 11 seeds, 19 leechers, 13772 downloads\n"));
    assert_eq!(asking.wait().unwrap().code(), Some(0));

    drop(tracker);
    let output = reseed(&["scrape", &torrent]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stdout(&output).contains("connecting to the tracker"), "{output:?}");
}

#[cfg(unix)]
#[test]
fn a_download_that_is_interrupted_goes_on_from_what_it_had() {
    let shared = Shared::new(&[]);
    let seed = shared.seed();
    let mut slow = shared.get(&seed, &["--download-limit", "400000"]);
    let child = slow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let file = shared.path("copy/music/a.bin");
    let begun = || fs::metadata(&file).is_ok_and(|found| found.len() >= 200_000);
    let mut looks = 0..6000;
    while !begun() {
        looks.next().expect("something comes within a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let had: u32 = stdout(&output).split(' ').nth(2).unwrap().parse().unwrap();
    assert!((1..47).contains(&had), "{output:?}");

    let output = shared.get(&seed, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let rest = format!("{} of 47 pieces came", 47 - had);
    assert!(stdout(&output).contains(&rest), "{rest}: {output:?}");
    shared.assert_copied();
}

#[test]
fn a_seed_without_the_whole_content_says_what_is_wrong_and_writes_nothing() {
    let shared = Shared::new(&[]);
    let (torrent, from) = (shared.torrent(), shared.text("source"));
    let seed = || reseed(&["seed", &torrent, "--from", &from, "--listen", "127.0.0.1:0"]);
    let fails = |expected: &str| {
        let output = seed();
        let stderr = str::from_utf8(&output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stderr.contains(expected) && output.stdout.is_empty(), "{stderr}");
        assert_eq!(listing(&shared.path("source")), ["music"]);
    };
    let file = shared.path("source/music/a.bin");
    let right = fs::read(&file).unwrap();
    let mut wrong = right.clone();
    wrong[70_000] ^= 1;
    fs::write(&file, &wrong).unwrap();
    fails("piece 1, from music/a.bin, has another hash than the torrent says");
    fs::write(&file, &right[..100]).unwrap();
    fails("music/a.bin has 100 bytes where the torrent says 3000001");
    fs::remove_file(&file).unwrap();
    fails("music/a.bin is not there");
}

#[test]
fn every_wrong_input_is_refused_with_what_is_wrong_and_touches_no_file() {
    let shared = Shared::new(&[]);
    let (torrent, to, source) = (shared.torrent(), shared.text("copy"), shared.text("source"));
    let (file, missing) = (shared.text("source/music/a.bin"), shared.text("missing"));
    let get = |more: &[&str]| -> Vec<String> {
        [&["get", &torrent, "--to", &to][..], more].concat().iter().map(|&it| it.into()).collect()
    };
    let owned = |args: &[&str]| args.iter().map(|&arg| arg.to_owned()).collect::<Vec<String>>();
    let blocked = shared.path("blocked");
    fs::create_dir_all(blocked.join("music/a.bin")).unwrap();
    let blocked = blocked.to_str().unwrap();
    let peer = ["--peer", "127.0.0.1:9"];
    let seed = ["seed", &torrent, "--from", &source];
    let link = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567";
    for (args, expected) in [
        (get(&[]), "there is nobody to get music from"),
        (get(&["--peer", "127.0.0.1"]), "expected HOST:PORT"),
        (owned(&["get", "magnet:?dn=x", "--to", &to]), "names no torrent"),
        (owned(&["get", "magnet:?xt=urn:btih:1", "--to", &to]), "is no info-hash"),
        (owned(&["get", link, "--to", &to]), "there is nobody to get 0123"),
        (get(&["--peer", "127.0.0.1:0"]), "is no port"),
        (get(&["--peer", "::1:80"]), "needs brackets"),
        (get(&["--peer", "no.such.host.invalid:80"]), "cannot look up no.such.host.invalid:80"),
        (get(&["--listen", "192.0.2.1:0"]), "cannot listen at 192.0.2.1:0"),
        (get(&["--download-limit", "0", "--peer", "127.0.0.1:9"]), "invalid value '0'"),
        (owned(&[&["get", &missing, "--to", &to][..], &peer].concat()), "cannot read the torrent"),
        (owned(&[&["get", &file, "--to", &to][..], &peer].concat()), "is no torrent"),
        (owned(&[&["get", &torrent, "--to", &file][..], &peer].concat()), "cannot"),
        (owned(&[&["get", &torrent, "--to", blocked][..], &peer].concat()), "not a regular file"),
        (owned(&[&seed[..], &["--listen", "nowhere"]].concat()), "expected HOST:PORT"),
        (owned(&["seed", &torrent, "--from", &missing, "--listen", "[::1]:0"]), "is no folder"),
        (owned(&["scrape", &torrent]), "music names no tracker to ask"),
        (owned(&["create", &missing, "--out", &to]), "cannot read"),
        (owned(&["create", &source, "--out", &to, "--tracker", "ftp://x/"]), "expected http"),
        (owned(&["create", &source, "--out", &to, "--piece-length", "0"]), "0 is not in"),
        (owned(&["create", &source, "--out", &shared.text("missing/x")]), "cannot write"),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = reseed(&args);
        let stderr = str::from_utf8(&output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    assert_eq!(listing(shared.folder.path()), ["blocked", "music.torrent", "source"]);
}
