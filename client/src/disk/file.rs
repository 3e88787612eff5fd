use std::{
    cell::RefCell,
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Component, Path, PathBuf},
    rc::Rc,
};

use super::Disk;

/// Files kept open (count), the least recently used one making room: few enough
/// for any limit on descriptors, enough for the files that a swarm asks for at once.
const OPEN_FILES_MAX: usize = 64;

/// A folder on the machine's own disk. Clones are the same folder.
///
/// Nothing outside it is touched: a path with anything but plain names in it is
/// refused, and so is one on which a symbolic link or, at its end, anything but a
/// regular file lies. That is looked up before a file is opened, so it guards
/// against what a torrent or an earlier download left behind, not against a
/// program that swaps files at that very moment.
#[derive(Debug, Clone)]
pub struct FileDisk {
    root: Rc<Path>,
    open: Rc<RefCell<OpenFiles>>,
}

impl FileDisk {
    /// The folder at `root`, made when something is written. It may be a symbolic
    /// link itself.
    pub fn new(root: impl Into<PathBuf>) -> FileDisk {
        FileDisk { root: root.into().into(), open: Rc::default() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn with_file<T>(
        &self,
        path: &Path,
        access: Access,
        act: impl FnOnce(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut open = self.open.borrow_mut();
        let file = open.get(path, access, || {
            let full = self.full_path(path)?;
            match access {
                Access::Read => File::open(full),
                Access::Write => {
                    create_parent(&full)?;
                    (OpenOptions::new().read(true).write(true).create(true))
                        .truncate(false)
                        .open(full)
                }
            }
        });
        file.and_then(act).map_err(|error| named(error, path))
    }

    /// Where `path` is, after checking that it is inside the root.
    fn full_path(&self, path: &Path) -> io::Result<PathBuf> {
        let refused = |problem| io::Error::new(io::ErrorKind::InvalidInput, problem);
        let mut full = self.root.to_path_buf();
        let mut last = None;
        for component in path.components() {
            let Component::Normal(name) = component else {
                return Err(refused("the path must be plain names below the folder"));
            };
            full.push(name);
            last = match fs::symlink_metadata(&full) {
                Ok(found) if found.is_symlink() => {
                    return Err(refused("a symbolic link is on the path"));
                }
                Ok(found) => Some(found),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
        }
        if full == *self.root {
            return Err(refused("the path must name a file"));
        }
        match last {
            Some(found) if !found.is_file() => Err(refused("it is not a regular file")),
            _ => Ok(full),
        }
    }

    /// Makes the names of the file at `path` and of its folders durable.
    fn sync_folders(&self, path: &Path) -> io::Result<()> {
        // Only Unix opens a folder like a file; elsewhere names are durable by
        // themselves as far as they can be.
        if cfg!(unix) {
            for folder in path.ancestors().skip(1) {
                File::open(self.root.join(folder))?.sync_all()?;
            }
        }
        Ok(())
    }
}

impl Disk for FileDisk {
    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        let found = self.full_path(path).and_then(fs::symlink_metadata);
        match found {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(named(error, path)),
        }
    }

    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.with_file(path, Access::Read, |mut file| {
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(buffer)
        })
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with_file(path, Access::Write, |mut file| {
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(bytes)
        })
    }

    fn set_length(&self, path: &Path, length: u64) -> io::Result<()> {
        self.with_file(path, Access::Write, |file| file.set_len(length))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.with_file(path, Access::Read, |file| file.sync_data())?;
        self.sync_folders(path).map_err(|error| named(error, path))
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let read = self.with_file(path, Access::Read, |mut file| {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(0))?;
            file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > limit {
                let message = format!("the file has more than {limit} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            Ok(bytes)
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.open.borrow_mut().close(path);
        let replace = || {
            let full = self.full_path(path)?;
            create_parent(&full)?;
            let new = temporary(&full);
            write_new(&new, bytes)
                .and_then(|()| fs::rename(&new, &full))
                .inspect_err(|_| drop(fs::remove_file(&new)))?;
            self.sync_folders(path)
        };
        replace().map_err(|error| named(error, path))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

#[derive(Debug, Default)]
struct OpenFiles {
    files: BTreeMap<PathBuf, OpenFile>,
    uses: u64,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    access: Access,
    used: u64,
}

impl OpenFiles {
    /// The file at `path` if it is open for at least `access`, else what `open`
    /// gives, which then stays open.
    fn get(
        &mut self,
        path: &Path,
        access: Access,
        open: impl FnOnce() -> io::Result<File>,
    ) -> io::Result<&File> {
        self.uses += 1;
        let usable = |found: &OpenFile| found.access == Access::Write || access == Access::Read;
        if !self.files.get(path).is_some_and(usable) {
            let file = open()?;
            self.close(path);
            if self.files.len() >= OPEN_FILES_MAX {
                let oldest = self.files.values().map(|found| found.used).min();
                self.files.retain(|_, found| Some(found.used) != oldest);
            }
            let used = self.uses;
            let opened = OpenFile { file, access, used };
            self.files.insert(path.to_owned(), opened);
        }
        let found = self.files.get_mut(path).expect("it was found or inserted");
        found.used = self.uses;
        Ok(&found.file)
    }

    fn close(&mut self, path: &Path) {
        self.files.remove(path);
    }
}

/// Beside the file, so that it can be renamed, under a name that no content is
/// likely to have; always the same one, so that a crash leaves at most one behind.
fn temporary(full: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(full.file_name().unwrap_or_default());
    name.push(".replacing");
    full.with_file_name(name)
}

fn create_parent(full: &Path) -> io::Result<()> {
    full.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Writes a file that must be a new one; what an interrupted attempt left goes.
fn write_new(full: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(full) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Fails on whatever is there, a symbolic link included.
    let mut file = File::create_new(full)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn named(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::disk::contract::contract;

    fn disk() -> (TempDir, FileDisk) {
        let folder = TempDir::new().unwrap();
        let disk = FileDisk::new(folder.path().join("root"));
        (folder, disk)
    }

    contract!(disk());

    fn refused<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
        result.unwrap_err().kind() == io::ErrorKind::InvalidInput
    }

    #[test]
    fn a_path_that_leaves_the_folder_is_refused() {
        let (folder, disk) = disk();
        fs::write(folder.path().join("outside"), "secret").unwrap();
        fs::create_dir(disk.root()).unwrap();
        let outside = folder.path().join("outside");
        for path in [&outside, Path::new("../outside"), Path::new("a/../../outside"), Path::new("")]
        {
            assert!(refused(disk.length(path)), "{path:?}");
            assert!(refused(disk.read(path, 99)), "{path:?}");
            assert!(refused(disk.read_at(path, 0, &mut [0])), "{path:?}");
            assert!(refused(disk.write_at(path, 0, b"x")), "{path:?}");
            assert!(refused(disk.set_length(path, 0)), "{path:?}");
            assert!(refused(disk.sync(path)), "{path:?}");
            assert!(refused(disk.replace(path, b"x")), "{path:?}");
        }
        assert_eq!(fs::read(outside).unwrap(), b"secret");
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_is_not_followed() {
        use std::os::unix::fs::symlink;

        let (folder, disk) = disk();
        fs::create_dir(disk.root()).unwrap();
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "secret").unwrap();
        symlink(&outside, disk.root().join("folder")).unwrap();
        symlink(outside.join("file"), disk.root().join("file")).unwrap();
        symlink(outside.join("none"), disk.root().join("dangling")).unwrap();
        for path in ["folder/file", "file", "dangling", "folder/new/file"] {
            let path = Path::new(path);
            assert!(refused(disk.length(path)), "{path:?}");
            assert!(refused(disk.read(path, 99)), "{path:?}");
            assert!(refused(disk.write_at(path, 0, b"x")), "{path:?}");
            assert!(refused(disk.replace(path, b"x")), "{path:?}");
        }
        assert_eq!(fs::read(outside.join("file")).unwrap(), b"secret");
        assert_eq!(fs::read_dir(outside).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_the_temporary_file_is_not_followed() {
        let (folder, disk) = disk();
        let outside = folder.path().join("outside");
        fs::write(&outside, "secret").unwrap();
        fs::create_dir(disk.root()).unwrap();
        std::os::unix::fs::symlink(&outside, temporary(&disk.root().join("a"))).unwrap();
        disk.replace(Path::new("a"), b"x").unwrap();
        assert_eq!(fs::read(outside).unwrap(), b"secret");
    }

    #[test]
    fn a_folder_is_no_file() {
        let (_folder, disk) = disk();
        disk.write_at(Path::new("a/b"), 0, b"x").unwrap();
        assert!(refused(disk.length(Path::new("a"))));
        assert!(refused(disk.write_at(Path::new("a"), 0, b"x")));
    }

    #[test]
    fn a_replacement_leaves_no_other_file_behind() {
        let (_folder, disk) = disk();
        disk.replace(Path::new("a"), b"x").unwrap();
        disk.replace(Path::new("a"), b"y").unwrap();
        assert_eq!(fs::read_dir(disk.root()).unwrap().count(), 1);
    }

    #[test]
    fn however_many_files_are_used_only_the_latest_stay_open() {
        let (_folder, disk) = disk();
        let path = |n: usize| PathBuf::from(format!("folder/{n}"));
        for n in 0..OPEN_FILES_MAX + 10 {
            disk.write_at(&path(n), 0, n.to_string().as_bytes()).unwrap();
            disk.write_at(&path(0), 0, b"0").unwrap();
        }
        let open: Vec<PathBuf> = disk.open.borrow().files.keys().cloned().collect();
        assert_eq!(open.len(), OPEN_FILES_MAX);
        assert!(open.contains(&path(0)) && open.contains(&path(OPEN_FILES_MAX + 9)));
        for n in 0..OPEN_FILES_MAX + 10 {
            let read = disk.read(&path(n), 9).unwrap().unwrap();
            assert_eq!(read, n.to_string().as_bytes());
        }
    }

    #[test]
    fn a_file_that_was_opened_for_reading_can_be_written() {
        let (_folder, disk) = disk();
        let path = Path::new("a");
        fs::create_dir(disk.root()).unwrap();
        fs::write(disk.root().join(path), "abc").unwrap();
        disk.read_at(path, 0, &mut [0; 3]).unwrap();
        disk.write_at(path, 1, b"B").unwrap();
        assert_eq!(disk.read(path, 3).unwrap().unwrap(), b"aBc");
    }
}
