//! The rules, one function each.

mod cancelling;
mod check;
mod hostile;
mod manifest;
mod reading;
mod secrets;
mod types;
mod writing;

pub(super) use cancelling::cancel_within_one_second;
pub(super) use check::check_truthful;
pub(super) use hostile::hostile_identifiers_and_values;
pub(super) use manifest::manifest_valid;
pub(super) use reading::{bounded_memory, reads_all_rows, resumes_from_each_boundary};
pub(super) use secrets::secrets_never_in_output;
pub(super) use types::every_type_row;
pub(super) use writing::{
    refuses_commit_after_lane_taken, refuses_token_not_next, rejected_rows, rollback_on_drop,
};
