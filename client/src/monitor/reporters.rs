//! Reporters: to the log, and to a monitoring server.

use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use super::{Report, ReportError, Reporter};

/// Writes each report to the log, on a line.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogReporter;

impl Reporter for LogReporter {
    fn name(&self) -> &str {
        "log"
    }

    fn report<'a>(&'a self, report: &'a Report) -> LocalBoxFuture<'a, Result<(), ReportError>> {
        Box::pin(async move {
            // All is looked up, whether the log wants it or not.
            let (torrent, state) = (report.text("info_hash")?, report.text("state")?);
            let (verified, pieces) = (report.number("verified")?, report.number("pieces")?);
            let down = report.number("download_rate")?;
            let up = report.number("upload_rate")?;
            let played = report.number("playback/played")?;
            let stalled_ms = report.number("playback/stalled_ms")?;
            tracing::info!(
                torrent, state, verified, pieces, down, up, played, stalled_ms, "status"
            );
            Ok(())
        })
    }
}

/// Takes a monitoring server's records to it.
pub trait MonitoringServer {
    /// Sends a record; the error says why the server did not take it.
    fn send(&self, record: Value) -> LocalBoxFuture<'_, Result<(), String>>;
}

/// Sends each report to a monitoring server, as a flat record with the figures
/// that SmoothIT's servers gather: who, how far, how fast, how the video plays.
#[derive(Debug, Clone)]
pub struct ServerReporter<S> {
    server: S,
}

impl<S: MonitoringServer> ServerReporter<S> {
    /// Reports to `server`.
    pub fn new(server: S) -> ServerReporter<S> {
        ServerReporter { server }
    }
}

impl<S: MonitoringServer> Reporter for ServerReporter<S> {
    fn name(&self) -> &str {
        "monitoring server"
    }

    fn report<'a>(&'a self, report: &'a Report) -> LocalBoxFuture<'a, Result<(), ReportError>> {
        Box::pin(async move {
            let record = record(report)?;
            self.server.send(record).await.map_err(ReportError::Receiver)
        })
    }
}

/// What a monitoring server wants to know.
fn record(report: &Report) -> Result<Value, ReportError> {
    let peers = report.attribute("peers")?.as_array().map_or(0, Vec::len);
    Ok(json!({
        "timestamp": report.number("at_ms")?,
        "infohash": report.text("info_hash")?,
        "status": report.text("state")?,
        "peerid": report.text("peer_id")?,
        "live": report.attribute("video/live")?,
        "validrange": report.attribute("video/valid_range")?,
        "progress": report.attribute("progress")?,
        "down_total": report.number("downloaded")?,
        "down_rate": report.number("download_rate")?,
        "up_total": report.number("uploaded")?,
        "up_rate": report.number("upload_rate")?,
        "p_played": report.number("playback/played")?,
        "t_stall": report.number("playback/stalled_ms")?,
        "p_late": report.number("playback/late")?,
        "p_dropped": report.number("playback/dropped")?,
        "t_prebuf": report.attribute("playback/prebuffered_ms")?,
        "peers": peers,
    }))
}
