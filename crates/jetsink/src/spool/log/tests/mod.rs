//! The log on a simulated disk, compared with a plain model.

mod damage;
mod histories;
mod model;
pub(crate) mod simulated_disk;
