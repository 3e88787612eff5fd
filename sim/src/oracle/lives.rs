//! Nothing is called once it was torn down.

use std::collections::BTreeMap;

use reseed_client::Activity;
use reseed_protocol::{Owner, Time};

use super::{Code, Finding, Oracle, Scene};

/// A download that has let go of everything is not called any more (I-INIT).
pub(super) struct Lives {
    checks: u64,
    /// For each peer, the downloads that were torn down since it started.
    torn_down: Vec<BTreeMap<Owner, Time>>,
}

impl Lives {
    pub(super) fn new(peers: usize) -> Lives {
        Lives { checks: 0, torn_down: vec![BTreeMap::new(); peers] }
    }
}

impl Oracle for Lives {
    fn code(&self) -> Code {
        Code::Init
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn started(&mut self, peer: usize) {
        self.torn_down[peer].clear();
    }

    fn observed(&mut self, scene: Scene<'_>, activity: &Activity<'_>) -> Finding {
        let torn_down = &mut self.torn_down[scene.peer];
        match activity {
            Activity::TornDown { life } => {
                torn_down.insert(*life, scene.now);
            }
            Activity::Works { life, work } => {
                self.checks += 1;
                if let Some(at) = torn_down.get(life) {
                    return Err(format!(
                        "its download was torn down at {at} s, and is called again for {work:?}"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
