use std::path::{Path, PathBuf};

/// Which file holds which bytes of the content.
#[derive(Debug)]
pub struct FileMap {
    files: Vec<Entry>,
}

/// A file, with its place in the content: `start..end`.
#[derive(Debug)]
struct Entry {
    path: PathBuf,
    start: u64,
    end: u64,
}

/// Bytes of the content that lie in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Index of the file.
    pub file: usize,
    /// First byte, counted from the start of the file.
    pub offset: u64,
    /// Bytes, at least 1.
    pub length: usize,
}

impl FileMap {
    /// Files end to end.
    ///
    /// # Panics
    /// If they have more bytes than a `u64` counts.
    pub fn new(files: Vec<(PathBuf, u64)>) -> FileMap {
        let mut start = 0u64;
        let place = |(path, length)| {
            let end = start.checked_add(length).expect("the length fits in a u64");
            let entry = Entry { path, start, end };
            start = end;
            entry
        };
        FileMap { files: files.into_iter().map(place).collect() }
    }

    pub fn total_length(&self) -> u64 {
        self.files.last().map_or(0, |file| file.end)
    }

    pub fn path(&self, file: usize) -> &Path {
        &self.files[file].path
    }

    /// Paths and lengths, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, u64)> {
        (self.files.iter()).map(|file| (file.path.as_path(), file.end - file.start))
    }

    /// Where the `length` bytes from `start` of the content lie, in order. Empty
    /// files have no span.
    pub fn spans(&self, start: u64, length: usize) -> impl Iterator<Item = Span> + use<'_> {
        let end = start + length as u64;
        let first = self.files.partition_point(|file| file.end <= start);
        (self.files.iter().enumerate().skip(first))
            .take_while(move |(_, file)| file.start < end)
            .map(move |(index, file)| {
                let from = start.max(file.start);
                Span {
                    file: index,
                    offset: from - file.start,
                    length: (end.min(file.end) - from) as usize,
                }
            })
            .filter(|span| span.length > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_cover_the_bytes_and_skip_empty_files() {
        let lengths = [0, 5, 0, 0, 3, 9, 0];
        let map = FileMap::new(lengths.map(|length| (PathBuf::new(), length)).into());
        assert_eq!(map.total_length(), 17);
        let spans = |start, length| -> Vec<(usize, u64, usize)> {
            (map.spans(start, length)).map(|span| (span.file, span.offset, span.length)).collect()
        };
        assert_eq!(spans(0, 17), [(1, 0, 5), (4, 0, 3), (5, 0, 9)]);
        assert_eq!(spans(4, 2), [(1, 4, 1), (4, 0, 1)]);
        assert_eq!(spans(5, 3), [(4, 0, 3)]);
        assert_eq!(spans(16, 1), [(5, 8, 1)]);
        assert_eq!(spans(3, 0), []);
    }
}
