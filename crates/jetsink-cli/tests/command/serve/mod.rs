//! `jetsink serve`.

mod hand_over;
mod repeats;
mod requests;
mod run;
mod settings;
pub(crate) mod support;
mod systemd;
