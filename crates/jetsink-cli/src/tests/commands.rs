use super::*;

#[test]
fn the_flags_hold_together() {
    Arguments::described().debug_assert();
}
