//! A disk that forgets, when the power goes, what was not synced.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use fixedbitset::FixedBitSet;
use rand::{Rng, RngExt};
use reseed_client::Disk;
use reseed_protocol::wire::Parts;

use crate::{
    fault::{DiskFaults, Written},
    host::Incarnation,
    truth::{Truth, same},
};

/// Bytes in a page, the unit that survives a loss of power whole or not at all.
pub const PAGE: usize = 4096;

/// What was done to a disk since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskStats {
    /// Reads (count).
    pub reads: u64,
    /// Read (bytes).
    pub bytes_read: u64,
    /// Writes, replacements included (count).
    pub writes: u64,
    /// Written (bytes).
    pub bytes_written: u64,
    /// Syncs (count).
    pub syncs: u64,
    /// Pages that a loss of power took (count).
    pub pages_lost: u64,
}

/// A host's disk. Clones are the same disk; it outlives the processes that use
/// it, whose handles stop working when their host stops.
#[derive(Clone)]
pub struct SimDisk {
    platter: Rc<RefCell<Platter>>,
    incarnation: Incarnation,
    /// What goes wrong with it is not for the eyes of its owner.
    by_process: bool,
}

impl SimDisk {
    /// An empty disk of no host.
    pub fn new() -> SimDisk {
        SimDisk { platter: Rc::default(), incarnation: Incarnation::default(), by_process: false }
    }

    /// The same disk, for processes that live as long as `incarnation`.
    pub(crate) fn mounted(&self, incarnation: Incarnation) -> SimDisk {
        SimDisk { platter: self.platter.clone(), incarnation, by_process: true }
    }

    /// Drops each page written since its file's last sync with probability one
    /// half, and so each change of length, and each file never synced.
    pub fn power_loss(&self, rng: &mut impl Rng) {
        let Platter { files, stats, .. } = &mut *self.platter.borrow_mut();
        files.retain(|_, file| file.power_loss(rng, stats));
    }

    /// Removes every file, as a new disk would.
    pub fn wipe(&self) {
        let mut platter = self.platter.borrow_mut();
        platter.files.clear();
        platter.flipped.clear();
    }

    /// From now on, processes that use it meet these.
    pub(crate) fn set_faults(&self, faults: Rc<DiskFaults>) {
        self.platter.borrow_mut().faults = Some(faults);
    }

    /// How long what was done with it took since this was last asked.
    pub(crate) fn take_time(&self) -> Duration {
        let platter = self.platter.borrow();
        platter.faults.as_ref().map_or(Duration::ZERO, |faults| faults.take_time())
    }

    /// Flips `bits` bits of what lies on it, anywhere, and nobody is told; returns how
    /// many, which is none if nothing lies there.
    pub(crate) fn flip_bits(&self, bits: u32, rng: &mut impl Rng) -> u32 {
        let Platter { files, flipped, .. } = &mut *self.platter.borrow_mut();
        let lengths: Vec<(OsString, u64)> = files
            .iter()
            .filter(|(_, file)| file.length > 0)
            .map(|(path, file)| (path.clone(), file.length))
            .collect();
        let total: u64 = lengths.iter().map(|(_, length)| length).sum();
        for _ in 0..if total > 0 { bits } else { 0 } {
            let mut at = rng.random_range(0..total);
            let mut all = lengths.iter();
            let path = loop {
                let (path, length) = all.next().expect("it is within the total");
                if at < *length {
                    break path;
                }
                at -= length;
            };
            let bit = 1 << rng.random_range(0..8);
            files.get_mut(path).expect("it was listed").flip(at, bit);
            flipped.insert((path.into(), at));
        }
        if total > 0 { bits } else { 0 }
    }

    /// What is likely to be written to the file at `path`: pages of it that are the same
    /// take no room. Of files that are there it is too late.
    pub(crate) fn expect(&self, path: &Path, truth: Truth) {
        self.platter.borrow_mut().expected.insert(path.into(), truth);
    }

    /// Whether these are the bytes at `offset` of the file at `path`. What is kept as it
    /// was expected is right without a look, if `bytes` are of what was expected.
    pub(crate) fn holds(&self, path: &Path, offset: u64, bytes: &[u8]) -> bool {
        let platter = self.platter.borrow();
        platter.files.get(path.as_os_str()).is_some_and(|file| file.holds(offset, bytes))
    }

    /// Whether any has flipped that was not written over since.
    pub(crate) fn has_any_flipped(&self) -> bool {
        !self.platter.borrow().flipped.is_empty()
    }

    /// Whether a bit has flipped in these bytes since they were written.
    pub(crate) fn has_flipped(&self, path: &Path, offset: u64, length: u64) -> bool {
        let flipped = &self.platter.borrow().flipped;
        let range = || (path.to_owned(), offset)..(path.to_owned(), offset + length);
        !flipped.is_empty() && flipped.range(range()).next().is_some()
    }

    /// What was done to it so far.
    pub fn stats(&self) -> DiskStats {
        self.platter.borrow().stats
    }

    /// The paths of all files, in order of their letters.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.platter.borrow().files.keys().map(PathBuf::from).collect()
    }

    /// Has `read` read `length` bytes at `offset`, which are there.
    fn read_with<R>(
        &self,
        path: &Path,
        offset: u64,
        length: usize,
        read: impl FnOnce(&File) -> R,
    ) -> io::Result<R> {
        let mut platter = self.platter()?;
        self.meet_read(&platter)?;
        let Platter { files, stats, .. } = &mut *platter;
        let file = files.get(path.as_os_str()).ok_or_else(|| not_found(path))?;
        let end = offset.checked_add(length as u64);
        if end.is_none_or(|end| end > file.length) {
            let message = format!(
                "reading {length} bytes at {offset} of {}, which has {} bytes",
                path.display(),
                file.length
            );
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        stats.reads += 1;
        stats.bytes_read += length as u64;
        Ok(read(file))
    }

    /// Has `write` write `length` bytes at `offset`, or the first of them if something goes
    /// wrong.
    fn write_with(
        &self,
        path: &Path,
        offset: u64,
        length: usize,
        write: impl FnOnce(&mut File, usize),
    ) -> io::Result<()> {
        if offset.checked_add(length as u64).is_none() {
            let message = format!("writing at {offset} of {}, past 2^64 bytes", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut platter = self.platter()?;
        let written = match &platter.faults {
            None => Written::Whole,
            Some(_) => self.meet_write(&platter, length, platter.room_for(path, offset, length)),
        };
        let (length, result) = match written {
            Written::Whole => (length, Ok(())),
            Written::Part(0, error) => return Err(error),
            Written::Part(part, error) => (part, Err(error)),
        };
        let Platter { files, stats, flipped, expected, .. } = &mut *platter;
        let file = file_at(files, expected, path);
        write(file, length);
        let end = offset + length as u64;
        file.length = file.length.max(end);
        if !flipped.is_empty() {
            flipped.retain(|(other, at)| other != path || !(offset..end).contains(at));
        }
        stats.writes += 1;
        stats.bytes_written += length as u64;
        result
    }

    fn platter(&self) -> io::Result<std::cell::RefMut<'_, Platter>> {
        if !self.incarnation.is_current() {
            return Err(io::Error::other("using a disk whose host has stopped"));
        }
        Ok(self.platter.borrow_mut())
    }

    /// What goes wrong with a read.
    fn meet_read(&self, platter: &Platter) -> io::Result<()> {
        match platter.faults.as_ref().filter(|_| self.by_process) {
            Some(faults) => faults.read(),
            None => Ok(()),
        }
    }

    /// What goes wrong with a write of `length` bytes, of which `new` need room.
    fn meet_write(&self, platter: &Platter, length: usize, new: u64) -> Written {
        match platter.faults.as_ref().filter(|_| self.by_process) {
            Some(faults) => faults.write(length, new),
            None => Written::Whole,
        }
    }
}

impl Default for SimDisk {
    fn default() -> SimDisk {
        SimDisk::new()
    }
}

impl Disk for SimDisk {
    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        Ok(self.platter()?.files.get(path.as_os_str()).map(|file| file.length))
    }

    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = buffer.len();
        self.read_with(path, offset, length, |file| file.read(offset, buffer))
    }

    fn read_bytes_at(&self, path: &Path, offset: u64, length: usize) -> io::Result<Bytes> {
        self.read_with(path, offset, length, |file| file.bytes(offset, length))
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_with(path, offset, bytes.len(), |file, length| {
            file.write(offset, &bytes[..length]);
        })
    }

    fn write_parts_at(&self, path: &Path, offset: u64, parts: &Parts) -> io::Result<()> {
        self.write_with(path, offset, parts.len(), |file, length| {
            let mut at = offset;
            for part in parts.slices(length) {
                file.write(at, part);
                at += part.len() as u64;
            }
        })
    }

    /// What comes as expected takes no room, however many peers wait for the rest of it.
    fn hold(&self, path: &Path, offset: u64, bytes: Bytes) -> Bytes {
        let platter = self.platter.borrow();
        let expected = platter.expected.get(path.as_os_str());
        expected.and_then(|expected| expected.in_place_of(&bytes, offset)).unwrap_or(bytes)
    }

    fn set_length(&self, path: &Path, length: u64) -> io::Result<()> {
        let mut platter = self.platter()?;
        if let Written::Part(_, error) = self.meet_write(&platter, 0, 0) {
            return Err(error);
        }
        let Platter { files, expected, .. } = &mut *platter;
        file_at(files, expected, path).set_length(length);
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let mut platter = self.platter()?;
        if let Written::Part(_, error) = self.meet_write(&platter, 0, 0) {
            return Err(error);
        }
        let Platter { files, stats, .. } = &mut *platter;
        let file = files.get_mut(path.as_os_str()).ok_or_else(|| not_found(path))?;
        file.sync();
        stats.syncs += 1;
        Ok(())
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let mut platter = self.platter()?;
        self.meet_read(&platter)?;
        let Platter { files, stats, .. } = &mut *platter;
        let Some(file) = files.get(path.as_os_str()) else {
            return Ok(None);
        };
        if file.length > limit {
            let message = format!(
                "reading {}, which has {} bytes, more than {limit}",
                path.display(),
                file.length
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let mut bytes = vec![0; file.length as usize];
        file.read(0, &mut bytes);
        stats.reads += 1;
        stats.bytes_read += file.length;
        Ok(Some(bytes))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.platter()?;
        // Both are there until the new one takes the place of the old one.
        let new = bytes.len().next_multiple_of(PAGE) as u64;
        if let Written::Part(_, error) = self.meet_write(&platter, bytes.len(), new) {
            return Err(error);
        }
        let Platter { files, stats, flipped, .. } = &mut *platter;
        flipped.retain(|(other, _)| other != path);
        let mut file = File::default();
        file.write(0, bytes);
        file.length = bytes.len() as u64;
        file.sync();
        files.insert(path.into(), file);
        stats.writes += 1;
        stats.syncs += 1;
        stats.bytes_written += bytes.len() as u64;
        Ok(())
    }
}

#[derive(Default)]
struct Platter {
    /// By path, which is compared as it is written: by its parts that takes longer.
    files: BTreeMap<OsString, File>,
    expected: BTreeMap<OsString, Truth>,
    stats: DiskStats,
    /// Bytes with a bit that flipped since they were written.
    flipped: BTreeSet<(PathBuf, u64)>,
    /// What goes wrong with it, if something may.
    faults: Option<Rc<DiskFaults>>,
}

impl Platter {
    /// The room that a write takes which was free before (bytes): that of whole pages.
    fn room_for(&self, path: &Path, offset: u64, length: usize) -> u64 {
        let file = self.files.get(path.as_os_str());
        let is_new = |page: u64| file.is_none_or(|file| !file.pages.contains(page));
        let pages = pages_of(offset, length).filter(|(page, ..)| is_new(*page));
        pages.count() as u64 * PAGE as u64
    }
}

/// What is in a page.
#[derive(Clone)]
enum Page {
    /// What was expected, which the disk need not hold.
    Expected,
    Other(Rc<[u8; PAGE]>),
}

/// Pages by their number. Those that are as expected are most of all, and take a bit each.
#[derive(Default)]
struct Pages {
    expected: FixedBitSet,
    others: BTreeMap<u64, Rc<[u8; PAGE]>>,
}

impl Pages {
    fn contains(&self, number: u64) -> bool {
        self.is_expected(number) || self.others.contains_key(&number)
    }

    fn is_expected(&self, number: u64) -> bool {
        is_in(&self.expected, number)
    }

    fn get(&self, number: u64) -> Option<Page> {
        match self.is_expected(number) {
            true => Some(Page::Expected),
            false => self.others.get(&number).cloned().map(Page::Other),
        }
    }

    /// Puts `page` in the place of what was there, which it returns.
    fn replace(&mut self, number: u64, page: Option<Page>) -> Option<Page> {
        let before = match self.is_expected(number) {
            true => Some(Page::Expected),
            false => self.others.remove(&number).map(Page::Other),
        };
        match page {
            Some(Page::Expected) => self.expected.grow_and_insert(number as usize),
            Some(Page::Other(page)) => {
                self.forget_expected(number);
                self.others.insert(number, page);
            }
            None => self.forget_expected(number),
        }
        before
    }

    fn forget_expected(&mut self, number: u64) {
        if self.is_expected(number) {
            self.expected.remove(number as usize);
        }
    }

    /// The bytes of a page that is changed; one that was not there is zeros, one that was
    /// as expected starts with that.
    fn own(&mut self, number: u64, expected: Option<&Truth>) -> &mut [u8; PAGE] {
        if self.is_expected(number) {
            self.forget_expected(number);
            self.others.insert(number, copy(expected_page(expected, number)));
        }
        Rc::make_mut(self.others.entry(number).or_insert_with(|| Rc::new([0; PAGE])))
    }

    /// Numbers of the pages from `first` on, in order.
    fn from(&self, first: u64) -> BTreeSet<u64> {
        let expected = self.expected.ones().map(|number| number as u64);
        let others = self.others.range(first..).map(|(number, _)| *number);
        expected.filter(|number| *number >= first).chain(others).collect()
    }
}

fn is_in(set: &FixedBitSet, number: u64) -> bool {
    usize::try_from(number).is_ok_and(|number| set.contains(number))
}

/// What the platter holds of the pages changed since the last sync.
#[derive(Default)]
struct Unsynced {
    /// Nothing, where something has been put that was expected.
    new: FixedBitSet,
    others: BTreeMap<u64, Option<Page>>,
}

impl Unsynced {
    /// Page `number` has been changed, and `durable` is what the platter has, unless it was
    /// changed before.
    fn note(&mut self, number: u64, durable: Option<Page>, is_expected: bool) {
        if is_in(&self.new, number) {
            return;
        }
        match durable {
            None if is_expected && !self.others.contains_key(&number) => {
                self.new.grow_and_insert(number as usize);
            }
            durable => _ = self.others.entry(number).or_insert(durable),
        }
    }

    fn clear(&mut self) {
        self.new.clear();
        self.others.clear();
    }

    /// All of them, in the order of their numbers.
    fn take(&mut self) -> BTreeMap<u64, Option<Page>> {
        let mut all = std::mem::take(&mut self.others);
        all.extend(self.new.ones().map(|number| (number as u64, None)));
        self.new.clear();
        all
    }
}

/// A sparse file: a page that is not there reads as zeros.
#[derive(Default)]
struct File {
    length: u64,
    pages: Pages,
    /// What it is likely to become, if anybody knows.
    expected: Option<Truth>,
    /// The length that is on the platter; `None` if the file is not.
    durable_length: Option<u64>,
    unsynced: Unsynced,
}

impl File {
    fn read(&self, offset: u64, buffer: &mut [u8]) {
        for (number, within, range) in pages_of(offset, buffer.len()) {
            let part = &mut buffer[range];
            match self.page(number) {
                Some(page) => part.copy_from_slice(&page[within..within + part.len()]),
                None => part.fill(0),
            }
        }
    }

    /// The same, without a copy if they are as expected.
    fn bytes(&self, offset: u64, length: usize) -> Bytes {
        if let Some(expected) = &self.expected
            && pages_of(offset, length).all(|(number, ..)| self.pages.is_expected(number))
        {
            return expected.bytes(offset, length).expect("it was expected");
        }
        let mut bytes = vec![0; length];
        self.read(offset, &mut bytes);
        bytes.into()
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (number, within, range) in pages_of(offset, bytes.len()) {
            let part = &bytes[range];
            let expected = self.expected(number);
            if expected.is_some_and(|page| same(page, part)) {
                let durable = self.pages.replace(number, Some(Page::Expected));
                self.unsynced.note(number, durable, true);
            } else {
                self.change(number)[within..within + part.len()].copy_from_slice(part);
            }
        }
    }

    /// What page `number` is likely to become, if it is a whole one.
    fn expected(&self, number: u64) -> Option<&[u8]> {
        expected_page(self.expected.as_ref(), number)
    }

    /// What is in page `number`, if it is there.
    fn page(&self, number: u64) -> Option<&[u8]> {
        match self.pages.is_expected(number) {
            true => self.expected(number),
            false => self.pages.others.get(&number).map(|page| &page[..]),
        }
    }

    fn holds(&self, offset: u64, bytes: &[u8]) -> bool {
        let mut parts = pages_of(offset, bytes.len());
        offset + bytes.len() as u64 <= self.length
            && parts.all(|(number, within, range)| {
                let part = &bytes[range];
                match self.page(number) {
                    Some(page) => same(&page[within..within + part.len()], part),
                    None => part.iter().all(|byte| *byte == 0),
                }
            })
    }

    /// Changes a bit at `at`, in the platter's copy as well if there is another.
    fn flip(&mut self, at: u64, bit: u8) {
        let (page, within) = (at / PAGE as u64, (at % PAGE as u64) as usize);
        if let Some(Some(durable)) = self.unsynced.others.get_mut(&page) {
            durable.own(expected_page(self.expected.as_ref(), page))[within] ^= bit;
        }
        self.pages.own(page, self.expected.as_ref())[within] ^= bit;
    }

    fn set_length(&mut self, length: u64) {
        // What lies past the end must read as zeros if the file grows again.
        let kept = length.div_ceil(PAGE as u64);
        for number in self.pages.from(kept) {
            let durable = self.pages.replace(number, None);
            self.unsynced.note(number, durable, false);
        }
        let within = (length % PAGE as u64) as usize;
        if within > 0 && length < self.length && self.pages.contains(kept - 1) {
            self.change(kept - 1)[within..].fill(0);
        }
        self.length = length;
    }

    fn sync(&mut self) {
        self.unsynced.clear();
        self.durable_length = Some(self.length);
    }

    /// Whether the file itself survives.
    fn power_loss(&mut self, rng: &mut impl Rng, stats: &mut DiskStats) -> bool {
        let length_survives = self.durable_length == Some(self.length) || rng.random_bool(0.5);
        for (number, durable) in self.unsynced.take() {
            if rng.random_bool(0.5) {
                continue;
            }
            stats.pages_lost += 1;
            self.pages.replace(number, durable);
        }
        let length = if length_survives { Some(self.length) } else { self.durable_length };
        let Some(length) = length else { return false };
        // A page that came back may hold bytes past a length that did not.
        self.length = length;
        self.trim(length);
        self.sync();
        true
    }

    /// Zeroes what lies past `length`.
    fn trim(&mut self, length: u64) {
        let within = (length % PAGE as u64) as usize;
        let last = length / PAGE as u64;
        for number in self.pages.from(last + 1) {
            self.pages.replace(number, None);
        }
        if self.pages.contains(last) {
            self.change(last)[within..].fill(0);
        }
    }

    fn change(&mut self, number: u64) -> &mut [u8; PAGE] {
        self.unsynced.note(number, self.pages.get(number), false);
        self.pages.own(number, self.expected.as_ref())
    }
}

impl Page {
    /// The page's own bytes, which were `expected` if it has none yet.
    fn own(&mut self, expected: Option<&[u8]>) -> &mut [u8; PAGE] {
        if let Page::Expected = self {
            *self = Page::Other(copy(expected));
        }
        match self {
            Page::Other(page) => Rc::make_mut(page),
            Page::Expected => unreachable!("it was just made another"),
        }
    }
}

/// A page of one's own that is as expected.
fn copy(expected: Option<&[u8]>) -> Rc<[u8; PAGE]> {
    let bytes = expected.and_then(|page| page.try_into().ok());
    Rc::new(bytes.expect("it was expected to be something"))
}

/// Page `number` of a file that is expected to be `file`, if it is a whole one.
fn expected_page(file: Option<&Truth>, number: u64) -> Option<&[u8]> {
    file?.slice(number.checked_mul(PAGE as u64)?, PAGE)
}

/// The parts of `length` bytes from `offset` on, page by page: the page's
/// number, where the part starts in the page, and its range of the whole.
fn pages_of(
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let within = (at % PAGE as u64) as usize;
        let part = (PAGE - within).min(length - done);
        done += part;
        Some((at / PAGE as u64, within, done - part..done))
    })
}

/// The file at `path`, which is made if there is none.
fn file_at<'a>(
    files: &'a mut BTreeMap<OsString, File>,
    expected: &BTreeMap<OsString, Truth>,
    path: &Path,
) -> &'a mut File {
    let name = path.as_os_str();
    if !files.contains_key(name) {
        let new = File { expected: expected.get(name).cloned(), ..File::default() };
        files.insert(name.to_owned(), new);
    }
    files.get_mut(name).expect("it was put there")
}

/// Whoever looks for what may not be there does not ask for the words.
#[derive(Debug, thiserror::Error)]
#[error("no file at {}", .0.display())]
struct NoFile(PathBuf);

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, NoFile(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn content(disk: &SimDisk) -> Option<Vec<u8>> {
        disk.read(Path::new("f"), u64::MAX).unwrap()
    }

    fn write(disk: &SimDisk, offset: u64, bytes: &[u8]) {
        disk.write_at(Path::new("f"), offset, bytes).unwrap();
    }

    fn sync(disk: &SimDisk) {
        disk.sync(Path::new("f")).unwrap();
    }

    /// What is left of one and the same disk under each of 64 seeds.
    fn after_power_loss(prepare: impl Fn(&SimDisk)) -> Vec<Option<Vec<u8>>> {
        (0..64)
            .map(|seed| {
                let disk = SimDisk::new();
                prepare(&disk);
                disk.power_loss(&mut ChaCha8Rng::seed_from_u64(seed));
                content(&disk)
            })
            .collect()
    }

    #[test]
    fn what_was_written_is_read_across_pages_and_gaps_are_zeros() {
        let disk = SimDisk::new();
        let bytes: Vec<u8> = (0..3 * PAGE).map(|i| i as u8 | 1).collect();
        write(&disk, 5000, &bytes);
        let mut buffer = vec![9; bytes.len() + 100];
        disk.read_at(Path::new("f"), 4900, &mut buffer).unwrap();
        assert_eq!(buffer[..100], [0; 100]);
        assert_eq!(buffer[100..], bytes);
        assert_eq!(disk.stats().bytes_written, bytes.len() as u64);
        assert_eq!(disk.stats().bytes_read, buffer.len() as u64);
    }

    #[test]
    fn reading_past_the_end_is_an_unexpected_eof_and_a_missing_file_not_found() {
        let disk = SimDisk::new();
        let kind =
            |disk: &SimDisk| disk.read_at(Path::new("f"), 0, &mut [0; 4]).unwrap_err().kind();
        assert_eq!(kind(&disk), io::ErrorKind::NotFound);
        write(&disk, 0, b"abc");
        assert_eq!(kind(&disk), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_file_over_the_limit_is_invalid_data() {
        let disk = SimDisk::new();
        write(&disk, 0, b"abc");
        let error = disk.read(Path::new("f"), 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_huge_length_takes_no_memory() {
        let disk = SimDisk::new();
        disk.set_length(Path::new("f"), 1 << 60).unwrap();
        assert_eq!(disk.length(Path::new("f")).unwrap(), Some(1 << 60));
        let mut buffer = [9; 2];
        disk.read_at(Path::new("f"), (1 << 60) - 2, &mut buffer).unwrap();
        assert_eq!(buffer, [0; 2]);
    }

    #[test]
    fn bytes_cut_off_read_as_zeros_when_the_file_grows_again() {
        let disk = SimDisk::new();
        write(&disk, 0, &[1; 2 * PAGE]);
        disk.set_length(Path::new("f"), 10).unwrap();
        disk.set_length(Path::new("f"), 2 * PAGE as u64).unwrap();
        let bytes = content(&disk).unwrap();
        assert_eq!(bytes[..10], [1; 10]);
        assert!(bytes[10..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn synced_bytes_always_survive() {
        let left = after_power_loss(|disk| {
            write(disk, 0, &[1; 3 * PAGE]);
            sync(disk);
        });
        assert!(left.iter().all(|bytes| bytes.as_deref() == Some(&[1; 3 * PAGE][..])));
    }

    #[test]
    fn each_unsynced_page_survives_or_is_lost_on_its_own() {
        let left = after_power_loss(|disk| {
            write(disk, 0, &[1; 2 * PAGE]);
            sync(disk);
            write(disk, 0, &[2; 2 * PAGE]);
        });
        let mut kinds: Vec<(u8, u8)> = left
            .into_iter()
            .map(|bytes| {
                let bytes = bytes.unwrap();
                assert_eq!(bytes.len(), 2 * PAGE);
                for page in bytes.chunks(PAGE) {
                    assert!(page.iter().all(|byte| *byte == page[0]), "a page is torn");
                }
                (bytes[0], bytes[PAGE])
            })
            .collect();
        kinds.sort();
        kinds.dedup();
        assert_eq!(kinds, [(1, 1), (1, 2), (2, 1), (2, 2)]);
    }

    #[test]
    fn a_file_never_synced_may_be_gone_or_hold_zeros() {
        let left = after_power_loss(|disk| write(disk, 0, b"abc"));
        for kind in [None, Some(b"abc".to_vec()), Some(vec![0; 3])] {
            assert!(left.contains(&kind), "{kind:?} never happened");
        }
    }

    #[test]
    fn an_unsynced_length_survives_or_is_the_old_one() {
        let left = after_power_loss(|disk| {
            write(disk, 0, b"abcdef");
            sync(disk);
            disk.set_length(Path::new("f"), 3).unwrap();
        });
        let lengths: Vec<usize> = left.iter().map(|bytes| bytes.as_ref().unwrap().len()).collect();
        assert!(lengths.contains(&3) && lengths.contains(&6));
    }

    #[test]
    fn replace_is_durable_and_whole() {
        let left = after_power_loss(|disk| {
            disk.replace(Path::new("f"), b"old").unwrap();
            disk.replace(Path::new("f"), b"newer").unwrap();
        });
        assert!(left.iter().all(|bytes| bytes.as_deref() == Some(&b"newer"[..])));
    }

    #[test]
    fn after_a_loss_of_power_what_is_left_is_durable() {
        let disk = SimDisk::new();
        write(&disk, 0, &[1; 8 * PAGE]);
        sync(&disk);
        write(&disk, 0, &[2; 8 * PAGE]);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        disk.power_loss(&mut rng);
        let left = content(&disk);
        disk.power_loss(&mut rng);
        assert_eq!(content(&disk), left);
        assert!(disk.stats().pages_lost > 0);
    }

    #[test]
    fn a_wiped_disk_is_empty() {
        let disk = SimDisk::new();
        disk.replace(Path::new("f"), b"abc").unwrap();
        disk.wipe();
        assert_eq!(disk.paths(), Vec::<PathBuf>::new());
    }

    #[test]
    fn what_comes_as_expected_is_kept_once_and_what_becomes_of_it_apart() {
        let truth: Vec<u8> = (0..2 * PAGE).map(|at| (at / 7) as u8).collect();
        let expected = Bytes::from(truth.clone());
        let path = Path::new("content");
        let disks = [SimDisk::new(), SimDisk::new()];
        for disk in &disks {
            disk.expect(path, Truth::held(expected.clone()));
            disk.write_at(path, 0, &truth).unwrap();
            disk.sync(path).unwrap();
            assert!(disk.holds(path, 0, &truth) && disk.holds(path, 5, &truth[5..PAGE + 9]));
        }
        let shared = |disk: &SimDisk, at: usize| {
            let bytes = disk.read_bytes_at(path, at as u64, 5000).unwrap();
            assert_eq!(bytes, truth[at..at + 5000]);
            bytes.as_ptr() == expected[at..].as_ptr()
        };
        assert!(shared(&disks[0], 9) && shared(&disks[1], 9));
        let mut read = vec![0; truth.len()];
        disks[0].write_at(path, 9, &[truth[9] ^ 1]).unwrap();
        assert!(!disks[0].holds(path, 0, &truth) && disks[1].holds(path, 0, &truth));
        assert_ne!(disks[0].read_bytes_at(path, 0, 99).unwrap(), truth[..99]);
        disks[1].flip_bits(1, &mut ChaCha8Rng::seed_from_u64(1));
        assert!(!disks[1].holds(path, 0, &truth));
        let held = |bytes: &[u8]| disks[0].hold(path, 7, Bytes::copy_from_slice(bytes));
        assert_eq!(held(&truth[7..99]).as_ptr(), expected[7..].as_ptr());
        assert_ne!(held(&truth[8..99]).as_ptr(), expected[7..].as_ptr());
        assert_eq!(held(&truth[8..99]), truth[8..99]);
        disks[0].write_at(path, 0, &truth[..PAGE]).unwrap();
        assert!(disks[0].holds(path, 0, &truth) && !disks[0].holds(path, PAGE as u64, &truth));
        disks[0].read_at(path, 0, &mut read).unwrap();
        assert_eq!(read, truth);
    }
}
