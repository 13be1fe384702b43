//! The appliance behind the API: what `lifeboat serve` and the image tell of themselves, and what is done for whoever asks.

/// What happened, numbered and kept.
pub mod events;
