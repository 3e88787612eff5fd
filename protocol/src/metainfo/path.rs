//! Names from a stranger that are to become paths on our disk.

use super::{File, MetainfoError};

/// Bytes a name may have: what the common file systems allow. It also bounds what
/// repeating the torrent's name in front of each file's path can cost.
const NAME_BYTES_MAX: usize = 255;

/// Checks that `name` is one plain component of a path on every system: joining it to
/// a folder names something directly in that folder.
pub(super) fn check_name(name: &str) -> Result<(), MetainfoError> {
    let bytes = name.as_bytes();
    let problem = if name.is_empty() {
        "is empty"
    } else if name == "." || name == ".." {
        "is a relative folder"
    } else if name.contains(['/', '\\']) {
        "has a path separator"
    } else if name.contains('\0') {
        "has a NUL"
    } else if bytes[0].is_ascii_alphabetic() && bytes.get(1) == Some(&b':') {
        "starts with a drive letter"
    } else if name.len() > NAME_BYTES_MAX {
        "is longer than 255 bytes"
    } else {
        return Ok(());
    };
    Err(MetainfoError::Name { name: name.chars().take(60).collect(), problem })
}

/// Checks that no two files have one path, and that no file is where another one
/// needs a folder.
pub(super) fn check_collisions(files: &[File]) -> Result<(), MetainfoError> {
    let mut paths: Vec<&[String]> = files.iter().map(|file| &file.path[..]).collect();
    // In component order, whatever lies below a path comes directly behind it.
    paths.sort_unstable();
    match paths.windows(2).find(|pair| pair[1].starts_with(pair[0])) {
        None => Ok(()),
        Some(pair) => Err(MetainfoError::Collision { path: pair[0].join("/") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leaves_its_folder_is_refused() {
        for name in
            ["", ".", "..", "/", "/etc", "a/b", "a\\b", "\\\\host", "a\0b", "C:", "c:x", "C:\\x"]
        {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_name(&"x".repeat(256)).is_err());
    }

    #[test]
    fn a_name_that_only_looks_odd_is_fine() {
        for name in ["...", "..a", ".hidden", " ", "ab:c", "12:30", "ünïcödé", "a\nb"] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
        assert_eq!(check_name(&"x".repeat(255)), Ok(()));
    }

    #[test]
    fn a_path_is_one_file_or_a_folder() {
        let check = |paths: &[&str]| {
            let files: Vec<File> = paths
                .iter()
                .map(|path| File {
                    path: path.split('/').map(String::from).collect(),
                    length: 1,
                    offset: 0,
                })
                .collect();
            check_collisions(&files)
        };
        assert_eq!(check(&["t/a", "t/b", "t/c/a", "t/c/b"]), Ok(()));
        assert_eq!(check(&["t/a", "t/ab", "t/a b/c"]), Ok(()));
        assert!(check(&["t/b", "t/a", "t/b"]).is_err());
        assert!(check(&["t/a/b/c", "t/a.x", "t/a"]).is_err());
    }
}
