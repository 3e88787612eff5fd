//! What the tests of the world share.

use std::{
    cell::{Cell, RefCell},
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use reseed_client::{Env, Listener, Network};
use reseed_protocol::Time;
use reseed_sim::{Event, HostHandle, HostLink, Recorder, World, WorldOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xxhash_rust::xxh3::Xxh3;

pub const PORT: u16 = 6881;

/// The address of the `index`th host.
pub fn ip(index: usize) -> IpAddr {
    let index = index as u32 + 1;
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + index))
}

pub fn address(index: usize) -> SocketAddr {
    SocketAddr::new(ip(index), PORT)
}

/// A world with `count` hosts named `h0`, `h1` and so on.
pub fn world(options: WorldOptions, count: usize, link: HostLink) -> (World, Vec<HostHandle>) {
    let mut world = World::new(options);
    let hosts = (0..count).map(|index| world.add_host(&format!("h{index}"), [ip(index)], link));
    let hosts = hosts.collect();
    (world, hosts)
}

/// The defaults, with exact passes.
pub fn exact() -> WorldOptions {
    WorldOptions { pass_grid: Duration::ZERO, ..WorldOptions::default() }
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn at_millis(millis: u64) -> Time {
    Time::from_epoch(Duration::from_millis(millis))
}

/// What a task leaves behind for the test.
pub type Slot<T> = Rc<RefCell<Option<T>>>;

pub fn slot<T>() -> Slot<T> {
    Rc::default()
}

/// Accepts connections for ever, reads each to its end and leaves the number of
/// bytes and the time, or the error.
pub fn spawn_sink(host: &HostHandle, result: Slot<Result<(u64, Time), std::io::ErrorKind>>) {
    let (env, network) = (host.env(), host.network());
    host.spawn("sink", async move {
        let mut listener =
            network.listen(SocketAddr::new([0, 0, 0, 0].into(), PORT)).await.unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (clock, result) = (env.clone(), result.clone());
            env.spawn("reader", async move {
                let mut buffer = vec![0; 16 * 1024];
                let mut total = 0;
                let outcome = loop {
                    match stream.read(&mut buffer).await {
                        Ok(0) => break Ok((total, clock.now())),
                        Ok(read) => total += read as u64,
                        Err(error) => break Err(error.kind()),
                    }
                };
                *result.borrow_mut() = Some(outcome);
            });
        }
    });
}

/// Connects to `to`, writes `length` bytes and shuts down.
pub fn spawn_source(host: &HostHandle, to: SocketAddr, length: usize) {
    let network = host.network();
    host.spawn("source", async move {
        let mut stream = network.connect(to).await.unwrap();
        stream.write_all(&vec![7; length]).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read(&mut [0; 1]).await;
    });
}

/// A hash over all events.
#[derive(Default)]
pub struct Digest {
    hasher: RefCell<Xxh3>,
    pub events: Cell<u64>,
}

impl Digest {
    pub fn value(&self) -> u64 {
        self.hasher.borrow().finish()
    }
}

impl Recorder for Digest {
    fn record(&self, at: Time, event: &Event<'_>) {
        self.events.set(self.events.get() + 1);
        let mut hasher = self.hasher.borrow_mut();
        at.hash(&mut *hasher);
        format!("{event:?}").hash(&mut *hasher);
    }
}

/// Keeps what `select` makes of the events.
pub struct Log<T> {
    pub entries: RefCell<Vec<(Time, T)>>,
    select: fn(&Event<'_>) -> Option<T>,
}

impl<T> Log<T> {
    pub fn of(select: fn(&Event<'_>) -> Option<T>) -> Rc<Log<T>> {
        Rc::new(Log { entries: RefCell::default(), select })
    }
}

impl<T> Recorder for Log<T> {
    fn record(&self, at: Time, event: &Event<'_>) {
        if let Some(entry) = (self.select)(event) {
            self.entries.borrow_mut().push((at, entry));
        }
    }
}
