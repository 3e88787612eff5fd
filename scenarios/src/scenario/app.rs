//! The program around a peer's client.

use rand::RngExt;
use reseed_sim::plan::{AppPlan, Exit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Draw, Flag, Place, Problem, ScenarioError, plan::Dice};

/// The program around a peer's client: what it does besides sharing, and when it
/// exits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct App {
    /// When it exits by itself.
    pub exit_when: ExitWhen,
    /// How often it looks at its downloads for that, seconds.
    pub poll_s: Draw<f64>,
    /// Whether it saves on exit what it needs to go on another time.
    pub checkpoint: Flag,
    /// How long its parting may take, seconds: the last announces, and callbacks that
    /// run.
    pub grace_s: Draw<f64>,
    /// Downloads (count): with none it has nothing to do and exits at once. Any after
    /// the first is a small torrent that nobody else has, complete from the start.
    pub downloads: Draw<u32>,
    /// How long a callback of its user takes that begins when it starts, seconds; with
    /// 0 there is none.
    pub callback_s: Draw<f64>,
}

/// When a program exits by itself: `"never"`, `"finished"`, `{ seeded_s = 15 }`,
/// `"played"`, or `{ one_of = ["never", "finished"] }`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExitWhen {
    /// Never: its user interrupts it.
    #[default]
    Never,
    /// When every download is finished.
    Finished,
    /// When every download has been finished for this long, seconds.
    SeededS(Draw<f64>),
    /// When its player has seen the end.
    Played,
    /// One of these, each as likely as any other.
    OneOf(Vec<ExitWhen>),
}

impl Default for App {
    fn default() -> App {
        App {
            exit_when: ExitWhen::Never,
            poll_s: Draw::Fixed(5.0),
            checkpoint: Flag::Fixed(true),
            grace_s: Draw::Fixed(5.0),
            downloads: Draw::Fixed(1),
            callback_s: Draw::zero(),
        }
    }
}

/// Downloads of one program (count): each costs a file and a task.
const DOWNLOADS_MAX: u32 = 100;

pub(super) fn plan(app: &App, dice: Dice<'_>, place: &Place) -> Result<AppPlan, ScenarioError> {
    let at = |field| place.clone().field(field);
    let poll_ms = dice.millis(app.poll_s, at("poll_s"))?;
    if poll_ms == 0 {
        return Err(at("poll_s").problem(Problem::Zero { what: "seconds" }));
    }
    let downloads = dice.number(app.downloads, &at("downloads"));
    if downloads > DOWNLOADS_MAX {
        let (got, most) = (downloads.into(), DOWNLOADS_MAX.into());
        return Err(at("downloads").problem(Problem::TooMuch { what: "downloads", got, most }));
    }
    Ok(AppPlan {
        exit_when: exit(&app.exit_when, dice, &at("exit_when"))?,
        poll_ms,
        checkpoint: dice.flag(app.checkpoint, &at("checkpoint")),
        grace_ms: dice.millis(app.grace_s, at("grace_s"))?,
        downloads,
        callback_ms: dice.millis(app.callback_s, at("callback_s"))?,
    })
}

fn exit(exit_when: &ExitWhen, dice: Dice<'_>, place: &Place) -> Result<Exit, ScenarioError> {
    Ok(match exit_when {
        ExitWhen::Never => Exit::Never,
        ExitWhen::Finished => Exit::Finished,
        ExitWhen::Played => Exit::Played,
        ExitWhen::SeededS(time) => {
            Exit::Seeded(dice.millis(*time, place.clone().field("seeded_s"))?)
        }
        ExitWhen::OneOf(choices) => {
            let place = place.clone().field("one_of");
            if choices.is_empty() {
                return Err(place.problem(Problem::Zero { what: "choices" }));
            }
            let choice = dice.rng(&place).random_range(0..choices.len());
            exit(&choices[choice], dice, &place.index(choice))?
        }
    })
}
