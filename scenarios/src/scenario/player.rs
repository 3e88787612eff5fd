//! Who watches, spelled out.

use reseed_protocol::Video;
use reseed_sim::plan::{PlayerAct, PlayerPlan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Draw, Flag, Place, ScenarioError, plan::Dice, yes};

/// Somebody who watches what a peer streams, from start to end unless told otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Player {
    /// Whether there is one.
    pub watches: Flag,
    /// How long after its peer starts it begins, seconds.
    pub start_s: Draw<f64>,
    /// Where it begins, as a share of the video, 0 to 1.
    pub from: Draw<f64>,
    /// How often it goes elsewhere (count); when and where to is drawn.
    pub seeks: Draw<u32>,
    /// Whether it goes to the beginning then, drawn for each time.
    pub rewinds: Flag,
    /// How often it stands still (count); when is drawn.
    pub pauses: Draw<u32>,
    /// For how long it stands still each time, seconds.
    pub pause_s: Draw<f64>,
}

impl Default for Player {
    fn default() -> Player {
        Player {
            watches: yes(),
            start_s: Draw::zero(),
            from: Draw::zero(),
            seeks: Draw::zero(),
            rewinds: Flag::Fixed(false),
            pauses: Draw::zero(),
            pause_s: Draw::Fixed(1.0),
        }
    }
}

/// Who watches a live stream, if somebody does: from its edge on, without a pause.
pub(super) fn live(
    player: &Player,
    dice: Dice<'_>,
    place: &Place,
) -> Result<Option<PlayerPlan>, ScenarioError> {
    let at = |field| place.clone().field(field);
    let start_ms = dice.millis(player.start_s, at("start_s"))?;
    let plan = PlayerPlan { start_ms, from: 0, acts: Vec::new() };
    Ok(dice.flag(player.watches, &at("watches")).then_some(plan))
}

const ANYWHERE: Draw<f64> = Draw::Range { from: 0.0, to: 1.0 };

/// Who watches `video`, if somebody does.
pub(super) fn plan(
    player: &Player,
    video: &Video,
    dice: Dice<'_>,
    place: &Place,
) -> Result<Option<PlayerPlan>, ScenarioError> {
    let at = |field| place.clone().field(field);
    let bytes = |share: f64| (share * video.length as f64) as u64;
    let mut acts = Vec::new();
    for seek in 0..dice.number(player.seeks, &at("seeks")) {
        let place = at("seeks").index(seek as usize);
        let after = bytes(dice.number(ANYWHERE, &place.clone().field("after")));
        let to = match dice.flag(player.rewinds, &place.clone().field("rewinds")) {
            true => 0,
            false => bytes(dice.number(ANYWHERE, &place.field("to"))),
        };
        acts.push((after, PlayerAct::Seek { to }));
    }
    for pause in 0..dice.number(player.pauses, &at("pauses")) {
        let place = at("pauses").index(pause as usize);
        let after = bytes(dice.number(ANYWHERE, &place.clone().field("after")));
        let ms = dice.millis(player.pause_s, place.field("pause_s"))?;
        acts.push((after, PlayerAct::Pause { ms }));
    }
    acts.sort_by_key(|(after, _)| *after);
    let plan = PlayerPlan {
        start_ms: dice.millis(player.start_s, at("start_s"))?,
        from: bytes(dice.share(player.from, at("from"))?),
        acts,
    };
    Ok(dice.flag(player.watches, &at("watches")).then_some(plan))
}
