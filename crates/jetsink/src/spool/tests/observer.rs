use std::sync::Mutex;

use super::simulated_disk::{Failing, Fault, SimulatedDisk};
use super::*;

/// A spool, and the ids that its observer got.
fn observed(disk: &SimulatedDisk) -> (Spool, Arc<Mutex<Vec<String>>>) {
    let spool = Spool::at_once(disk.open(), 1 << 30).unwrap();
    let ids = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&ids);
    spool.observe(Box::new(move |ids| {
        seen.lock().unwrap().extend(ids.map(str::to_owned));
    }));
    (spool, ids)
}

#[tokio::test]
async fn observer_gets_each_id_before_the_append_returns() {
    let (spool, ids) = observed(&SimulatedDisk::default());
    for number in 0..3 {
        let event = envelope("a", number);
        spool.append_event(&event, None, soon()).await.unwrap();
        assert_eq!(ids.lock().unwrap().len(), number + 1);
    }
    let without_id = Envelope::new(subject("a"), "x".into());
    spool.append_event(&without_id, None, soon()).await.unwrap();
    assert_eq!(*ids.lock().unwrap(), ["sink.0", "sink.1", "sink.2"]);
}

#[tokio::test]
async fn observer_gets_an_event_in_doubt_once_it_is_synced() {
    let disk = SimulatedDisk::default();
    let (spool, ids) = observed(&disk);
    spool
        .append_event(&envelope("a", 0), None, soon())
        .await
        .unwrap();
    disk.fail(Some(Failing {
        from: 0,
        fault: Fault::Device,
        for_good: true,
    }));
    let failed = spool.append_event(&envelope("a", 1), None, soon()).await;
    assert!(failed.unwrap_err().may_be_spooled());
    assert_eq!(
        ids.lock().unwrap().len(),
        1,
        "nothing is known of the second"
    );
    disk.fail(None);
    spool
        .append_event(&envelope("a", 2), None, soon())
        .await
        .unwrap();
    assert_eq!(*ids.lock().unwrap(), ["sink.0", "sink.1", "sink.2"]);
}
