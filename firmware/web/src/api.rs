//! The API of an appliance, `/api/v1`: what it tells, what it takes, and what answers behind it.
//!
//! The shapes are here, the routes in one table, from which the OpenAPI document is made too. Whatever needs a clock, a
//! vault or a disk is asked of a [`Site`].

/// Who is told when something goes wrong.
pub mod alarm;
