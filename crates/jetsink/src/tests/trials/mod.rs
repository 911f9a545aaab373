//! The trials that need no broker. Each is a test with a few histories here, and with as many as
//! `docs/reliability.md` tells of under `cargo xtask trials`.

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
