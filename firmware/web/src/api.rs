//! The API of an appliance, `/api/v1`: what it tells, what it takes, and what answers behind it.
//!
//! The shapes are here, the routes in one table, from which the OpenAPI document is made too. Whatever needs a clock, a
//! vault or a disk is asked of a [`Site`]; who may do what, of an [`Admin`]; first run, alerts and verbs of what stands beside.

/// Who may manage the appliance, and what they did.
pub mod admin;
/// Who is told when something goes wrong.
pub mod alarm;
/// What a route is asked, and how its parts are read.
mod call;
/// What is told to Prometheus.
pub mod metrics;
/// The document that describes it all.
pub mod openapi;
/// What is answered.
pub mod reply;
/// Every route.
pub mod routes;
/// First run, and what it sets.
pub mod setup;
/// What answers: the appliance behind the API.
pub mod site;
/// Verbs of the command line for somebody elsewhere.
pub mod verbs;
/// What is told and taken, as JSON.
pub mod views;

pub use admin::Admin;
pub use call::{Behind, Call, Stream, Who};
pub use reply::{Body, Reply};
pub use routes::{Route, find, perform};
pub use site::{Answer, Caller, Refusal, Role, Site};
