use jetsink::CircuitOpen;

use super::*;

#[test]
fn open_circuit_has_a_remedy_of_the_command() {
    let text = |scope| {
        described(&EmitError::CircuitOpen(CircuitOpen::new(
            scope,
            2,
            Duration::from_millis(400),
        )))
    };
    assert_eq!(
        text(Scope::Subject),
        "not sent: its subject's circuit is open: earlier events of the subject failed (2 failed probes); publish the \
         line again later, or use --spool"
    );
    assert_eq!(
        text(Scope::Broker),
        "not sent: the broker's circuit is open: it was not reached (2 failed probes); publish the line again later, or \
         use --spool"
    );
    assert_eq!(described(&EmitError::Closed), EmitError::Closed.to_string());
}
