//! The trials that need no broker. As tests they run a few histories; under `cargo xtask trials` they run the
//! numbers in `docs/evidence/reliability.md`.

mod circuit_histories;
mod circuit_states;
mod circuit_world;
mod emitters;
mod fuzz;
mod plain_circuit;
mod retries;
mod scope_histories;
mod scripted_broker;
mod sink_hours;
