use super::*;

#[test]
fn the_flags_hold_together() {
    use clap::CommandFactory as _;
    Arguments::command().debug_assert();
}
