//! The API of an appliance, `/api/v1`: what it tells, what it takes, and what answers behind it.
//!
//! The shapes are here, the routes in one table, from which the OpenAPI document is made too. Whatever needs a clock, a
//! vault or a disk is asked of a [`Site`].

/// Who is told when something goes wrong.
pub mod alarm;
/// What is told to Prometheus.
pub mod metrics;
/// First run, and what it sets.
pub mod setup;
/// What answers: the appliance behind the API.
pub mod site;
/// Verbs of the command line for somebody elsewhere.
pub mod verbs;
/// What is told and taken, as JSON.
pub mod views;

pub use site::{Caller, Refusal, Role, Site};
