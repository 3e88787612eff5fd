//! How many take part in a swarm, asked without taking part. BEP 48.

use std::collections::BTreeMap;

use bendy::encoding::{Encoder, Error as EncodeError, SingleItemEncoder};

use super::{
    AnnounceError, RequestError,
    request::{self, Pairs},
    response::{count, words},
};
use crate::{
    InfoHash,
    bencode::{self, BencodeError, each_pair, read_dict},
};

/// The peers of one swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SwarmCounts {
    /// Peers that have all of the content now (count).
    pub complete: u32,
    /// Times that a peer has come to have it (count).
    pub downloaded: u32,
    /// Peers that have not all of it now (count).
    pub incomplete: u32,
}

/// What a tracker answers to a scrape: of each swarm that it knows how it stands. BEP 48.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScrapeResponse {
    /// Those that were asked for, without those that the tracker does not know.
    pub swarms: BTreeMap<InfoHash, SwarmCounts>,
}

/// The URL of scrapes that goes with an announce URL: the one with `scrape` in place of
/// the `announce` that begins the last part of its path. `None` if it does not begin so:
/// then the tracker does not take scrapes. BEP 48.
pub fn scrape_url(announce_url: &str) -> Option<String> {
    let url = announce_url.split('#').next().unwrap_or_default();
    let path_end = url.find('?').unwrap_or(url.len());
    let (path, query) = url.split_at(path_end);
    let last = path.rfind('/')? + 1;
    let rest = path[last..].strip_prefix("announce")?;
    Some(format!("{}scrape{rest}{query}", &path[..last]))
}

/// The query of a scrape, without a `?`: an `info_hash` for each swarm. BEP 48.
pub fn scrape_query(swarms: &[InfoHash]) -> String {
    let each = |swarm: &InfoHash| format!("info_hash={}", request::encode(&swarm.0));
    swarms.iter().map(each).collect::<Vec<_>>().join("&")
}

/// Reads what [`scrape_query`] writes; other keys are passed over.
pub fn read_scrape_query(query: &str) -> Result<Vec<InfoHash>, RequestError> {
    let swarms = Pairs::new(query).identities("info_hash")?;
    Ok(swarms.into_iter().map(InfoHash).collect())
}

impl ScrapeResponse {
    /// Swarms that are read of an answer at most (count): more than one asks for at once.
    pub const SWARMS_MAX: usize = 1000;

    /// Reads the body of an answer.
    pub fn from_bytes(body: &[u8]) -> Result<ScrapeResponse, AnnounceError> {
        let (mut swarms, mut failure) = (None, None);
        read_dict::<BencodeError>(body, "answer", |key, value| {
            match key {
                b"files" => {
                    let swarms = swarms.insert(BTreeMap::new());
                    each_pair(bencode::dict("files", value)?, |key, value| {
                        let mut counts = SwarmCounts::default();
                        each_pair(bencode::dict("files", value)?, |key, value| {
                            match key {
                                b"complete" => counts.complete = count("complete", value)?,
                                b"downloaded" => counts.downloaded = count("downloaded", value)?,
                                b"incomplete" => counts.incomplete = count("incomplete", value)?,
                                _ => {}
                            }
                            Ok::<_, BencodeError>(())
                        })?;
                        if let Ok(swarm) = key.try_into()
                            && swarms.len() < Self::SWARMS_MAX
                        {
                            swarms.insert(InfoHash(swarm), counts);
                        }
                        Ok::<_, BencodeError>(())
                    })?;
                }
                // As BEP 3 writes it, and as BEP 48 does.
                b"failure reason" | b"failure_reason" => {
                    failure = Some(words("failure reason", value)?);
                }
                _ => {}
            }
            Ok(())
        })?;
        match (failure, swarms) {
            (Some(reason), _) => Err(AnnounceError::Failure(reason)),
            (None, Some(swarms)) => Ok(ScrapeResponse { swarms }),
            (None, None) => Err(BencodeError::Missing { field: "files" }.into()),
        }
    }

    /// The body of an answer.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder
            .emit_dict(|mut dict| dict.emit_pair_with(b"files", |files| self.encode(files)))
            .and_then(|()| encoder.get_output())
            .expect("the keys are in order")
    }

    fn encode(&self, files: SingleItemEncoder<'_>) -> Result<(), EncodeError> {
        files.emit_dict(|mut files| {
            for (swarm, counts) in &self.swarms {
                files.emit_pair_with(&swarm.0, |swarm| {
                    swarm.emit_dict(|mut swarm| {
                        swarm.emit_pair(b"complete", counts.complete)?;
                        swarm.emit_pair(b"downloaded", counts.downloaded)?;
                        swarm.emit_pair(b"incomplete", counts.incomplete)
                    })
                })?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const X: InfoHash = InfoHash([b'x'; 20]);
    const Y: InfoHash = InfoHash([b'y'; 20]);
    const Z: InfoHash = InfoHash([b'z'; 20]);

    #[test]
    fn the_example_of_bep_48() {
        let query = "info_hash=xxxxxxxxxxxxxxxxxxxx&info_hash=yyyyyyyyyyyyyyyyyyyy\
                     &info_hash=zzzzzzzzzzzzzzzzzzzz";
        assert_eq!(scrape_query(&[X, Y, Z]), query);
        assert_eq!(read_scrape_query(query), Ok(vec![X, Y, Z]));
        let body = b"d5:filesd\
            20:xxxxxxxxxxxxxxxxxxxxd8:completei11e10:downloadedi13772e10:incompletei19ee\
            20:yyyyyyyyyyyyyyyyyyyyd8:completei21e10:downloadedi206e10:incompletei20ee\
            20:zzzzzzzzzzzzzzzzzzzzd8:completei14e10:downloadedi12191e10:incompletei9ee\
            ee";
        let of =
            |complete, downloaded, incomplete| SwarmCounts { complete, downloaded, incomplete };
        let swarms = [(X, of(11, 13_772, 19)), (Y, of(21, 206, 20)), (Z, of(14, 12_191, 9))];
        let response = ScrapeResponse { swarms: swarms.into() };
        assert_eq!(ScrapeResponse::from_bytes(body), Ok(response.clone()));
        assert_eq!(response.to_bytes(), body);
    }

    #[test]
    fn scrape_stands_for_the_announce_that_begins_the_last_part_of_the_path() {
        for (announce, scrape) in [
            ("http://tracker/announce", Some("http://tracker/scrape")),
            ("http://tracker:6969/x/announce", Some("http://tracker:6969/x/scrape")),
            ("http://tracker/announce.php", Some("http://tracker/scrape.php")),
            ("http://tracker/announce?x2%0644", Some("http://tracker/scrape?x2%0644")),
            ("http://tracker/announce?x=2/4", Some("http://tracker/scrape?x=2/4")),
            ("http://announce/announce#top", Some("http://announce/scrape")),
            ("http://tracker/a", None),
            ("http://tracker/x%064announce", None),
            ("http://announce.example/", None),
            ("http://tracker/announce/x", None),
        ] {
            assert_eq!(scrape_url(announce).as_deref(), scrape, "{announce}");
        }
    }

    #[test]
    fn a_refusal_is_an_error_however_it_is_spelt() {
        for body in [&b"d14:failure reason2:noe"[..], b"d14:failure_reason2:noe"] {
            let error = AnnounceError::Failure("no".to_owned());
            assert_eq!(ScrapeResponse::from_bytes(body), Err(error));
        }
        assert!(ScrapeResponse::from_bytes(b"de").is_err());
        assert_eq!(ScrapeResponse::from_bytes(b"d5:filesdee"), Ok(ScrapeResponse::default()));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(swarms: Vec<([u8; 20], [u32; 3])>) {
            let hashes: Vec<InfoHash> = swarms.iter().map(|(hash, _)| InfoHash(*hash)).collect();
            let hashes = &hashes[..hashes.len().min(50)];
            let read = read_scrape_query(&scrape_query(hashes));
            match hashes {
                [] => prop_assert!(read.is_err(), "it asks for nothing"),
                some => prop_assert_eq!(read, Ok(some.to_vec())),
            }
            let swarms = swarms.iter().map(|(hash, [complete, downloaded, incomplete])| {
                let counts = SwarmCounts {
                    complete: *complete,
                    downloaded: *downloaded,
                    incomplete: *incomplete,
                };
                (InfoHash(*hash), counts)
            });
            let response = ScrapeResponse { swarms: swarms.collect() };
            prop_assert_eq!(ScrapeResponse::from_bytes(&response.to_bytes()), Ok(response));
        }

        #[test]
        fn any_bytes_are_an_answer_or_an_error(body: Vec<u8>) {
            let _ = ScrapeResponse::from_bytes(&body);
        }
    }
}
