//! Sessions of the page.
