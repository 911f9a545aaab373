use super::*;

const DEADLINE: Duration = Duration::from_secs(2);

fn subject(text: &str) -> Subject {
    Subject::new(text).unwrap()
}

fn fail(scopes: &Scopes, now: Instant, text: &str, scope: Scope) {
    let subject = subject(text);
    let admission = scopes.admit(now, &subject).unwrap();
    let error = match scope {
        Scope::Broker => PublishError::NotConnected,
        Scope::Subject => PublishError::NoStream,
        Scope::Event => PublishError::TooLarge { bytes: 2, limit: 1 },
        Scope::Local => PublishError::Stopped,
    };
    admission.settle(now, &subject, Some(&error));
}

#[test]
fn dropped_admission_releases_both_probes() {
    let now = Instant::now();
    let scopes = Scopes::new(now, DEADLINE);
    fail(&scopes, now, "a", Scope::Subject);
    fail(&scopes, now, "b", Scope::Broker);
    let later = now + Duration::from_millis(100);
    let probe = scopes.admit(later, &subject("a")).unwrap();
    assert!(probe.is_probe());
    assert!(scopes.admit(later, &subject("a")).is_err());
    drop(probe);
    let again = scopes.admit(later, &subject("a")).unwrap();
    assert!(again.is_probe());
}

#[test]
fn lapsed_probes_of_both_circuits_let_the_next_caller_probe() {
    let now = Instant::now();
    let scopes = Scopes::new(now, DEADLINE);
    fail(&scopes, now, "a", Scope::Subject);
    fail(&scopes, now, "b", Scope::Broker);
    let due = now + Duration::from_millis(100);
    let held = scopes.admit(due, &subject("a")).unwrap();
    let lapses = due + DEADLINE + PROBE_SLACK;
    for caller in ["a", "b"] {
        let rejected = scopes.admit(lapses, &subject(caller)).unwrap_err();
        assert!(rejected.probing, "{rejected}");
    }
    let later = lapses + Duration::from_millis(200);
    let probe = scopes.admit(later, &subject("a")).unwrap();
    assert!(probe.is_probe());
    // The outcome of the lapsed probe changes nothing.
    held.settle(later, &subject("a"), None);
    assert!(scopes.admit(later, &subject("a")).is_err());
    assert!(scopes.admit(later, &subject("b")).is_err());
    probe.settle(later, &subject("a"), None);
    assert!(scopes.admit(later, &subject("a")).is_ok());
}

#[test]
fn a_failing_subject_rejects_its_own_events_alone_until_its_probe_succeeds() {
    let now = Instant::now();
    let scopes = Scopes::new(now, DEADLINE);
    fail(&scopes, now, "a", Scope::Subject);
    assert_eq!(
        scopes.admit(now, &subject("a")).unwrap_err().scope,
        Scope::Subject
    );
    assert!(!scopes.admit(now, &subject("b")).unwrap().is_probe());
    let later = now + Duration::from_millis(100);
    scopes
        .admit(later, &subject("a"))
        .unwrap()
        .settle(later, &subject("a"), None);
    assert_eq!(scopes.subject_state(&subject("a"), later), State::Connected);
    assert_eq!(scopes.failing.load(Ordering::Relaxed), 0);
}

#[test]
fn failure_of_the_event_or_of_this_process_moves_nothing() {
    let now = Instant::now();
    let scopes = Scopes::new(now, DEADLINE);
    for scope in [Scope::Event, Scope::Local] {
        fail(&scopes, now, "a", scope);
        assert!(!scopes.admit(now, &subject("a")).unwrap().is_probe());
        assert_eq!(scopes.broker_state(now), State::Connected);
    }
    // The probe of an open circuit is given back.
    fail(&scopes, now, "a", Scope::Broker);
    let later = now + Duration::from_millis(100);
    for scope in [Scope::Event, Scope::Local] {
        fail(&scopes, later, "a", scope);
        assert!(scopes.admit(later, &subject("a")).unwrap().is_probe());
    }
}

#[test]
fn event_that_was_held_back_moves_nothing() {
    let now = Instant::now();
    let scopes = Scopes::new(now, DEADLINE);
    fail(&scopes, now, "a", Scope::Broker);
    let later = now + Duration::from_millis(100);
    let probe = scopes.admit(later, &subject("a")).unwrap();
    probe.settle(later, &subject("a"), Some(&PublishError::HeldBack));
    let again = scopes.admit(later, &subject("a")).unwrap();
    assert!(again.is_probe(), "the broker's probe was given back");
    assert_eq!(scopes.subject_state(&subject("a"), later), State::Connected);
}

#[test]
fn a_rejection_by_the_subject_leaves_the_brokers_probe_to_others() {
    let now = Instant::now();
    let scopes = Scopes::new(now, DEADLINE);
    fail(&scopes, now, "a", Scope::Subject);
    let later = now + Duration::from_millis(50);
    fail(&scopes, later, "b", Scope::Broker);
    scopes.sign_of_life(later);
    assert_eq!(
        scopes.admit(later, &subject("a")).unwrap_err().scope,
        Scope::Subject
    );
    assert!(scopes.admit(later, &subject("b")).unwrap().is_probe());
}

#[test]
fn eviction_removes_an_old_subject_that_was_not_asked_for() {
    let now = Instant::now();
    let mut subjects = FailingSubjects::new(DEADLINE);
    for number in 0..100 {
        subjects.insert(&subject(&format!("s.{number}")), now);
    }
    for asked in 0..CANDIDATES - 1 {
        let asked = subject(&format!("s.{asked}"));
        let failing = subjects.circuits.get_mut(&asked).unwrap();
        failing.last_asked = now + Duration::from_millis(1);
    }
    subjects.evict();
    let evicted = subject(&format!("s.{}", CANDIDATES - 1));
    assert!(!subjects.circuits.contains_key(&evicted));
    assert_eq!(subjects.circuits.len(), 99);
    for _ in 0..99 {
        subjects.evict();
    }
    assert!(subjects.circuits.is_empty());
}

#[test]
fn status_lists_some_of_the_failing_subjects_and_counts_all() {
    let now = Instant::now();
    let scopes = Scopes::new(now, DEADLINE);
    for number in 0..MAX_LISTED_SUBJECTS + 10 {
        fail(&scopes, now, &format!("s.{number}"), Scope::Subject);
    }
    assert_eq!(scopes.failing_count(), MAX_LISTED_SUBJECTS + 10);
    assert_eq!(scopes.failing_subjects(now).len(), MAX_LISTED_SUBJECTS);
}

#[test]
fn names_of_failing_subjects_have_a_limit_of_their_own() {
    let mut subjects = FailingSubjects::new(DEADLINE);
    let now = Instant::now();
    let long = "x".repeat(2_000);
    for number in 0..2 * MAX_NAME_BYTES / 2_000 {
        let subject = subject(&format!("{number}.{long}"));
        subjects.make_room(&subject);
        subjects.insert(&subject, now);
    }
    assert!(subjects.name_bytes <= MAX_NAME_BYTES);
    let (ages, circuits) = (subjects.by_age.len(), subjects.circuits.len());
    assert!(ages <= 2 * circuits + CANDIDATES, "{ages} {circuits}");
}

/// One short name was evicted for each long one, and the limit grew without end.
#[test]
fn long_names_after_short_ones_keep_the_limit() {
    let mut subjects = FailingSubjects::new(DEADLINE);
    let now = Instant::now();
    let short = "x".repeat(200);
    while subjects.name_bytes < MAX_NAME_BYTES - 1_000 {
        let number = subjects.circuits.len();
        subjects.insert(&subject(&format!("{number}.{short}")), now);
    }
    let long = "y".repeat(2_000);
    let mut evicted = 0;
    for number in 0..100 {
        let subject = subject(&format!("{number}.{long}"));
        evicted += subjects.make_room(&subject);
        subjects.insert(&subject, now);
        assert!(subjects.name_bytes <= MAX_NAME_BYTES);
    }
    assert!(evicted > 500, "{evicted}");
}

#[test]
fn recovery_of_a_subject_keeps_no_other_circuit_from_opening() {
    let now = Instant::now();
    let scopes = Scopes::new(now, DEADLINE);
    let (a, b) = (subject("a"), subject("b"));
    fail(&scopes, now, "b", Scope::Subject);
    let [failing, late] = [&a, &b].map(|subject| {
        let later = now + Duration::from_millis(100);
        scopes.admit(later, subject).unwrap()
    });
    assert!(late.is_probe());
    late.settle(now, &b, None);
    failing.settle(now, &a, Some(&PublishError::NoStream));
    assert_ne!(scopes.subject_state(&a, now), State::Connected);
}

#[test]
fn late_failure_does_not_open_the_circuit_of_its_recovered_subject() {
    let now = Instant::now();
    let scopes = Scopes::new(now, DEADLINE);
    let a = subject("a");
    let late = scopes.admit(now, &a).unwrap();
    fail(&scopes, now, "a", Scope::Subject);
    let due = now + Duration::from_millis(100);
    scopes.admit(due, &a).unwrap().settle(due, &a, None);
    late.settle(due, &a, Some(&PublishError::NoStream));
    assert_eq!(scopes.subject_state(&a, due), State::Connected);
    fail(&scopes, due, "a", Scope::Subject);
    assert_ne!(scopes.subject_state(&a, due), State::Connected);
}

#[test]
fn subjects_that_fail_and_recover_again_and_again_leave_no_entries() {
    let mut subjects = FailingSubjects::new(DEADLINE);
    let now = Instant::now();
    for number in 0..1_000 {
        let name = subject(&format!("s.{}", number % 10));
        subjects.insert(&name, now);
        subjects.remove(&name);
    }
    assert_eq!((subjects.circuits.len(), subjects.name_bytes), (0, 0));
    assert!(subjects.by_age.len() <= CANDIDATES + 2);
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The lines of the log from warnings on that a call makes.
fn warnings(call: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, call);
    let text = String::from_utf8(lock(&log.0).clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Each probe of an outage had a line: a day had hundreds, and a hundred failing subjects had 20 lines each 10 s.
#[test]
fn log_has_a_line_per_change_of_a_circuits_reason() {
    let now = Instant::now();
    let scopes = Scopes::new(now, DEADLINE);
    let hour = |hours: u64| now + Duration::from_secs(3_600 * hours);
    let fail = |hours, text: &str, error: PublishError| {
        let subject = subject(text);
        let admission = scopes.admit(hour(hours), &subject).unwrap();
        admission.settle(hour(hours), &subject, Some(&error));
    };
    let lines = warnings(|| {
        for hours in 0..20 {
            fail(hours, "a", PublishError::NoStream);
            fail(hours, "b", PublishError::PermissionDenied);
        }
        fail(20, "a", PublishError::PermissionDenied);
        fail(21, "a", PublishError::PermissionDenied);
        fail(22, "b", PublishError::PermissionDenied);
    });
    let of = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!(
        (of("circuit opened"), of("probe failed")),
        (2, 1),
        "{lines:?}"
    );

    let lines = warnings(|| {
        fail(23, "c", PublishError::ConnectionLost);
        for hours in 24..40 {
            scopes.fail_probe(hour(hours));
        }
        fail(41, "c", PublishError::NoStream);
        // The next outage has a line of its own.
        fail(42, "d", PublishError::ConnectionLost);
    });
    let of = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    let opened = of("circuit opened scope=broker");
    assert_eq!((opened, of("probe failed")), (2, 1), "{lines:?}");
}
