//! The table of routes holds together.
