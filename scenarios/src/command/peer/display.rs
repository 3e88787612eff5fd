use std::{
    cell::RefCell,
    io::{self, IsTerminal},
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use reseed_client::{Report, ReportError, Reporter};

/// How far a download is, on standard error: a bar on a terminal, elsewhere a line now
/// and then.
pub struct Display {
    bar: Option<ProgressBar>,
    /// The state that the last line told, and when that was.
    told: RefCell<Option<(String, u64)>>,
}

impl Display {
    /// How often it shows something new.
    pub const INTERVAL: Duration = Duration::from_millis(500);

    /// How often there is a line, where there is no bar (milliseconds).
    const LINE_EACH_MS: u64 = 10_000;

    /// Shows the progress of what is called `name` among `bars`.
    pub fn new(bars: &MultiProgress, name: &str) -> Display {
        let bar = io::stderr().is_terminal().then(|| {
            let style = "{prefix} {wide_bar} {pos}/{len} pieces, {eta} left  {msg}";
            let style = ProgressStyle::with_template(style).expect("the template is well-formed");
            let bar = ProgressBar::new(0).with_style(style);
            bars.add(bar.with_prefix(name.to_owned()))
        });
        Display { bar, told: RefCell::default() }
    }

    /// Takes it off the screen.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn show(&self, report: &Report) -> Result<(), ReportError> {
        let (verified, pieces) = (report.number("verified")?, report.number("pieces")?);
        let (down, up) = (report.number("download_rate")?, report.number("upload_rate")?);
        let peers = report.attribute("peers")?.as_array().map_or(0, Vec::len);
        let state = report.text("state")?;
        let (down, up) = (HumanBytes(down), HumanBytes(up));
        let figures = format!("{state}, {down}/s down, {up}/s up, {peers} peers");
        if let Some(bar) = &self.bar {
            bar.set_length(pieces);
            bar.set_position(verified);
            bar.set_message(figures);
            return Ok(());
        }
        let now = report.number("at_ms")?;
        let mut told = self.told.borrow_mut();
        let is_news =
            |(before, at): &(String, u64)| before != state || now >= at + Display::LINE_EACH_MS;
        if state != "waiting" && told.as_ref().is_none_or(is_news) {
            eprintln!("{verified} of {pieces} pieces, {figures}");
            *told = Some((state.to_owned(), now));
        }
        Ok(())
    }
}

impl Reporter for Display {
    fn name(&self) -> &str {
        "display"
    }

    fn report<'a>(&'a self, report: &'a Report) -> LocalBoxFuture<'a, Result<(), ReportError>> {
        Box::pin(async move { self.show(report) })
    }
}
