//! Asking a tracker: over HTTP here, over UDP in `udp`; scrapes in `scrape`.

mod scrape;
mod udp;

use std::{io, net::SocketAddr, pin::pin};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{CONNECTION, HOST, LOCATION, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use url::{Host, Position, Url};

use crate::Network;

pub use scrape::{ScrapeError, scrape};
pub(crate) use udp::announce_udp;

/// Bytes an answer may have. The largest a tracker has reason to send, some
/// thousand peers in the dictionary form of BEP 3, is a fraction of it.
const ANSWER_MAX: usize = 1 << 20;
/// Redirections followed (count).
const REDIRECTIONS_MAX: u32 = 3;
/// What we call ourselves to a tracker.
const AGENT: &str = concat!("reseed/", env!("CARGO_PKG_VERSION"));

/// Why a tracker gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnnounceError {
    /// The URL, or the one that the tracker sent us to, is none.
    #[error("announcing to {url:?}: {source}")]
    Url {
        /// What was to be a URL.
        url: String,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// The URL is not one of HTTP, or the request would not be valid HTTP.
    #[error("announcing to {url}: only http:// and udp:// with a host are spoken here")]
    Unsupported {
        /// The URL.
        url: Url,
    },
    /// The tracker's name has no address, or none could be found out.
    #[error("looking up the tracker {host}: {source}")]
    Resolve {
        /// The tracker's name.
        host: String,
        /// What the network said.
        source: io::Error,
    },
    /// No address of the tracker takes connections.
    #[error("connecting to the tracker at {address}: {source}")]
    Connect {
        /// The last address tried.
        address: SocketAddr,
        /// What the network said there.
        source: io::Error,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("talking to the tracker at {address}: {source}")]
    Http {
        /// The address connected to.
        address: SocketAddr,
        /// What went wrong.
        source: hyper::Error,
    },
    /// The tracker refuses.
    #[error("the tracker answers HTTP {status}, 200 OK expected")]
    Status {
        /// The status.
        status: StatusCode,
    },
    /// The tracker sends us on, but not where.
    #[error("the tracker answers HTTP {status} without a usable Location")]
    NoLocation {
        /// The status.
        status: StatusCode,
    },
    /// The tracker sends us on and on.
    #[error("the tracker redirects more than {REDIRECTIONS_MAX} times")]
    TooManyRedirections,
    /// The tracker refuses, over UDP.
    #[error("{reason}")]
    Refused {
        /// That it does, and its words.
        reason: String,
    },
    /// The answer is longer than any.
    #[error("the tracker's answer has more than {ANSWER_MAX} bytes")]
    TooLong,
}

/// Asks the tracker at `url`, query included, and returns the body of its answer:
/// a bencoded dictionary if all is well, BEP 3. Follows up to three redirections.
///
/// There is no time-out in here: race it with one, and drop it to give up; the
/// connection then goes with it.
pub async fn announce<N: Network>(network: &N, url: &str) -> Result<Bytes, AnnounceError> {
    let mut url =
        Url::parse(url).map_err(|source| AnnounceError::Url { url: url.to_owned(), source })?;
    for _ in 0..=REDIRECTIONS_MAX {
        match ask(network, &url).await? {
            Answer::Body(body) => return Ok(body),
            Answer::Redirection(location) => {
                url = url
                    .join(&location)
                    .map_err(|source| AnnounceError::Url { url: location, source })?;
            }
        }
    }
    Err(AnnounceError::TooManyRedirections)
}

enum Answer {
    Body(Bytes),
    Redirection(String),
}

async fn ask<N: Network>(network: &N, url: &Url) -> Result<Answer, AnnounceError> {
    let request = request(url)?;
    let (stream, address) = connect(network, url).await?;
    let http = |source| AnnounceError::Http { address, source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(http)?;
        read(response, address).await
    };
    // The connection moves the bytes that the exchange waits for. When it ends, for
    // better or worse, the exchange still has to see the rest of them, or the error.
    match select(pin!(exchange), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, exchange)) => exchange.await,
    }
}

fn request(url: &Url) -> Result<Request<Empty<Bytes>>, AnnounceError> {
    let request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .body(Empty::new());
    match request {
        Ok(request) if url.scheme() == "http" => Ok(request),
        _ => Err(AnnounceError::Unsupported { url: url.clone() }),
    }
}

/// A connection to the first address that takes one.
async fn connect<N: Network>(
    network: &N,
    url: &Url,
) -> Result<(N::Stream, SocketAddr), AnnounceError> {
    let mut failure = AnnounceError::Unsupported { url: url.clone() };
    for address in addresses(network, url).await? {
        match network.connect(address).await {
            Ok(stream) => return Ok((stream, address)),
            Err(source) => failure = AnnounceError::Connect { address, source },
        }
    }
    Err(failure)
}

/// Where the tracker at `url` may be; never empty on success.
async fn addresses<N: Network>(network: &N, url: &Url) -> Result<Vec<SocketAddr>, AnnounceError> {
    let unsupported = || AnnounceError::Unsupported { url: url.clone() };
    let port = url.port_or_known_default().ok_or_else(unsupported)?;
    match url.host().ok_or_else(unsupported)? {
        Host::Ipv4(ip) => Ok(vec![(ip, port).into()]),
        Host::Ipv6(ip) => Ok(vec![(ip, port).into()]),
        Host::Domain(host) => network.resolve(host, port).await.map_err(|source| {
            let host = host.to_owned();
            AnnounceError::Resolve { host, source }
        }),
    }
}

async fn read(response: Response<Incoming>, address: SocketAddr) -> Result<Answer, AnnounceError> {
    let status = response.status();
    if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return (response.headers().get(LOCATION))
            .and_then(|location| location.to_str().ok())
            .map(|location| Answer::Redirection(location.to_owned()))
            .ok_or(AnnounceError::NoLocation { status });
    }
    if status != StatusCode::OK {
        return Err(AnnounceError::Status { status });
    }
    match Limited::new(response, ANSWER_MAX).collect().await {
        Ok(body) => Ok(Answer::Body(body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(AnnounceError::TooLong),
        Err(error) => {
            let source = *error.downcast().expect("the body fails as hyper does");
            Err(AnnounceError::Http { address, source })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::VecDeque, future::Future, rc::Rc};

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::{Datagrams, Env, Listener, manual::ManualEnv};

    /// A network with one tracker, which answers whatever it is asked with the next
    /// of some canned answers and hangs up; `None` refuses the connection.
    #[derive(Clone, Default)]
    struct Canned {
        answers: Rc<RefCell<VecDeque<Option<Vec<u8>>>>>,
        log: Rc<RefCell<Vec<String>>>,
        env: ManualEnv,
    }

    impl Network for Canned {
        type Stream = DuplexStream;
        type Listener = Deaf;
        type Datagrams = Deaf;

        fn connect(
            &self,
            to: SocketAddr,
        ) -> impl Future<Output = io::Result<DuplexStream>> + 'static {
            let Canned { answers, log, env } = self.clone();
            async move {
                log.borrow_mut().push(format!("connect {to}"));
                let answer = answers.borrow_mut().pop_front().flatten();
                let answer = answer.ok_or(io::ErrorKind::ConnectionRefused)?;
                let (ours, theirs) = duplex(100);
                env.spawn("tracker", serve(theirs, answer, log));
                Ok(ours)
            }
        }

        fn listen(&self, _at: SocketAddr) -> impl Future<Output = io::Result<Deaf>> + 'static {
            std::future::pending()
        }

        fn datagrams(&self, _at: SocketAddr) -> impl Future<Output = io::Result<Deaf>> + 'static {
            std::future::pending()
        }

        fn resolve(
            &self,
            host: &str,
            port: u16,
        ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + 'static {
            self.log.borrow_mut().push(format!("resolve {host}"));
            let addresses = [1, 2].map(|last| ([10, 0, 0, last], port).into());
            std::future::ready(Ok(addresses.to_vec()))
        }
    }

    enum Deaf {}

    impl Datagrams for Deaf {
        async fn send_to(&self, _bytes: &[u8], _to: SocketAddr) -> io::Result<()> {
            match *self {}
        }

        async fn receive_from(&self, _buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
            match *self {}
        }
    }

    impl Listener for Deaf {
        type Stream = DuplexStream;

        async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
            match *self {}
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            match *self {}
        }
    }

    async fn serve(mut stream: DuplexStream, answer: Vec<u8>, log: Rc<RefCell<Vec<String>>>) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => request.push(byte),
                Err(_) => return,
            }
        }
        let text = String::from_utf8(request).unwrap();
        log.borrow_mut().push(text.replace("\r\n", "|"));
        let _ = stream.write_all(&answer).await;
    }

    /// What an announce to `url` gives, and what the network saw of it.
    fn run(
        url: &str,
        answers: impl IntoIterator<Item = Option<Vec<u8>>>,
    ) -> (Result<Bytes, AnnounceError>, Vec<String>) {
        let network = Canned::default();
        network.answers.borrow_mut().extend(answers);
        let result = Rc::new(RefCell::new(None));
        let task = {
            let (network, url, result) = (network.clone(), url.to_owned(), result.clone());
            async move {
                let answer = announce(&network, &url).await;
                *result.borrow_mut() = Some(answer);
            }
        };
        network.env.spawn("announce", task);
        network.env.run();
        let result = result.take().expect("the announce ends");
        (result, network.log.take())
    }

    fn answered(answer: impl Into<Vec<u8>>) -> Result<Bytes, AnnounceError> {
        run("http://tracker/", [Some(answer.into())]).0
    }

    fn redirection(location: &str) -> Option<Vec<u8>> {
        Some(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n").into())
    }

    #[test]
    fn the_request_is_the_url_as_it_was_given() {
        let (result, log) = run(
            "http://tracker:6969/announce?info_hash=%00%ff%7e~&compact=1#not-this",
            [Some(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nde".to_vec())],
        );
        assert_eq!(result.unwrap(), "de");
        assert_eq!(
            log,
            [
                "resolve tracker",
                "connect 10.0.0.1:6969",
                "GET /announce?info_hash=%00%ff%7e~&compact=1 HTTP/1.1|host: tracker:6969|\
                 user-agent: reseed/0.1.0|connection: close||",
            ]
        );
    }

    #[test]
    fn a_body_ends_by_length_by_chunk_or_with_the_connection() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloand more",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nhello",
        ] {
            assert_eq!(answered(answer).unwrap(), "hello", "{answer}");
        }
    }

    #[test]
    fn a_literal_address_is_not_looked_up() {
        let (_, log) = run("http://[::1]/", []);
        assert_eq!(log, ["connect [::1]:80"]);
    }

    #[test]
    fn an_address_that_refuses_is_followed_by_the_next() {
        let answer = Some(b"HTTP/1.1 200 OK\r\n\r\nde".to_vec());
        assert_eq!(run("http://tracker/", [None, answer]).0.unwrap(), "de");
        let error = run("http://tracker/", [None, None]).0.unwrap_err();
        let last = ([10, 0, 0, 2], 80).into();
        assert!(matches!(error, AnnounceError::Connect { address, .. } if address == last));
    }

    #[test]
    fn three_redirections_are_followed_and_no_fourth() {
        let onward = || redirection("/next?x");
        let answer = Some(b"HTTP/1.1 200 OK\r\n\r\nde".to_vec());
        let (result, log) =
            run("http://tracker/a?b", [redirection("http://other:1/"), onward(), onward(), answer]);
        assert_eq!(result.unwrap(), "de");
        assert!(log[5].starts_with("GET / HTTP/1.1|host: other:1|"), "{}", log[5]);
        assert!(log[11].starts_with("GET /next?x HTTP/1.1|host: other:1|"));
        let error = run("http://tracker/", std::iter::repeat_with(onward).take(5)).0;
        assert!(matches!(error, Err(AnnounceError::TooManyRedirections)));
        let error = answered("HTTP/1.1 302 Found\r\n\r\n");
        assert!(matches!(error, Err(AnnounceError::NoLocation { .. })));
    }

    #[test]
    fn only_http_is_spoken() {
        for url in ["https://tracker/", "udp://tracker:1/", "data:x"] {
            let (result, log) = run(url, []);
            assert!(matches!(result, Err(AnnounceError::Unsupported { .. })), "{url}");
            assert!(log.is_empty());
        }
        let (result, _) = run("http://tracker/", [redirection("https://tracker/")]);
        assert!(matches!(result, Err(AnnounceError::Unsupported { .. })));
        assert!(matches!(run("tracker", []).0, Err(AnnounceError::Url { .. })));
    }

    #[test]
    fn a_refusal_is_an_error() {
        let result = answered("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno");
        assert!(matches!(
            result,
            Err(AnnounceError::Status { status }) if status.as_u16() == 404
        ));
    }

    #[test]
    fn an_answer_that_breaks_off_is_an_error() {
        for answer in ["", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nde"] {
            let result = answered(answer);
            assert!(matches!(result, Err(AnnounceError::Http { .. })), "{answer}");
        }
    }

    #[test]
    fn an_answer_of_more_than_a_mebibyte_is_an_error() {
        let answer = |length: usize| {
            let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            answer.extend(std::iter::repeat_n('x', length));
            answered(answer)
        };
        assert_eq!(answer(ANSWER_MAX).unwrap().len(), ANSWER_MAX);
        assert!(matches!(answer(ANSWER_MAX + 1), Err(AnnounceError::TooLong)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes: Vec<u8>, headed: bool) {
            let head: &[u8] = if headed { b"HTTP/1.1 200 OK\r\n" } else { b"" };
            let _ = answered([head, &bytes].concat());
        }
    }
}
