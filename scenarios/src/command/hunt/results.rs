//! What a hunt found, in an SQLite file, so that a later one can go on from it.

use std::{collections::BTreeSet, path::Path, time::Duration};

use miette::{IntoDiagnostic, miette};
use rusqlite::{Connection, OptionalExtension, params};

/// Marks files of ours, so that no other database is written to: "rsd" and the version
/// of the tables.
const VERSION: i64 = 0x7273_6401;

const TABLES: &str = "
    CREATE TABLE runs (
        scenario TEXT NOT NULL, seed INTEGER NOT NULL, engine TEXT NOT NULL, defects TEXT NOT NULL,
        verdict TEXT NOT NULL, oracle TEXT, cause TEXT, evidence TEXT,
        digest TEXT NOT NULL, hosts INTEGER NOT NULL, events INTEGER NOT NULL, pieces INTEGER NOT NULL,
        PRIMARY KEY (scenario, seed, engine, defects)
    ) WITHOUT ROWID;
    CREATE TABLE fired (kind TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE reached (point TEXT PRIMARY KEY, runs INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE hunts (runs INTEGER NOT NULL, jobs INTEGER NOT NULL, wall_ms INTEGER NOT NULL);
    CREATE TABLE shrunk (
        oracle TEXT NOT NULL, cause TEXT NOT NULL, folder TEXT NOT NULL, hosts INTEGER NOT NULL,
        events INTEGER NOT NULL, pieces INTEGER NOT NULL, PRIMARY KEY (oracle, cause)
    ) WITHOUT ROWID;
";

/// The file, or the memory where there is none.
pub struct Results {
    db: Connection,
}

/// A run, as it is kept.
pub struct Row {
    /// The argument that named its scenario.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// `pass`, `fail` or `unknown`.
    pub verdict: String,
    /// The oracle that failed, and why in words that runs have in common.
    pub cause: Option<(String, String)>,
    /// What was seen; the doubts of a run that shows nothing.
    pub evidence: Option<String>,
    /// Sixteen hexadecimal digits.
    pub digest: String,
    /// Hosts, events and faults together, and pieces of its plan (counts).
    pub size: [usize; 3],
    /// How often each kind of event was carried out.
    pub fired: Vec<(&'static str, u64)>,
    /// Points that it came to.
    pub reached: Vec<&'static str>,
}

/// Under what the runs of a hunt are kept, besides scenario and seed.
#[derive(Clone)]
pub struct Under {
    /// The engine.
    pub engine: String,
    /// Names of defects, joined by commas.
    pub defects: String,
}

/// Runs that failed for one cause, or showed nothing for one reason.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Group {
    /// `fail` or `unknown`.
    pub verdict: String,
    /// The oracle, if one failed.
    pub oracle: String,
    /// Why.
    pub cause: String,
    /// Runs (count).
    pub runs: u64,
    /// The smallest one.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// Under which defects.
    pub defects: String,
    /// Its hosts, events and pieces (counts).
    pub size: [usize; 3],
    /// What was seen there.
    pub evidence: String,
    /// Where it is in its smallest form, and what is left of hosts, events, pieces.
    pub shrunk: Option<(String, [usize; 3])>,
}

/// Figures of all hunts on a file.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Totals {
    /// Runs (count).
    pub runs: u64,
    /// Those that passed (count).
    pub passed: u64,
    /// Runs a second, while hunts ran.
    pub per_second: f64,
    /// How often each kind of event was carried out.
    pub fired: Vec<(String, u64)>,
    /// In how many runs each point was reached.
    pub reached: Vec<(String, u64)>,
}

impl Results {
    /// The results in `file`, or new ones: in a file that is not there yet, or in
    /// memory.
    pub fn open(file: Option<&Path>) -> miette::Result<Results> {
        let Some(file) = file else {
            return Results::of(Connection::open_in_memory().into_diagnostic()?);
        };
        let no =
            |error: rusqlite::Error| miette!("cannot open results {}: {error}", file.display());
        let db = Connection::open(file).map_err(no)?;
        Results::of(db).map_err(|error| miette!("cannot use results {}: {error}", file.display()))
    }

    fn of(db: Connection) -> miette::Result<Results> {
        let is_new = || db.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0));
        let tables: i64 = is_new().into_diagnostic()?;
        if tables == 0 {
            db.execute_batch(TABLES).into_diagnostic()?;
            db.pragma_update(None, "user_version", VERSION).into_diagnostic()?;
        }
        let version: i64 =
            db.query_row("PRAGMA user_version", [], |row| row.get(0)).into_diagnostic()?;
        if version != VERSION {
            return Err(miette!(
                help = "name another file",
                "it is a database of something else, or of another version of reseed"
            ));
        }
        db.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA journal_mode = WAL")
            .into_diagnostic()?;
        Ok(Results { db })
    }

    /// Seeds of `scenario` that were run before.
    pub fn seeds(&self, scenario: &str, under: &Under) -> miette::Result<BTreeSet<u64>> {
        let sql = "SELECT seed FROM runs WHERE scenario = ? AND engine = ? AND defects = ?";
        let mut query = self.db.prepare(sql).into_diagnostic()?;
        let seeds = query.query_map(params![scenario, under.engine, under.defects], |row| {
            row.get::<_, i64>(0).map(i64::cast_unsigned)
        });
        seeds.into_diagnostic()?.collect::<Result<_, _>>().into_diagnostic()
    }

    /// Keeps `rows`, all or none of them.
    pub fn add(&mut self, rows: &[Row], under: &Under) -> miette::Result<()> {
        let keep = |db: &mut Connection| -> rusqlite::Result<()> {
            let all = db.transaction()?;
            {
                let mut run = all.prepare(
                    "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                )?;
                let mut fired = all.prepare(
                    "INSERT INTO fired VALUES (?, ?)
                     ON CONFLICT DO UPDATE SET times = times + excluded.times",
                )?;
                let mut reached = all.prepare(
                    "INSERT INTO reached VALUES (?, 1) ON CONFLICT DO UPDATE SET runs = runs + 1",
                )?;
                for row in rows {
                    let [hosts, events, pieces] = row.size.map(|count| count as i64);
                    let (oracle, cause) = row.cause.clone().unzip();
                    run.execute(params![
                        row.scenario,
                        row.seed.cast_signed(),
                        under.engine,
                        under.defects,
                        row.verdict,
                        oracle,
                        cause,
                        row.evidence,
                        row.digest,
                        hosts,
                        events,
                        pieces,
                    ])?;
                    for (kind, times) in &row.fired {
                        fired.execute(params![kind, times.cast_signed()])?;
                    }
                    for point in &row.reached {
                        reached.execute([point])?;
                    }
                }
            }
            all.commit()
        };
        keep(&mut self.db).map_err(|error| miette!("cannot keep results: {error}"))
    }

    /// A hunt is over.
    pub fn finish(&self, runs: u64, jobs: usize, wall: Duration) -> miette::Result<()> {
        let wall_ms = wall.as_millis() as i64;
        let sql = "INSERT INTO hunts VALUES (?, ?, ?)";
        self.db
            .execute(sql, params![runs.cast_signed(), jobs as i64, wall_ms])
            .map(drop)
            .into_diagnostic()
    }

    /// A group was made as small as can be.
    pub fn shrunk(&self, group: &Group, folder: &str, size: [usize; 3]) -> miette::Result<()> {
        let [hosts, events, pieces] = size.map(|count| count as i64);
        let sql = "INSERT OR REPLACE INTO shrunk VALUES (?, ?, ?, ?, ?, ?)";
        self.db
            .execute(sql, params![group.oracle, group.cause, folder, hosts, events, pieces])
            .map(drop)
            .into_diagnostic()
    }

    /// What does not pass, by cause, the smallest run of each; those of most runs first.
    pub fn groups(&self) -> miette::Result<Vec<Group>> {
        let sql = "
            WITH ranked AS (
                SELECT *,
                    COUNT(*) OVER same AS times,
                    ROW_NUMBER() OVER (same ORDER BY hosts + events, pieces, seed) AS place
                FROM runs WHERE verdict <> 'pass'
                WINDOW same AS (PARTITION BY verdict, oracle, cause)
            )
            SELECT verdict, COALESCE(ranked.oracle, ''), COALESCE(ranked.cause, ''), times, scenario,
                seed, defects, ranked.hosts, ranked.events, ranked.pieces, COALESCE(evidence, ''),
                folder, shrunk.hosts, shrunk.events, shrunk.pieces
            FROM ranked LEFT JOIN shrunk
                ON shrunk.oracle = ranked.oracle AND shrunk.cause = ranked.cause
            WHERE place = 1 ORDER BY verdict, times DESC, scenario, seed";
        let mut query = self.db.prepare(sql).into_diagnostic()?;
        let count =
            |row: &rusqlite::Row<'_>, at: usize| row.get::<_, i64>(at).map(|it| it as usize);
        let groups = query.query_map([], |row| {
            let folder: Option<String> = row.get(11)?;
            let shrunk = match folder {
                Some(folder) => Some((folder, [count(row, 12)?, count(row, 13)?, count(row, 14)?])),
                None => None,
            };
            Ok(Group {
                verdict: row.get(0)?,
                oracle: row.get(1)?,
                cause: row.get(2)?,
                runs: row.get::<_, i64>(3)?.cast_unsigned(),
                scenario: row.get(4)?,
                seed: row.get::<_, i64>(5)?.cast_unsigned(),
                defects: row.get(6)?,
                size: [count(row, 7)?, count(row, 8)?, count(row, 9)?],
                evidence: row.get(10)?,
                shrunk,
            })
        });
        groups.into_diagnostic()?.collect::<Result<_, _>>().into_diagnostic()
    }

    /// Figures of all that was run.
    pub fn totals(&self) -> miette::Result<Totals> {
        let pairs = |sql: &str| -> rusqlite::Result<Vec<(String, u64)>> {
            let mut query = self.db.prepare(sql)?;
            let pair =
                |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()));
            query.query_map([], pair)?.collect()
        };
        let read = || -> rusqlite::Result<Totals> {
            let sql = "SELECT COUNT(*), COALESCE(SUM(verdict = 'pass'), 0) FROM runs";
            let (runs, passed): (i64, i64) =
                self.db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let sql = "SELECT SUM(runs), SUM(wall_ms) FROM hunts";
            let speed: Option<(f64, f64)> = self
                .db
                .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
                .unwrap_or_default();
            let per_second = speed.map_or(0.0, |(runs, wall_ms)| runs * 1000.0 / wall_ms.max(1.0));
            Ok(Totals {
                runs: runs.cast_unsigned(),
                passed: passed.cast_unsigned(),
                per_second,
                fired: pairs("SELECT kind, times FROM fired ORDER BY kind")?,
                reached: pairs("SELECT point, runs FROM reached ORDER BY point")?,
            })
        };
        read().into_diagnostic()
    }
}
