//! A magnet link's download until it is one of a torrent.

use std::{future::pending, path::PathBuf};

use reseed_protocol::{
    Info, MetadataFetch,
    extension::METADATA_LENGTH_MAX,
    torrent::{Event, Output},
};

use super::*;

impl<N: Network, E: Env, D: Disk> Driver<N, E, D> {
    /// Sees to it that the metadata is known: as it was kept, or from peers. If it had
    /// to be asked for, a torrent goes on from who asked. `None` if told to stop meanwhile.
    pub(super) async fn find_metadata(
        &mut self,
        links: &mut Links<N, E>,
        received: &mut mpsc::Receiver<Input>,
    ) -> io::Result<Option<Option<MetadataFetch>>> {
        let Subject::Magnet(magnet) = &self.subject else { return Ok(Some(None)) };
        let (magnet, path) = (magnet.clone(), metadata_path(magnet.info_hash));
        let kept = match self.disk.read(&path, METADATA_LENGTH_MAX.into()) {
            Ok(kept) => kept,
            // Longer than any, or not to be read: it is to be had of others.
            Err(error) => {
                tracing::warn!(%error, "cannot read the metadata that was kept");
                None
            }
        };
        if let Some(metadata) = kept.filter(|kept| Info::hash(kept) == magnet.info_hash) {
            self.begin(&magnet, &metadata)?;
            return Ok(Some(None));
        }
        let at = self.env.now();
        self.status.send_modify(|status| {
            *status = Status { state: State::FetchingMetadata, at, ..status.clone() }
        });
        let tiers = magnet.trackers.iter().map(|url| vec![url.clone()]).collect();
        links.set_trackers(Trackers::new(tiers, &mut self.rng));
        let announce = self.options.announce && !magnet.trackers.is_empty();
        let info_hash = magnet.info_hash;
        let fetch = MetadataFetch::new(self.config(), info_hash, announce, at, &mut self.rng);
        let mut fetching = Fetching { fetch, links, received, grace: None, driver: self };
        fetching.run().await;
        let fetch = fetching.fetch;
        let Some(metadata) = fetch.metadata().cloned() else { return Ok(None) };
        if let Err(error) = self.disk.replace(&path, &metadata) {
            tracing::warn!(%error, "cannot keep the metadata; another time it is asked for again");
        }
        self.begin(&magnet, &metadata)?;
        Ok(Some(Some(fetch)))
    }

    /// Ends what began with a fetch and was told to stop before there was a torrent: the
    /// trackers that heard of its beginning hear of its end.
    pub(super) async fn part(
        &mut self,
        fetch: MetadataFetch,
        links: &mut Links<N, E>,
        received: &mut mpsc::Receiver<Input>,
        stop: ShutdownOptions,
    ) {
        let mut fetching = Fetching { fetch, links, received, grace: None, driver: self };
        fetching.stop(stop);
        fetching.run().await;
    }

    /// The metadata is here.
    fn begin(&mut self, magnet: &Magnet, metadata: &[u8]) -> io::Result<()> {
        let metainfo = Metainfo::from_metadata(magnet, metadata)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.subject = Subject::Torrent(Rc::new(metainfo));
        let waiting = self.subject.waiting(&self.options, self.peer_id, self.env.now());
        self.status.send_replace(waiting);
        Ok(())
    }
}

/// Where the metadata of a magnet link's torrent is kept on its download's disk.
fn metadata_path(info_hash: InfoHash) -> PathBuf {
    PathBuf::from(format!(".{info_hash}.metadata"))
}

/// A download whose metadata is asked for.
struct Fetching<'a, N: Network, E, D> {
    fetch: MetadataFetch,
    links: &'a mut Links<N, E>,
    received: &'a mut mpsc::Receiver<Input>,
    /// How long the end may take, once it was asked for.
    grace: Option<Duration>,
    driver: &'a mut Driver<N, E, D>,
}

impl<N: Network, E: Env, D: Disk> Fetching<'_, N, E, D> {
    /// Runs until the metadata is here or, if told to stop, until the trackers know.
    async fn run(&mut self) {
        // The torrent will want them as well.
        let addrs = self.driver.options.peers.clone();
        self.handle(Input::AddPeers { addrs });
        while (self.fetch.metadata().is_none() || self.grace.is_some()) && !self.fetch.is_stopped()
        {
            let (env, errands) = (self.driver.env.clone(), self.driver.errands.clone());
            let now = env.now();
            while let Some(Work::Report) = errands.pop(now) {
                self.driver.report();
            }
            let due = [self.fetch.poll_timeout(), errands.next()].into_iter().flatten().min();
            let timer = async {
                match due {
                    Some(due) => env.sleep_until(due).await,
                    None => pending().await,
                }
            };
            race! {
                command = self.driver.commands.recv() => self.command(command),
                input = self.received.recv() => self.handle(input.expect("we hold a sender")),
                () = timer => self.handle(Input::Timeout),
                () = errands.changed() => {}
            }
        }
    }

    fn command(&mut self, command: Option<Command<N::Stream>>) {
        match command {
            Some(Command::Accept(inbound)) => {
                let Inbound { stream, from, bytes, .. } = *inbound;
                match self.fetch.accept(from, self.driver.env.now()) {
                    Ok(connection) => {
                        self.links.serve(connection, from, stream, &bytes);
                        self.handle(Input::Received { connection, bytes });
                    }
                    Err(refused) => tracing::debug!(%from, %refused, "inbound connection refused"),
                }
            }
            Some(Command::AddPeers(addrs)) => {
                self.driver.options.peers.extend(&addrs);
                self.handle(Input::AddPeers { addrs });
            }
            Some(Command::Stop(options)) => self.stop(options),
            None => self.stop(ShutdownOptions::default()),
            // What is played, and what else there may be, is for the torrent.
            Some(command) => self.driver.early.push(command),
        }
    }

    /// Stops; an announce under way would only hold up the last one.
    fn stop(&mut self, options: ShutdownOptions) {
        if self.grace.is_some() {
            return;
        }
        self.grace = Some(options.grace);
        if self.links.abandon_announce() {
            self.handle(Input::Announced { result: Err("stopping".to_owned()) });
        }
        self.handle(Input::Stop { grace: options.grace });
    }

    fn handle(&mut self, input: Input) {
        if matches!(input, Input::Announced { .. }) {
            self.links.announced();
        }
        self.fetch.handle(input, self.driver.env.now(), &mut self.driver.rng);
        while let Some(output) = self.fetch.poll_output() {
            match output {
                Output::Dial { connection, addr } => self.links.dial(connection, addr),
                Output::Send { connection, bytes } => self.links.send(connection, bytes),
                Output::Close { connection } => self.links.close(connection),
                Output::Announce(request) => {
                    self.links.announce(request, self.grace.unwrap_or(ANNOUNCE_TIMEOUT));
                }
                Output::Event(Event::AnnounceFailed { reason }) if self.grace.is_none() => {
                    tracing::warn!(%reason, "the tracker does not answer; trying on");
                }
                Output::Event(event) => tracing::debug!(?event),
                _ => unreachable!("no other output is of a fetch"),
            }
        }
    }
}
