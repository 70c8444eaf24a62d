use crate::{
    Outcome,
    rounds::{Plan, Result, compare},
    server::{ROWS, Server},
    source::{Source, options},
};

/// The loaded plugin against the same connector linked in.
pub(crate) fn run(plan: Plan) -> Outcome<Result> {
    let server = Server::get()?;
    server.make_lineitem()?;
    let (loaded, linked) = (Source::loaded(&server)?, Source::linked(&server)?);
    let read = |source: &Source| {
        let (ours, total) = source.read(options("select * from lineitem", None), 1)?;
        Ok::<_, Box<dyn std::error::Error>>((ours, total))
    };
    let expected = read(&linked)?.1;
    if expected.rows != ROWS {
        return Err(format!("{} rows instead of {ROWS}", expected.rows).into());
    }
    let checked = |source: &Source| {
        let (ours, total) = read(source)?;
        if total == expected { Ok(ours) } else { Err(format!("{total:?} instead of {expected:?}").into()) }
    };
    compare(plan, || checked(&loaded), || checked(&linked).map(|ours| ours.elapsed))
}
