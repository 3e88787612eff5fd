//! The monitoring server that peers report to, and whoever else is told.
//!
//! The server is a recorded one: what it takes is in the trace, and its failures
//! are drawn. It has no host and no packets, because how a report travels is not
//! what runs are about; how long that takes, and that it may fail, is.

use std::{cell::RefCell, rc::Rc, time::Duration};

use futures_util::future::LocalBoxFuture;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use reseed_client::{
    Callbacks, Env, Monitoring, Reporter,
    monitor::{LogReporter, MonitoringServer, ServerReporter},
};
use serde_json::Value;

use crate::plan::ReportsPlan;

/// How a peer with this plan is watched.
pub(crate) fn monitoring<E: Env>(env: &E, plan: &ReportsPlan, callbacks: Callbacks) -> Monitoring {
    let mut reporters: Vec<Rc<dyn Reporter>> = Vec::new();
    if plan.server {
        reporters.push(Rc::new(ServerReporter::new(Server {
            env: env.clone(),
            plan: *plan,
            rng: RefCell::new(env.rng("monitoring server")),
        })));
    }
    if plan.log {
        reporters.push(Rc::new(LogReporter));
    }
    Monitoring { callbacks, interval: Duration::from_millis(plan.interval_ms), reporters }
}

/// The server as one peer finds it.
struct Server<E> {
    env: E,
    plan: ReportsPlan,
    rng: RefCell<ChaCha8Rng>,
}

impl<E: Env> MonitoringServer for Server<E> {
    fn send(&self, _record: Value) -> LocalBoxFuture<'_, Result<(), String>> {
        let down = self.rng.borrow_mut().random_bool(self.plan.fails);
        Box::pin(async move {
            let takes = Duration::from_millis(self.plan.takes_ms);
            self.env.sleep_until(self.env.now() + takes).await;
            match down {
                false => Ok(()),
                true => Err("the monitoring server is down".to_owned()),
            }
        })
    }
}
