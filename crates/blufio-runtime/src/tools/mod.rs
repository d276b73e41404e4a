//! The tools that come with Blufio.
