//! A program around a session: what it downloads, when it exits, and how.

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending},
    net::SocketAddr,
    pin::Pin,
    rc::{Rc, Weak},
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use reseed_protocol::{Defect, Defects, InfoHash, Magnet, metainfo::Metainfo};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    Callbacks, Disk, Download, DownloadOptions, Env, ExitWhen, Network, Report, ReportError,
    Reporter, Session, SessionError, SessionOptions, ShutdownOptions, State, Tasks, Uptime, Wait,
    Waiting, WaitsForItself, download::name, race,
};

/// What decides over a client's end is called in evidence.
const UPTIME: &str = "uptime handler";

/// A program's settings.
#[derive(Debug, Clone)]
pub struct AppOptions {
    /// The session's.
    pub session: SessionOptions,
    /// When it exits by itself; `None` is never, but if there is nothing to download.
    pub exit_when: Option<ExitWhen>,
    /// How often its downloads are looked at for that.
    pub poll_interval: Duration,
    /// How it ends.
    pub shutdown: ShutdownOptions,
}

/// A program that downloads, seeds, and exits: when its user interrupts it, when
/// [`ExitWhen`] says so, or at once if it has nothing to do.
///
/// Whoever finds that it is time to exit *asks* for it; the main task, in
/// [`App::run`], is the only one that shuts the session down and waits for that.
pub struct App<N: Network, E, D> {
    env: E,
    session: Rc<Session<N, E, D>>,
    downloads: Vec<Download<N::Stream>>,
    /// Downloads that nobody else is told of.
    unwatched: Vec<Download<N::Stream>>,
    exit: Exit,
    /// Ends when all has been played, if there is a player.
    player: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Decides when it exits, if it does by itself.
    handler: Option<Rc<Handler<N, E, D>>>,
    poll_interval: Duration,
    shutdown: ShutdownOptions,
}

/// The wish to exit. Anybody may utter it, a callback as well: it takes no time, and
/// there is nothing to wait for.
#[derive(Debug, Clone, Default)]
struct Exit {
    wished: Rc<Cell<bool>>,
    uttered: Rc<Notify>,
}

impl<N: Network, E: Env, D: Disk> App<N, E, D> {
    /// Starts to listen.
    pub async fn start(
        network: N,
        env: E,
        disk: D,
        options: AppOptions,
    ) -> Result<Self, SessionError> {
        let defects = options.session.defects;
        let session = Session::start(network, env.clone(), disk, options.session).await?;
        let (session, exit) = (Rc::new(session), Exit::default());
        let handler = options.exit_when.map(|exit_when| Handler {
            env: env.clone(),
            session: Rc::downgrade(&session),
            callbacks: session.callbacks(),
            exit: exit.clone(),
            shutdown: options.shutdown,
            uptime: RefCell::new(Uptime::new(exit_when, defects)),
            waiting: RefCell::default(),
            defects,
        });
        Ok(App {
            env,
            session,
            downloads: Vec::new(),
            unwatched: Vec::new(),
            exit,
            player: None,
            handler: handler.map(Rc::new),
            poll_interval: options.poll_interval,
            shutdown: options.shutdown,
        })
    }

    /// Starts to download a torrent, or to seed it; see [`Session::add`]. A client that
    /// exits by itself learns how a download stands as others do who watch it, and after
    /// them, if there are any; else it looks for itself.
    pub fn add(
        &mut self,
        metainfo: Metainfo,
        options: DownloadOptions,
    ) -> Result<Download<N::Stream>, SessionError> {
        self.join(options, |session, options| session.add(metainfo, options))
    }

    /// Starts to download what a magnet link names; see [`Session::add_magnet`].
    pub fn add_magnet(
        &mut self,
        magnet: Magnet,
        options: DownloadOptions,
    ) -> Result<Download<N::Stream>, SessionError> {
        self.join(options, |session, options| session.add_magnet(magnet, options))
    }

    fn join(
        &mut self,
        mut options: DownloadOptions,
        add: impl FnOnce(
            &Session<N, E, D>,
            DownloadOptions,
        ) -> Result<Download<N::Stream>, SessionError>,
    ) -> Result<Download<N::Stream>, SessionError> {
        let watched = options.monitoring.is_some();
        if let (Some(handler), Some(monitoring)) = (&self.handler, &mut options.monitoring) {
            monitoring.reporters.push(handler.clone());
        }
        let download = add(&self.session, options)?;
        if let Some(handler) = &self.handler {
            handler.uptime.borrow_mut().expect(download.info_hash());
        }
        if !watched {
            self.unwatched.push(download.clone());
        }
        self.downloads.push(download.clone());
        Ok(download)
    }

    /// Gives it something that completes when all has been played. It runs from
    /// [`App::run`] on, as a task of its own: a video takes longer than any callback may,
    /// and a worker that plays one tells nobody anything.
    pub fn play(&mut self, player: impl Future<Output = ()> + 'static) {
        self.player = Some(Box::pin(player));
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.session.local_addr()
    }

    /// Where the user's callbacks are submitted.
    pub fn callbacks(&self) -> Callbacks {
        self.session.callbacks()
    }

    /// Runs until it is time to exit, and exits: on return nothing is left. Each
    /// message of `interrupts` is the user's Ctrl-C, the end of the channel the last.
    pub async fn run(mut self, mut interrupts: mpsc::UnboundedReceiver<()>) {
        let tasks = Tasks::new();
        if !self.downloads.is_empty() {
            self.watch(&tasks);
            let (on, to) = match self.handler {
                Some(_) => (UPTIME, "ask for the exit"),
                None => ("user", "interrupt it"),
            };
            let _waiting = self.env.waiting(Wait { who: "main", on, to });
            race! {
                _ = interrupts.recv() => tracing::info!("interrupted"),
                () = self.exit.wished() => {},
            }
        }
        self.shut_down(&mut interrupts).await;
        tasks.shutdown().await;
    }

    /// Shuts the session down. A user who interrupts that has it begun again, which
    /// does nothing to a session that is shutting down.
    async fn shut_down(&self, interrupts: &mut mpsc::UnboundedReceiver<()>) {
        loop {
            let interrupt = async {
                if interrupts.recv().await.is_none() {
                    pending().await
                }
            };
            race! {
                ended = self.session.shutdown(self.shutdown) => {
                    return ended.expect("the main task is no callback");
                },
                () = interrupt => tracing::info!("interrupted, and shutting down already"),
            }
        }
    }

    /// Has the uptime handler told how downloads stand that nobody else is told of, and
    /// the content played.
    fn watch(&mut self, tasks: &Tasks) {
        let Some(handler) = self.handler.clone() else { return };
        handler.tell_what_is_awaited();
        for download in &self.unwatched {
            let poll = handler.clone().poll(download.clone(), self.poll_interval);
            tasks.spawn(&self.env, &format!("poll of {}", name(download.info_hash())), poll);
        }
        if let Some(player) = self.player.take() {
            let callbacks = self.callbacks();
            let playback = async move {
                player.await;
                let played = async move {
                    handler.uptime.borrow_mut().played();
                    handler.exit_if_over().await;
                };
                // Refused only by a session that is shutting down already.
                let _ = callbacks.submit("playback", played);
            };
            tasks.spawn(&self.env, "playback", playback);
        }
    }
}

impl Exit {
    /// Wishes to exit.
    fn wish(&self) {
        self.wished.set(true);
        self.uttered.notify_one();
    }

    /// Completes when somebody wishes it.
    async fn wished(&self) {
        while !self.wished.get() {
            self.uttered.notified().await;
        }
    }
}

/// A download, and what it is to do.
type Awaited = (Option<InfoHash>, &'static str);

/// Learns in callbacks how the downloads stand, and wishes to exit when the policy says
/// so.
struct Handler<N: Network, E, D> {
    env: E,
    /// Not kept alive by its own callbacks.
    session: Weak<Session<N, E, D>>,
    callbacks: Callbacks,
    exit: Exit,
    shutdown: ShutdownOptions,
    uptime: RefCell<Uptime>,
    /// What the policy waits for, and since when.
    waiting: RefCell<Option<(Awaited, Waiting)>>,
    defects: Defects,
}

impl<N: Network, E: Env, D: Disk> Handler<N, E, D> {
    /// Has a callback see a download's state, again and again, until the pool takes
    /// none any more.
    async fn poll(self: Rc<Self>, download: Download<N::Stream>, interval: Duration) {
        let info_hash = download.info_hash();
        let title = format!("state of {}", name(info_hash));
        loop {
            let state = download.status().state;
            let (done, ended) = oneshot::channel();
            let handler = self.clone();
            let callback = async move {
                handler.observe(info_hash, state).await;
                let _ = done.send(());
            };
            let taken = self.callbacks.submit(&title, callback);
            if taken.is_err() || ended.await.is_err() {
                return;
            }
            self.env.sleep_until(self.env.now() + interval).await;
        }
    }

    async fn observe(&self, info_hash: InfoHash, state: State) {
        self.uptime.borrow_mut().observe(info_hash, state, self.env.now());
        self.tell_what_is_awaited();
        self.exit_if_over().await;
    }

    async fn exit_if_over(&self) {
        if !self.uptime.borrow().is_over(self.env.now()) {
            return;
        }
        self.waiting.take();
        if self.defects.has(Defect::ShutdownFromCallback) {
            self.exit.wish();
            self.shut_down_here().await;
        } else if self.defects.has(Defect::PoolDrainsItself) {
            self.shut_down_here().await;
        }
        self.exit.wish();
    }

    /// The shutdown as it was: in the callback, on a worker that it waits for.
    async fn shut_down_here(&self) {
        let on = self.callbacks.running_here().expect("it is a callback");
        let wait = Wait { who: UPTIME, on, to: "have shut the session down" };
        let _waiting = self.env.waiting(wait);
        if let Some(session) = self.session.upgrade() {
            let _: Result<(), WaitsForItself> = session.shutdown(self.shutdown).await;
        }
    }

    fn tell_what_is_awaited(&self) {
        let awaited = self.uptime.borrow().awaits();
        if self.waiting.borrow().as_ref().is_none_or(|(before, _)| *before != awaited) {
            let (download, to) = awaited;
            let on = download.map_or("a download".to_owned(), name);
            let waiting = self.env.waiting(Wait { who: UPTIME, on: &on, to });
            self.waiting.replace(Some((awaited, waiting)));
        }
    }
}

impl<N: Network, E: Env, D: Disk> Reporter for Handler<N, E, D> {
    fn name(&self) -> &str {
        UPTIME
    }

    fn report<'a>(&'a self, report: &'a Report) -> LocalBoxFuture<'a, Result<(), ReportError>> {
        Box::pin(async move {
            self.observe(report.info_hash(), report.state()).await;
            Ok(())
        })
    }
}
