//! Segments with few events, in a spool that is open.

use std::time::Duration;

use futures_util::future::join_all;

use crate::spool::tests::simulated_disk::SimulatedDisk;
use crate::spool::tests::{envelope, places, soon, subject};
use crate::spool::{Baselines, Spool};

#[tokio::test]
async fn thread_rewrites_segments_with_blocked_events_while_others_leave() {
    let disk = SimulatedDisk::default();
    let spool = Spool::threaded(disk.open(), 4 << 20).unwrap();
    for group in 0..8 {
        let events = (0..500).map(|number| match number {
            0 => envelope("blocked", group),
            _ => envelope("a", number),
        });
        let events: Vec<_> = events.collect();
        let appends = events
            .iter()
            .map(|event| spool.append_event(event, None, soon()));
        for result in join_all(appends).await {
            result.unwrap();
        }
    }
    let large = || {
        let files = disk.files();
        let segments = files.iter().filter(|(name, _)| name.ends_with(".log"));
        segments.filter(|(_, bytes)| bytes.len() > 16 << 10).count()
    };
    assert!(large() > 4, "{}", large());
    while spool.waiting(&subject("a")) > 0 {
        for place in places(&spool, "a", 512).await {
            spool.delivered(&place);
        }
        spool.remove_delivered(&Baselines::new()).await.unwrap();
    }
    let rewritten = async {
        // The newest one stays as it is.
        while large() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout_at(soon(), rewritten).await.unwrap();
    assert_eq!(places(&spool, "blocked", 20).await.len(), 8);
    drop(spool);
    let spool = Spool::at_once(disk.open(), 4 << 20).unwrap();
    assert_eq!(spool.status().events, 8);
    assert_eq!(spool.loss(), None);
}
