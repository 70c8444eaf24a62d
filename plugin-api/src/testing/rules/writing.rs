use crate::{
    ErrorKind, Role,
    testing::{
        reading::{expected_lines, lines_of, require_same_rows},
        report::{Kept, Stop, failed, require},
        session::{Run, plain_table},
        subject::Table,
        writing::{require_kind, token},
    },
};

/// A lane's last token is the one that was committed, to the letter; only the one that follows it is accepted.
pub(in crate::testing) fn refuses_token_not_next(run: &Run) -> Kept {
    run.needs(Role::Destination)?;
    let table = |rows| plain_table("hub_tokens", rows, 5);
    let (first, second, wrong) = (table(0..10), table(10..20), table(20..30));
    let destination = run.destination(&first)?;
    let pipeline = run.pipeline();
    let mut writing = run.writer(&destination, &pipeline)?;
    require(writing.start.last.is_none(), || format!("A new lane has a token: {:?}", writing.start.last))?;
    writing.write_all(&first)?;
    writing.commit(&token(&pipeline, 1)).map_err(|error| Stop::from(error).during("Token 1"))?;
    drop(writing);
    require_rows(run, "After token 1", &[&first])?;
    for n in [3, 1] {
        let mut writing = run.writer(&destination, &pipeline)?;
        let last = writing.start.last.clone();
        require(last.as_ref() == Some(&token(&pipeline, 1)), || {
            format!("The last token came back as {last:?}")
        })?;
        writing.write_all(&wrong)?;
        require_kind(
            &format!("Token {n} behind 1"),
            writing.commit(&token(&pipeline, n)),
            ErrorKind::TokenConflict,
        )?;
        drop(writing);
        require_rows(run, &format!("After the refused token {n}"), &[&first])?;
    }
    let mut writing = run.writer(&destination, &pipeline)?;
    writing.write_all(&second)?;
    writing.commit(&token(&pipeline, 2)).map_err(|error| Stop::from(error).during("Token 2"))?;
    require_rows(run, "After token 2", &[&first, &second])?;
    Ok("tokens 1 and 2 taken; 3 and 1 behind 1 refused".into())
}

fn require_rows(run: &Run, when: &str, tables: &[&Table]) -> Result<(), Stop> {
    let mut expected = Vec::new();
    for table in tables {
        expected.extend(expected_lines(table)?);
    }
    require_same_rows(when, expected, run.read_back(tables[0])?)
}

/// Whoever takes a lane is its only writer from then on.
pub(in crate::testing) fn refuses_commit_after_lane_taken(run: &Run) -> Kept {
    run.needs(Role::Destination)?;
    let table = |rows| plain_table("hub_fence", rows, 5);
    let (first, late, second) = (table(0..10), table(10..20), table(20..30));
    let destination = run.destination(&first)?;
    let pipeline = run.pipeline();
    let mut old = run.writer(&destination, &pipeline)?;
    old.write_all(&first)?;
    old.commit(&token(&pipeline, 1))?;
    let mut new = run.writer(&destination, &pipeline)?;
    // A writer may notice that it lost its lane before the commit, but not after it.
    let late_commit =
        old.rows(&late).and_then(|()| old.flush()).and_then(|_| old.commit(&token(&pipeline, 2)));
    require_kind("The commit of the writer that lost its lane", late_commit, ErrorKind::Fenced)?;
    drop(old);
    new.write_all(&second)?;
    new.commit(&token(&pipeline, 2))
        .map_err(|error| Stop::from(error).during("The commit of the new writer"))?;
    require_rows(run, "In the end", &[&first, &second])?;
    // A lane of another pipeline is another lane.
    let other = run.writer(&destination, &run.pipeline())?;
    require(other.start.last.is_none(), || "A lane of another pipeline has a token".into())?;
    Ok("the old writer was refused, the new one was not".into())
}

/// What is not committed is not there.
pub(in crate::testing) fn rollback_on_drop(run: &Run) -> Kept {
    run.needs(Role::Destination)?;
    let table = |rows| plain_table("hub_rollback", rows, 5);
    let (dropped, kept) = (table(0..500), table(500..510));
    let destination = run.destination(&dropped)?;
    let pipeline = run.pipeline();
    let mut writing = run.writer(&destination, &pipeline)?;
    writing.write_all(&dropped)?;
    drop(writing);
    require_same_rows("After a drop without a commit", Vec::new(), run.read_back(&dropped)?)?;
    let mut writing = run.writer(&destination, &pipeline)?;
    require(writing.start.last.is_none(), || format!("A token was left: {:?}", writing.start.last))?;
    writing.write_all(&kept)?;
    writing.commit(&token(&pipeline, 1))?;
    require_rows(run, "After the commit that followed", &[&kept])?;
    Ok("500 rows dropped without a trace".into())
}

/// Rows refused for their data are named, and the others can be committed.
pub(in crate::testing) fn rejected_rows(run: &Run) -> Kept {
    run.needs(Role::Destination)?;
    let rejecting = match run.subject.rejecting() {
        Ok(rejecting) => rejecting,
        Err(reason) if reason.kind == ErrorKind::Unsupported => {
            return Err(Stop::NotApplicable(reason.message));
        }
        Err(error) => return Err(Stop::from(error).during("`Subject::rejecting`")),
    };
    let table = &rejecting.table;
    let pipeline = run.pipeline();
    let mut writing = run.writer(&rejecting.destination, &pipeline)?;
    writing.schema(table)?;
    writing.rows(table)?;
    let report = writing.flush().map_err(|error| Stop::from(error).during("The flush"))?;
    let mut refused: Vec<u64> = report.iter().map(|row| row.row).collect();
    refused.sort_unstable();
    require(refused == rejecting.refused, || {
        format!("Rows {:?} must be refused; the flush names {refused:?}", rejecting.refused)
    })?;
    if let Some(row) =
        report.iter().find(|row| row.reason.is_empty() || row.stream != rejecting.destination.stream)
    {
        return failed(format!("A refused row needs its stream and a reason: {row:?}"));
    }
    writing.commit(&token(&pipeline, 1))?;
    let all = lines_of(std::slice::from_ref(&table.rows), &table.names())?;
    let good = (0_u64..).zip(all).filter(|(row, _)| !refused.contains(row)).map(|(_, line)| line).collect();
    require_same_rows("The rows that were not refused", good, run.read_back(table)?)?;
    Ok(format!("{} rows refused, the others committed", refused.len()))
}
