//! The contract's objects.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use crate::{
    Connector,
    bindings::exports::connector_hub::plugin::plugin::{
        Event, GuestConnection, GuestPlan, GuestReader, GuestWriter, MadePlan, MadeWriter, Plan, Reader,
    },
    events::SourceReader,
    export::{ConnectionOf, PlanOf, crossing, not_supported},
};

type Answer<T = String> = Result<T, String>;

/// A reader of one stream.
pub struct ReaderOf(Rc<RefCell<SourceReader>>);

thread_local! {
    /// The readers that are open.
    static READERS: RefCell<Vec<Weak<RefCell<SourceReader>>>> = const { RefCell::new(Vec::new()) };
}

/// The contract's `tick`: every open reader keeps its source alive.
pub fn tick() {
    READERS.with_borrow_mut(|readers| {
        readers.retain(|reader| reader.strong_count() > 0);
        readers.iter().filter_map(Weak::upgrade).for_each(|reader| reader.borrow_mut().tick());
    });
}

/// The writer of a connector that only reads: there is never one.
pub enum NoWriter {}

impl<C: Connector> GuestConnection for ConnectionOf<C> {
    fn identity(&self, _: String) -> Answer {
        crossing(ConnectionOf::identity(self))
    }

    fn check(&self, request: String) -> Answer {
        crossing(ConnectionOf::check(self, &request))
    }

    fn discover(&self, _: String) -> Answer {
        not_supported("Discovery")
    }

    fn describe(&self, _: String) -> Answer {
        not_supported("Description of streams")
    }

    fn query(&self, _: String, _: Option<Vec<u8>>) -> Answer<Reader> {
        not_supported("Query")
    }

    fn plan(&self, request: String) -> Answer<MadePlan> {
        let (answer, plan) = crossing(ConnectionOf::plan(self, &request))?;
        Ok(MadePlan { answer, plan: Plan::new(plan) })
    }

    fn writer(&self, _: String) -> Answer<MadeWriter> {
        not_supported("Writing")
    }

    fn release(&self, _: String) -> Answer {
        Ok("{}".into())
    }
}

impl<C: Connector> GuestPlan for PlanOf<C> {
    fn open(&self, request: String) -> Answer<Reader> {
        let reader = Rc::new(crossing(PlanOf::open(self, &request))?);
        READERS.with_borrow_mut(|readers| readers.push(Rc::downgrade(&reader)));
        Ok(Reader::new(ReaderOf(reader)))
    }
}

impl GuestReader for ReaderOf {
    fn next(&self, _: String) -> Answer<Event> {
        crossing(self.0.borrow_mut().next())
    }

    fn acknowledge(&self, _: String) -> Answer {
        Ok("{}".into())
    }

    fn signal(&self, _: String) -> Answer {
        not_supported("Signals")
    }
}

impl GuestWriter for NoWriter {
    fn schema(&self, _: String, _: Vec<u8>) -> Answer {
        match *self {}
    }

    fn write(&self, _: String, _: Vec<u8>) -> Answer {
        match *self {}
    }

    fn truncate(&self, _: String) -> Answer {
        match *self {}
    }

    fn flush(&self, _: String) -> Answer {
        match *self {}
    }

    fn commit(&self, _: String) -> Answer {
        match *self {}
    }

    fn finish(&self, _: String) -> Answer {
        match *self {}
    }
}
