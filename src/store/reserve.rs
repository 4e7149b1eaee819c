//! Disk space that is kept for what is already under way.
//!
//! A disk that runs full takes no entry, not even of requests that were let in while there was room. So a file keeps some
//! space; when a commit finds no room, the file goes, and what was under way is written into the space it leaves. Nothing new
//! is let in until the space is kept again.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::fs::FallocateFlags;

/// Written at a time where a file system cannot set space aside by itself.
static PIECE: [u8; 64 * 1024] = [0; 64 * 1024];

/// The file that keeps the space.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    is_kept: bool,
}

impl Reserve {
    /// A file at this path is to keep so many bytes; none keeps nothing, and then nothing is ever missing.
    pub(super) fn new(path: PathBuf, bytes: u64) -> Self {
        Self { path, bytes, is_kept: bytes == 0 }
    }

    /// Keep the space, unless it is kept already.
    ///
    /// # Errors
    /// When there is no room, or the file cannot be made. Nothing is kept then, not even a part.
    pub(super) fn keep(&mut self) -> io::Result<()> {
        if self.is_kept {
            return Ok(());
        }
        let kept = self.fill();
        if kept.is_err() {
            self.remove();
        }
        self.is_kept = kept.is_ok();
        kept
    }

    /// Give the space to the database.
    pub(super) fn give_up(&mut self) {
        if self.bytes > 0 && self.is_kept {
            self.is_kept = false;
            self.remove();
        }
    }

    fn fill(&self) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        if file.metadata()?.len() > self.bytes {
            file.set_len(self.bytes)?;
        }
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.bytes) {
            Err(rustix::io::Errno::OPNOTSUPP) => self.write(file),
            result => result.map_err(io::Error::from),
        }
    }

    fn write(&self, mut file: File) -> io::Result<()> {
        let mut left = self.bytes;
        while left > 0 {
            let piece = PIECE.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.write_all(&PIECE[..piece])?;
            left -= piece as u64;
        }
        file.sync_data()
    }

    fn remove(&self) {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::error!(%error, "the file that keeps disk space for the ledger cannot be removed");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn space_is_kept_given_up_and_kept_again() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("reserve");
        let mut reserve = Reserve::new(path.clone(), 1 << 20);
        for _ in 0..2 {
            reserve.keep().expect("there is room");
            let found = std::fs::metadata(&path).expect("it is there");
            assert!(found.len() == 1 << 20 && found.blocks() * 512 >= 1 << 20, "{found:?}");
            assert_eq!(found.mode() & 0o777, 0o600);
            reserve.give_up();
            assert!(!path.exists());
        }
        // What another process has left is taken over, and cut where it is too long.
        std::fs::write(&path, vec![1; 2 << 20]).expect("written");
        Reserve::new(path.clone(), 1 << 20).keep().expect("there is room");
        assert_eq!(std::fs::metadata(&path).expect("it is there").len(), 1 << 20);
    }

    #[test]
    fn where_there_is_no_room_nothing_is_kept() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("reserve");
        let mut huge = Reserve::new(path.clone(), 1 << 60);
        assert!(huge.keep().is_err() && !path.exists());
        let mut none = Reserve::new(path.clone(), 0);
        none.keep().expect("nothing to keep");
        none.give_up();
        assert!(none.keep().is_ok() && !path.exists());
    }

    #[test]
    fn a_file_system_that_cannot_set_space_aside_is_written_to() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("reserve");
        let reserve = Reserve::new(path.clone(), 100_000);
        reserve.write(File::create(&path).expect("made")).expect("there is room");
        assert_eq!(std::fs::metadata(&path).expect("it is there").len(), 100_000);
    }
}
