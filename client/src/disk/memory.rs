use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::Disk;

/// A disk in memory. Clones are the same disk. It is full at a given number of
/// bytes, so that no offset, wherever it came from, makes it take more.
#[derive(Debug, Clone)]
pub struct MemoryDisk {
    shared: Rc<RefCell<Shared>>,
}

#[derive(Debug)]
struct Shared {
    files: BTreeMap<PathBuf, Vec<u8>>,
    capacity: u64,
    used: u64,
}

impl MemoryDisk {
    /// An empty disk for `capacity` bytes of content.
    pub fn new(capacity: u64) -> MemoryDisk {
        MemoryDisk {
            shared: Rc::new(RefCell::new(Shared { files: BTreeMap::new(), capacity, used: 0 })),
        }
    }

    /// The files, in the order of their paths.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.shared.borrow().files.keys().cloned().collect()
    }

    /// Deletes the file at `path`; returns whether there was one.
    pub fn remove(&self, path: &Path) -> bool {
        let shared = &mut *self.shared.borrow_mut();
        let removed = shared.files.remove(path);
        shared.used -= removed.as_ref().map_or(0, |file| file.len() as u64);
        removed.is_some()
    }
}

impl Shared {
    /// The file at `path`, made if need be, with its length set to what `choose`
    /// makes of it.
    fn resize(&mut self, path: &Path, choose: impl FnOnce(u64) -> u64) -> io::Result<&mut Vec<u8>> {
        let old = self.files.get(path).map_or(0, |file| file.len() as u64);
        let new = choose(old);
        let used = (self.used - old).saturating_add(new);
        if used > self.capacity {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{new} bytes for {} in {} bytes of memory", path.display(), self.capacity),
            ));
        }
        self.used = used;
        let file = self.files.entry(path.to_owned()).or_default();
        file.resize(new as usize, 0);
        Ok(file)
    }

    fn file(&self, path: &Path) -> io::Result<&Vec<u8>> {
        (self.files.get(path)).ok_or_else(|| {
            let message = format!("no file {} in memory", path.display());
            io::Error::new(io::ErrorKind::NotFound, message)
        })
    }
}

impl Disk for MemoryDisk {
    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        let shared = self.shared.borrow();
        Ok(shared.files.get(path).map(|file| file.len() as u64))
    }

    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let shared = self.shared.borrow();
        let file = shared.file(path)?;
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|offset| file.get(offset..)?.get(..buffer.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        let mut shared = self.shared.borrow_mut();
        let file = shared.resize(path, |old| old.max(end))?;
        file[offset as usize..end as usize].copy_from_slice(bytes);
        Ok(())
    }

    fn set_length(&self, path: &Path, length: u64) -> io::Result<()> {
        self.shared.borrow_mut().resize(path, |_| length)?;
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.shared.borrow().file(path).map(|_| ())
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let shared = self.shared.borrow();
        match shared.files.get(path) {
            Some(file) if file.len() as u64 > limit => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} has {} bytes, at most {limit} expected", path.display(), file.len()),
            )),
            file => Ok(file.cloned()),
        }
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut shared = self.shared.borrow_mut();
        let file = shared.resize(path, |_| bytes.len() as u64)?;
        file.copy_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::contract::contract;

    contract!(((), MemoryDisk::new(1 << 20)));

    #[test]
    fn a_full_disk_takes_no_more_and_keeps_what_it_has() {
        let disk = MemoryDisk::new(10);
        let path = Path::new("a");
        disk.write_at(path, 0, b"12345678").unwrap();
        for error in [
            disk.write_at(path, 8, b"xyz").unwrap_err(),
            disk.write_at(Path::new("b"), u64::MAX, b"xyz").unwrap_err(),
            disk.set_length(path, u64::MAX).unwrap_err(),
            disk.replace(path, &[0; 11]).unwrap_err(),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        assert_eq!(disk.read(path, 10).unwrap().unwrap(), b"12345678");
        assert_eq!(disk.paths(), [path]);
        assert!(disk.remove(path));
        disk.set_length(Path::new("b"), 10).unwrap();
    }
}
