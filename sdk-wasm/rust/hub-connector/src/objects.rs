//! The contract's objects.

use std::cell::RefCell;

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
pub struct ReaderOf(RefCell<SourceReader>);

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
        crossing(PlanOf::open(self, &request)).map(|reader| Reader::new(ReaderOf(reader)))
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
