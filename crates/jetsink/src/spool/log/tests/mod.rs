//! The log on a simulated disk, compared with a plain model.

mod damage;
mod fuzz;
mod histories;
mod model;
#[cfg(unix)]
mod modes;
mod rewriting;
mod scanning;
