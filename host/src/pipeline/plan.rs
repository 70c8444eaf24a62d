//! What a plan must be like, what is left of an interrupted one, and what is really promised.

use std::collections::{BTreeMap, BTreeSet};

use hub_plugin_api::{
    CommitToken, Config, Error, ErrorKind, Guarantee, PlanDescription, Result, Snapshot, SplitProgress,
    WriterStart,
};

use super::{OnLostSnapshot, OnRejected, PipelineSpec, SplitSummary};

/// Progress by split, with the lane that keeps it.
pub(crate) type SplitLanes = BTreeMap<String, (u32, SplitProgress)>;

/// Fails unless the plan can be carried out.
pub(crate) fn check(plan: &PlanDescription) -> Result<()> {
    let wrong =
        |what: String| Err(Error::new(ErrorKind::Protocol, format!("The source's plan is wrong: {what}")));
    let mut ids = BTreeSet::new();
    for split in &plan.splits {
        if !ids.insert(split.id.as_str()) {
            return wrong(format!("split `{}` is there twice", split.id));
        }
    }
    let mut finished = BTreeSet::new();
    loop {
        let before = finished.len();
        for split in &plan.splits {
            if let Some(unknown) = split.after.iter().find(|id| !ids.contains(id.as_str())) {
                return wrong(format!("split `{}` waits for `{unknown}`, which is not there", split.id));
            }
            if split.bounded && split.after.iter().all(|id| finished.contains(id.as_str())) {
                finished.insert(split.id.as_str());
            }
        }
        if finished.len() == before {
            break;
        }
    }
    let stuck = |split: &&hub_plugin_api::Split| !split.after.iter().all(|id| finished.contains(id.as_str()));
    match plan.splits.iter().find(stuck) {
        Some(split) => wrong(format!("split `{}` waits for splits that never finish", split.id)),
        None => Ok(()),
    }
}

/// What an interrupted plan's lost snapshot leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Nothing is lost, or a change stream repairs it.
    Nothing,
    /// Everything is read again, in a new generation.
    Restart,
    /// The rest comes from a newer state.
    Mixed,
}

/// Whether the part that is committed and the part that is not would be of different states of the source.
pub(crate) fn lost_snapshot(
    plan: &PlanDescription,
    interrupted: Option<&PlanDescription>,
    progress: &SplitLanes,
    policy: OnLostSnapshot,
) -> Result<Lost> {
    let Some(interrupted) = interrupted else { return Ok(Lost::Nothing) };
    let is_finished = |id: &str| progress.get(id).is_some_and(|(_, progress)| progress.finished);
    let vanished = interrupted.splits.iter().find(|split| {
        progress.contains_key(&split.id)
            && !is_finished(&split.id)
            && !plan.splits.iter().any(|one| one.id == split.id)
    });
    let repaired = plan.splits.iter().any(|split| !split.bounded);
    let unfinished = plan.splits.iter().any(|split| split.bounded && !is_finished(&split.id));
    let mixed = plan.snapshot == Snapshot::New && !progress.is_empty() && unfinished && !repaired;
    if vanished.is_none() && !mixed {
        return Ok(Lost::Nothing);
    }
    if vanished.is_none() && plan.carry.is_some() {
        // By a cursor every run sees a newer state than the last one: a restart is no different.
        return Ok(Lost::Mixed);
    }
    match (policy, vanished) {
        (OnLostSnapshot::Restart, _) => Ok(Lost::Restart),
        (OnLostSnapshot::Mixed, None) => Ok(Lost::Mixed),
        (_, Some(split)) => Err(Error::new(
            ErrorKind::SnapshotLost,
            format!("Split `{}` was partly committed, and the source no longer offers it", split.id),
        )
        .with_hint("Read everything again with `--from-scratch`, or set `on_lost_snapshot: restart`")),
        (OnLostSnapshot::Stop, None) => Err(Error::new(
            ErrorKind::SnapshotLost,
            "The run was interrupted when a part was committed, and the state that it read is gone",
        )
        .with_hint(
            "Set `on_lost_snapshot: restart` to read everything again, or `on_lost_snapshot: mixed` to read the rest \
             from the source as it is now",
        )),
    }
}

const OLDER_GENERATION: &str = "rows of an older generation are there";

/// Whether the same row written twice is there twice.
fn appends_blindly(writer: &WriterStart, options: &Config) -> bool {
    !writer.idempotent && options.text("mode").unwrap_or("append") == "append"
}

fn would_repeat(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, format!("This run would append rows a second time: {reason}"))
        .with_field("allow_duplicates")
        .with_hint(
            "Write with `mode: upsert` or `mode: replace`, let a source without one go on by a `cursor`, or accept \
             it with `allow_duplicates: true`",
        )
}

/// Fails when everything is to be read again and the destination, which holds rows, would have them twice.
pub(crate) fn check_again(spec: &PipelineSpec, writer: &WriterStart, options: &Config) -> Result<()> {
    if appends_blindly(writer, options) && !spec.allow_duplicates {
        return Err(would_repeat(OLDER_GENERATION));
    }
    Ok(())
}

/// What decides whether rows may come a second time.
pub(crate) struct Repeats<'a> {
    pub(crate) spec: &'a PipelineSpec,
    pub(crate) plan: &'a PlanDescription,
    pub(crate) writer: &'a WriterStart,
    pub(crate) options: &'a Config,
    /// The destination's last tokens, of whatever generation and lane.
    pub(crate) tokens: &'a [CommitToken],
    pub(crate) progress: &'a SplitLanes,
    pub(crate) generation: u64,
    pub(crate) run: u64,
    /// The store does not know what the last run left, so this one begins at the beginning.
    pub(crate) carry_lost: bool,
}

impl Repeats<'_> {
    /// Why rows that the destination holds come again, when they do.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        if !appends_blindly(self.writer, self.options) {
            return None;
        }
        let unfinished = |id: &String| !self.progress.get(id).is_some_and(|(_, progress)| progress.finished);
        if !self.plan.splits.iter().any(|split| unfinished(&split.id)) {
            return None;
        }
        // A lane that has had nothing to write keeps its old token.
        let has_begun = self.tokens.iter().any(|token| token.generation == self.generation);
        if !has_begun && !self.tokens.is_empty() {
            return Some(OLDER_GENERATION);
        }
        let of_older_run = self.tokens.iter().any(|token| token.run < self.run);
        if of_older_run && (self.plan.repeats_rows || self.carry_lost) {
            return Some("rows of an earlier run are there, and this one reads them again");
        }
        let restarts =
            |(_, progress): &(u32, SplitProgress)| !progress.finished && progress.position.is_none();
        if self
            .plan
            .splits
            .iter()
            .any(|split| split.bounded && self.progress.get(&split.id).is_some_and(restarts))
        {
            return Some("a part of the interrupted run is there, and the source cannot go on behind it");
        }
        None
    }

    /// Fails when rows would be there twice and the user did not accept that.
    pub(crate) fn check(&self) -> Result<()> {
        match self.reason() {
            Some(reason) if !self.spec.allow_duplicates => Err(would_repeat(reason)),
            _ => Ok(()),
        }
    }
}

/// The weaker promise of both sides, and why.
pub(crate) fn guarantee(repeats: &Repeats<'_>, lost: &Lost) -> (Guarantee, Vec<String>) {
    let (plan, writer) = (repeats.plan, repeats.writer);
    let mut guarantee = plan.guarantee.min(writer.guarantee);
    let mut reasons = vec![
        format!("source: {} ({})", plan.reason, plan.guarantee),
        format!("destination: {} ({})", writer.reason, writer.guarantee),
    ];
    if let Some(reason) = repeats.reason() {
        guarantee = guarantee.min(Guarantee::AtLeastOnce);
        reasons.push(format!("duplicates are allowed: {reason}"));
    }
    if *lost == Lost::Mixed {
        reasons.push("a part was read from an older state of the source".into());
    }
    if repeats.spec.on_rejected == OnRejected::DeadLetter {
        reasons.push("refused rows are put aside, so a transaction may arrive without them".into());
    }
    (guarantee, reasons)
}

/// The splits as they are told to whoever started the run.
pub(crate) fn summaries(plan: &PlanDescription, progress: &SplitLanes) -> Vec<SplitSummary> {
    let summary = |split: &hub_plugin_api::Split| {
        let progress = progress.get(&split.id).map(|(_, progress)| progress.clone()).unwrap_or_default();
        SplitSummary {
            id: split.id.clone(),
            streams: split.streams.clone(),
            bounded: split.bounded,
            estimated_rows: split.estimated_rows,
            finished: progress.finished,
            position: progress.position,
        }
    };
    plan.splits.iter().map(summary).collect()
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::{Position, Split};
    use serde_json::json;

    use super::*;
    use crate::pipeline::tests::split;

    fn plan(splits: Vec<Split>) -> PlanDescription {
        PlanDescription {
            splits,
            snapshot: Snapshot::New,
            guarantee: Guarantee::EffectivelyOnce,
            reason: "r".into(),
            repeats_rows: false,
            carry: None,
        }
    }

    #[test]
    fn plan_that_cannot_be_carried_out_is_refused() {
        for (splits, what) in [
            (vec![split("a", true, &[]), split("a", true, &[])], "split `a` is there twice"),
            (vec![split("a", true, &["b"])], "split `a` waits for `b`, which is not there"),
            (
                vec![split("a", true, &["b"]), split("b", true, &["a"])],
                "split `a` waits for splits that never finish",
            ),
            (
                vec![split("a", true, &["s"]), split("s", false, &[])],
                "split `a` waits for splits that never finish",
            ),
        ] {
            let error = check(&plan(splits)).unwrap_err();
            assert_eq!(error.message, format!("The source's plan is wrong: {what}"));
        }
        check(&plan(vec![split("s", false, &["a"]), split("a", true, &[])])).unwrap();
    }

    #[test]
    fn lost_snapshot_matters_only_between_a_committed_and_an_open_part() {
        let (done, none) = (SplitProgress { position: None, finished: true }, SplitLanes::new());
        let both = plan(vec![split("a", true, &[]), split("b", true, &[])]);
        let half = SplitLanes::from([("a".into(), (0, done.clone()))]);
        let all = SplitLanes::from([("a".into(), (0, done.clone())), ("b".into(), (0, done))]);
        let lost = |plan: &PlanDescription, progress: &SplitLanes, policy| {
            lost_snapshot(plan, Some(&both), progress, policy).map_err(|error| error.kind)
        };
        assert_eq!(lost(&both, &none, OnLostSnapshot::Stop), Ok(Lost::Nothing));
        assert_eq!(lost(&both, &all, OnLostSnapshot::Stop), Ok(Lost::Nothing));
        assert_eq!(lost(&both, &half, OnLostSnapshot::Stop), Err(ErrorKind::SnapshotLost));
        assert_eq!(lost(&both, &half, OnLostSnapshot::Restart), Ok(Lost::Restart));
        assert_eq!(lost(&both, &half, OnLostSnapshot::Mixed), Ok(Lost::Mixed));
        let by_cursor = PlanDescription { carry: Some(json!({"to": 9})), ..both.clone() };
        assert_eq!(lost(&by_cursor, &half, OnLostSnapshot::Stop), Ok(Lost::Mixed));
        let streamed = plan(vec![split("a", true, &[]), split("b", true, &[]), split("s", false, &[])]);
        assert_eq!(lost(&streamed, &half, OnLostSnapshot::Stop), Ok(Lost::Nothing));
        let position = Some(Position::from(json!({"v": 1})));
        let open = SplitLanes::from([("b".into(), (0, SplitProgress { position, finished: false }))]);
        let without = plan(vec![split("a", true, &[])]);
        assert_eq!(lost(&without, &open, OnLostSnapshot::Mixed), Err(ErrorKind::SnapshotLost));
    }
}
