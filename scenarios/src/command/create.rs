//! `reseed create`

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use miette::{IntoDiagnostic, miette};
use reseed_protocol::{
    Info, Metainfo,
    metainfo::{Content, Draft},
};
use url::Url;

use super::{
    Status, Stop,
    folder::{cannot_write, temporary},
};

/// Makes a .torrent file of a file or a folder
#[derive(clap::Args)]
pub struct Args {
    /// The file or folder to share
    #[arg(value_name = "PATH")]
    content: PathBuf,
    /// The .torrent file to make; one that is there is replaced
    #[arg(long, value_name = "FILE.torrent")]
    out: PathBuf,
    /// The tracker that peers are to ask for peers
    #[arg(long, value_name = "URL", value_parser = tracker)]
    tracker: Option<String>,
    /// Bytes a piece; by default so many that there are about a thousand pieces
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=Info::PIECE_LENGTH_MAX as i64))]
    piece_length: Option<u32>,
    /// Let peers come from the tracker alone (BEP 27)
    #[arg(long)]
    private: bool,
}

/// Makes what was asked for.
pub fn create(args: &Args, bars: &MultiProgress) -> Result<Status, Stop> {
    let found = Found::at(&args.content)?;
    let length: u64 = found.lengths().sum();
    let draft = Draft {
        name: found.name.clone(),
        piece_length: args.piece_length.unwrap_or_else(|| piece_length(length)),
        private: args.private,
        merkle: false,
        live: None,
        torrent_keys: Vec::new(),
        announce: args.tracker.clone(),
        content: found.content(),
    };
    let style = "{prefix} {wide_bar} {bytes} of {total_bytes}";
    let style = ProgressStyle::with_template(style).expect("the template is well-formed");
    let bar = bars.add(ProgressBar::new(length).with_style(style).with_prefix("hashing"));
    let made = Metainfo::create(&draft, bar.wrap_read(found.read()));
    bar.finish_and_clear();
    let (metainfo, bytes) = made.into_diagnostic()?;
    write(&args.out, &bytes).map_err(|error| cannot_write(&args.out, &error))?;
    let pieces = metainfo.info.layout().pieces();
    let mut out = io::stdout().lock();
    writeln!(out, "{}: {pieces} pieces of {} bytes", metainfo.info_hash, draft.piece_length)?;
    Ok(Status::Pass)
}

/// A tracker's URL, as we could ask it.
fn tracker(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match (url.scheme(), url.host()) {
        ("http" | "https" | "udp", Some(_)) => Ok(text.to_owned()),
        _ => Err("expected http://HOST/PATH or udp://HOST:PORT".to_owned()),
    }
}

/// The smallest power of two from 16 KiB on that makes at most some thousand pieces,
/// so that neither the .torrent file nor a piece is large.
fn piece_length(length: u64) -> u32 {
    const PIECES: u64 = 1500;
    let mut piece_length = 16 << 10;
    while length / u64::from(piece_length) > PIECES && piece_length < 16 << 20 {
        piece_length *= 2;
    }
    piece_length
}

/// Puts the file in place as a whole.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = temporary(folder.unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// What is to be shared.
struct Found {
    name: String,
    /// Whether it is a folder.
    folder: bool,
    files: Vec<FoundFile>,
}

struct FoundFile {
    /// Below the folder.
    path: Vec<String>,
    full: PathBuf,
    length: u64,
}

impl Found {
    fn at(path: &Path) -> miette::Result<Found> {
        let shown = path.display();
        let cannot = |error| miette!("cannot read {shown}: {error}");
        // What `.` or `a/..` is called only the machine knows.
        let named = path.canonicalize().map_err(cannot)?;
        let name =
            named.file_name().ok_or_else(|| miette!("{shown} has no name to share it under"))?;
        let name = text(name, path)?;
        let folder = named.is_dir();
        let mut files = Vec::new();
        walk(&named, &mut Vec::new(), &mut files)?;
        Ok(Found { name, folder, files })
    }

    fn lengths(&self) -> impl Iterator<Item = u64> {
        self.files.iter().map(|file| file.length)
    }

    fn content(&self) -> Content {
        match self.folder {
            true => Content::Folder(
                self.files.iter().map(|file| (file.path.clone(), file.length)).collect(),
            ),
            false => Content::File { length: self.lengths().sum() },
        }
    }

    /// The bytes of all files one after the other.
    fn read(&self) -> impl Read {
        Chain { files: self.files.iter(), open: None }
    }
}

/// Adds the file at `full`, or all below it if it is a folder, in the order of their
/// names.
fn walk(full: &Path, path: &mut Vec<String>, files: &mut Vec<FoundFile>) -> miette::Result<()> {
    let cannot = |error| miette!("cannot read {}: {error}", full.display());
    let found = fs::symlink_metadata(full).map_err(cannot)?;
    if found.is_file() {
        files.push(FoundFile { path: path.clone(), full: full.to_owned(), length: found.len() });
        return Ok(());
    }
    if !found.is_dir() {
        let shown = full.display();
        return Err(miette!("{shown} is neither a file nor a folder; only those are shared"));
    }
    let entries = fs::read_dir(full).map_err(cannot)?;
    let names: Result<Vec<_>, _> = entries.map(|entry| entry.map(|it| it.file_name())).collect();
    let mut names = names.map_err(cannot)?;
    names.sort();
    for name in names {
        let full = full.join(&name);
        path.push(text(&name, &full)?);
        walk(&full, path, files)?;
        path.pop();
    }
    Ok(())
}

fn text(name: &std::ffi::OsStr, path: &Path) -> miette::Result<String> {
    let name = name.to_str().map(str::to_owned);
    name.ok_or_else(|| miette!("the name of {} is not UTF-8, as torrents want it", path.display()))
}

/// Files one after the other, each open only while it is read.
struct Chain<'a> {
    files: std::slice::Iter<'a, FoundFile>,
    open: Option<io::Take<File>>,
}

impl Read for Chain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(open) = &mut self.open {
                match open.read(buffer)? {
                    0 if open.limit() > 0 => {
                        let message = "a file became shorter while it was read";
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
                    }
                    0 => self.open = None,
                    read => return Ok(read),
                }
            }
            let Some(next) = self.files.next() else { return Ok(0) };
            self.open = Some(File::open(&next.full)?.take(next.length));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_of_a_power_of_two_and_about_a_thousand() {
        assert_eq!(piece_length(1), 16 << 10);
        assert_eq!(piece_length(64 << 20), 64 << 10);
        assert_eq!(piece_length(1 << 30), 1 << 20);
        assert_eq!(piece_length(1 << 50), 16 << 20);
    }
}
