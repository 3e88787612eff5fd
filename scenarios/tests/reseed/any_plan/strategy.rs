//! Any plan at all, as `wild` draws them, made smaller as `reseed shrink` does it.

use proptest::{
    strategy::{NewTree, Strategy, ValueTree},
    test_runner::TestRunner,
};
use rand::Rng;
use reseed::{Scenario, find};
use reseed_protocol::Defect;
use reseed_sim::{Plan, simpler};

/// Plans of `wild`, each from a seed of its own, with these bugs written back in.
#[derive(Debug)]
pub struct AnyPlan {
    wild: Scenario,
    defects: Vec<Defect>,
}

/// Plans of `wild`.
pub fn any_plan() -> AnyPlan {
    any_plan_with(&[])
}

/// The same, with these bugs.
pub fn any_plan_with(defects: &[Defect]) -> AnyPlan {
    let wild = find("wild").unwrap().source().read().unwrap();
    AnyPlan { wild, defects: defects.to_vec() }
}

impl Strategy for AnyPlan {
    type Tree = PlanTree;
    type Value = Plan;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let plan = self.wild.plan(runner.rng().next_u64()).map_err(|error| error.to_string())?;
        Ok(PlanTree::at(Plan { defects: self.defects.clone(), ..plan }))
    }
}

/// A plan on its way to be small.
pub struct PlanTree {
    /// The smallest that does what is looked for.
    best: Plan,
    /// What is simpler in one respect, the next one last.
    simpler: Vec<Plan>,
    /// The one of them that is tried.
    tried: Option<Plan>,
}

impl PlanTree {
    fn at(best: Plan) -> PlanTree {
        let mut simpler = simpler(&best);
        simpler.reverse();
        PlanTree { best, simpler, tried: None }
    }

    fn try_next(&mut self) -> bool {
        self.tried = self.simpler.pop();
        self.tried.is_some()
    }
}

impl ValueTree for PlanTree {
    type Value = Plan;

    fn current(&self) -> Plan {
        self.tried.as_ref().unwrap_or(&self.best).clone()
    }

    fn simplify(&mut self) -> bool {
        if let Some(tried) = self.tried.take() {
            *self = PlanTree::at(tried);
        }
        self.try_next()
    }

    fn complicate(&mut self) -> bool {
        self.try_next()
    }
}
