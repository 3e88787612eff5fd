//! Who watches: reads a download's stream at its bitrate, as a player on the peer's
//! host would.

use std::{rc::Rc, time::Duration};

use reseed_client::{Env, Stream, StreamError};
use reseed_protocol::{Time, Video};

use crate::{
    lab::Lab,
    plan::{PlayerAct, PlayerPlan},
};

/// How often a player reads.
const READ_EACH: Duration = Duration::from_millis(100);

/// After what time a player tries again to read what the disk could not.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A player, before it begins.
pub(crate) struct Player {
    pub(crate) plan: PlayerPlan,
    pub(crate) video: Video,
    /// The peer on whose host it is, as an index into the plan.
    pub(crate) peer: usize,
    pub(crate) lab: Rc<Lab>,
}

impl Player {
    /// Watches a live stream until its download ends, from wherever that is to be had when it
    /// begins.
    pub(crate) async fn watch<S>(self, env: impl Env, open: impl FnOnce(u64) -> Stream<S>) {
        env.sleep_until(env.now() + Duration::from_millis(self.plan.start_ms)).await;
        let stream = open(0);
        let mut due = env.now();
        loop {
            let (at, bytes) = match stream.read_next(self.chunk()).await {
                Ok(Some(next)) => next,
                Err(StreamError::Disk(error)) => {
                    self.note(env.now(), &format!("cannot read a piece: {error}"));
                    continue;
                }
                Ok(None) | Err(_) => return,
            };
            self.lab.watched(self.peer, at, &bytes, env.now());
            due = due.max(env.now()) + self.video.time_of(bytes.len() as u64);
            env.sleep_until(due).await;
        }
    }

    fn chunk(&self) -> usize {
        (self.video.bitrate as f64 * READ_EACH.as_secs_f64()).ceil() as usize
    }

    /// Plays to the end of the video, but for what its plan has it do in between. A
    /// download that ends before ends it.
    pub(crate) async fn play<S>(self, env: impl Env, open: impl FnOnce(u64) -> Stream<S>) {
        env.sleep_until(env.now() + Duration::from_millis(self.plan.start_ms)).await;
        let stream = open(self.plan.from);
        let mut acts = self.plan.acts.iter();
        let mut next_act = acts.next();
        let (mut at, mut played) = (self.plan.from, 0);
        self.lab.played(self.peer, at, b"", env.now());
        let chunk = self.chunk();
        let mut due = env.now();
        loop {
            while let Some((after, act)) = next_act
                && *after <= played
            {
                at = self.act(*act, at, &stream, &env).await;
                next_act = acts.next();
                due = env.now();
            }
            let bytes = match stream.read(chunk).await {
                Ok(bytes) => bytes,
                Err(StreamError::Disk(error)) => {
                    self.note(env.now(), &format!("cannot read on: {error}"));
                    env.sleep_until(env.now() + RETRY_AFTER).await;
                    if stream.seek(at).is_err() {
                        return;
                    }
                    continue;
                }
                Err(_) => return,
            };
            if bytes.is_empty() {
                return self.lab.play_ended(self.peer, at, env.now());
            }
            self.lab.played(self.peer, at, &bytes, env.now());
            at += bytes.len() as u64;
            played += bytes.len() as u64;
            // What comes late is played from when it comes.
            due = due.max(env.now()) + self.video.time_of(bytes.len() as u64);
            env.sleep_until(due).await;
        }
    }

    /// Does as the plan says; returns where it plays on.
    async fn act<S>(&self, act: PlayerAct, at: u64, stream: &Stream<S>, env: &impl Env) -> u64 {
        match act {
            PlayerAct::Seek { to } => {
                let _ = stream.seek(to);
                self.note(env.now(), &format!("seeks from byte {at} to byte {to}"));
                to
            }
            PlayerAct::Pause { ms } => {
                self.note(env.now(), &format!("pauses at byte {at} for {ms} ms"));
                stream.pause(true);
                env.sleep_until(env.now() + Duration::from_millis(ms)).await;
                stream.pause(false);
                at
            }
        }
    }

    fn note(&self, now: Time, words: &str) {
        self.lab.note(now, format!("{}'s player {words}", self.lab.peer(self.peer).name));
    }
}
