//! What a torrent does, seen from outside: by a remote that talks to it, by its disk and
//! its tracker, and by other torrents, in memory.

mod alone;
mod disk_fails;
mod habits;
mod hostile;
mod merkle;
mod metadata;
mod swarm;
mod upload_only;
