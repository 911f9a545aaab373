//! The trials: the test of each, its counts, and the meaning of a pass.

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) name: &'static str,
    /// The meaning of a pass.
    pub(crate) passes: &'static str,
    pub(crate) test: Test,
    /// The count of a full run.
    pub(crate) full: u64,
    /// The count with `--quick`.
    pub(crate) quick: u64,
    pub(crate) counts: Counts,
    /// The number of processes that share it: more than one if it spends most of its time waiting.
    pub(crate) processes: u64,
}

/// The test of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) package: &'static str,
    /// The file under `tests/`; `None` for a test of the library.
    pub(crate) file: Option<&'static str>,
    /// Its path; `None` for all tests of the file.
    pub(crate) path: Option<&'static str>,
    /// Features beside the default ones.
    pub(crate) features: &'static [&'static str],
}

/// The things that a count counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    /// Random cases: their number bounds the rate of failure.
    Random(&'static str),
    /// Seconds, outages or subjects, which bound no rate.
    Amount(&'static str),
    /// Every case.
    All(&'static str),
    /// The tests of a file, once each. They print no `trial` line.
    Tests(&'static str),
}

impl Counts {
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Random(unit) | Self::Amount(unit) | Self::All(unit) | Self::Tests(unit) => unit,
        }
    }
}

const fn unit_test(path: &'static str) -> Test {
    Test {
        package: "jetsink",
        file: None,
        path: Some(path),
        features: &[],
    }
}

/// The tests of a file of the engine.
const fn file(name: &'static str) -> Test {
    Test {
        package: "jetsink",
        file: Some(name),
        path: None,
        features: &[],
    }
}

pub(crate) const TRIALS: &[Trial] = &[
    Trial {
        name: "circuit-model",
        passes: "histories of up to 200 steps agree with a plain circuit that shares no code: same verdicts, one probe at a time, outcomes of another epoch ignored, a dropped admission blocks nothing",
        test: unit_test(
            "tests::trials::circuit_histories::every_history_matches_the_plain_circuit",
        ),
        full: 200_000,
        quick: 50_000,
        counts: Counts::Random("histories"),
        processes: 1,
    },
    Trial {
        name: "circuit-states",
        passes: "each step from each reachable state of a circuit with four callers agrees with the plain one",
        test: unit_test(
            "tests::trials::circuit_states::every_reachable_state_matches_the_plain_circuit",
        ),
        full: 0,
        quick: 0,
        counts: Counts::All("states"),
        processes: 1,
    },
    Trial {
        name: "scopes",
        passes: "histories of up to 200 steps of the broker's circuit and three subjects': one probe of the broker at a time; a dropped admission blocks neither scope",
        test: unit_test(
            "tests::trials::scope_histories::no_dropped_admission_wedges_the_broker_or_a_subject",
        ),
        full: 200_000,
        quick: 20_000,
        counts: Counts::Random("histories"),
        processes: 1,
    },
    Trial {
        name: "connection",
        passes: "histories of connections, publishes and answers agree with a plain list: nothing is sent without a connection or over a closed one; each publish gets its own answer or fails with its connection; nothing is left over",
        test: unit_test(
            "nats::answers_trial::random_histories_match_a_plain_list_of_pending_answers",
        ),
        full: 200_000,
        quick: 20_000,
        counts: Counts::Random("histories"),
        processes: 1,
    },
    Trial {
        name: "interleavings",
        passes: "loom: probes race, a trip against a success, a drop against a failure, a shutdown against an emit; all interleavings (with three threads of two steps: up to three preemptions)",
        test: file("circuit_loom"),
        full: 1,
        quick: 1,
        counts: Counts::Tests("models"),
        processes: 1,
    },
    Trial {
        name: "retry",
        passes: "attempts, waits, message id and deadline follow the script to the millisecond; no wait overflows",
        test: unit_test("tests::trials::retries::attempts_waits_and_deadline_match_the_script"),
        full: 200_000,
        quick: 20_000,
        counts: Counts::Random("emits"),
        processes: 1,
    },
    Trial {
        name: "fuzz-event-lines",
        passes: "lines that are almost events: no panic, memory by length, tenant and subject agree with a plain reader, both readers agree",
        test: unit_test(
            "tests::trials::fuzz::event_lines::no_line_panics_and_an_event_goes_where_a_plain_reading_sends_it",
        ),
        full: 1_000_000,
        quick: 50_000,
        counts: Counts::Random("lines"),
        processes: 1,
    },
    Trial {
        name: "fuzz-templates",
        passes: "subject templates and their values: no panic, and never another level, wildcard or tenant",
        test: unit_test(
            "tests::trials::fuzz::subjects::no_template_panics_and_nothing_filled_in_adds_a_level",
        ),
        full: 1_000_000,
        quick: 50_000,
        counts: Counts::Random("templates"),
        processes: 1,
    },
    Trial {
        name: "fuzz-tenants",
        passes: "tenant ids: one token or refused, by a plain rule; encoded ids decode to the same",
        test: unit_test("tests::trials::fuzz::subjects::a_tenant_id_is_one_token_or_refused"),
        full: 1_000_000,
        quick: 50_000,
        counts: Counts::Random("ids"),
        processes: 1,
    },
    Trial {
        name: "fuzz-server-urls",
        passes: "server URLs: no panic, and no password in settings, addresses or errors",
        test: unit_test("tests::trials::fuzz::server_urls::no_url_panics_or_shows_its_password"),
        full: 1_000_000,
        quick: 50_000,
        counts: Counts::Random("URLs"),
        processes: 1,
    },
    Trial {
        name: "fuzz-settings",
        passes: "contexts and variables of the nats command, settings of sink and spool: no panic, no secret shown, ranges kept",
        test: unit_test("tests::trials::fuzz::settings::no_setting_panics_or_shows_a_secret"),
        full: 1_000_000,
        quick: 50_000,
        counts: Counts::Random("settings"),
        processes: 1,
    },
    Trial {
        name: "fuzz-spool-records",
        passes: "records and dead letters of a spool, behind right and wrong checksums: no panic, memory by length, nothing invented",
        test: unit_test(
            "spool::log::tests::fuzz::record_of_any_bytes_is_refused_or_is_what_was_written",
        ),
        full: 1_000_000,
        quick: 50_000,
        counts: Counts::Random("records"),
        processes: 1,
    },
    Trial {
        name: "spool-cuts",
        passes: "each segment of a spool that was killed at rest cut at every byte: everything before the cut is delivered, the rest is counted, also over a second opening",
        test: unit_test(
            "spool::log::tests::damage::a_cut_at_any_byte_loses_only_what_is_cut_off_and_counts_it",
        ),
        full: 10_000_000,
        quick: 2_000,
        counts: Counts::All("lengths"),
        processes: 1,
    },
    Trial {
        name: "spool-flips",
        passes: "one bit flipped anywhere in a spool that was killed at rest or not, with 1, 16 and 256 events per group, and events of 200 kB: at most that record is lost, and it is counted",
        test: unit_test(
            "spool::log::tests::damage::a_flipped_bit_costs_at_most_its_record_and_is_counted",
        ),
        full: 100_000,
        quick: 1_000,
        counts: Counts::Random("files"),
        processes: 1,
    },
    Trial {
        name: "spool-log-restarts",
        passes: "closings and kills with events that wait, leave, die and are revived: everything is there, and nothing is reported damaged",
        test: unit_test(
            "spool::log::tests::histories::everything_is_there_after_restarts_and_kills",
        ),
        full: 5_000,
        quick: 200,
        counts: Counts::Random("histories"),
        processes: 1,
    },
    Trial {
        name: "spool-log-failing-calls",
        passes: "calls of the log to its disk fail (EIO, ENOSPC, half a write; once and for good), then a kill or a power cut: errors are true, a failed sync is never trusted",
        test: unit_test("spool::log::tests::histories::errors_are_true_when_any_call_fails"),
        full: 20_000,
        quick: 300,
        counts: Counts::Random("histories"),
        processes: 1,
    },
    Trial {
        name: "spool-log-power-cuts",
        passes: "power cuts at random calls, also while the log opens; unsynced writes and renames kept, lost, torn or reordered: no acknowledged event is lost, and no damage is reported",
        test: unit_test(
            "spool::log::tests::histories::a_power_cut_loses_nothing_that_was_acknowledged",
        ),
        full: 20_000,
        quick: 300,
        counts: Counts::Random("histories"),
        processes: 1,
    },
    Trial {
        name: "spool-log-full-disk",
        passes: "a disk that is filled and drained ten times: each time it takes as much as the first time, and a closed empty spool has no files",
        test: unit_test(
            "spool::log::tests::histories::a_full_disk_refuses_events_and_takes_as_many_again_once_it_was_drained",
        ),
        full: 100,
        quick: 3,
        counts: Counts::Random("histories"),
        processes: 1,
    },
    Trial {
        name: "spool-failing-calls",
        passes: "each call of the spool's store to its disk in six histories fails in turn, in six ways where it has as many (EIO, ENOSPC, half a write; once and for good): what was acknowledged is there, what was refused is not",
        test: unit_test("spool::tests::failing_calls::errors_are_true_whichever_call_fails"),
        full: 1_000_000,
        quick: 500,
        counts: Counts::All("sites"),
        processes: 1,
    },
    Trial {
        name: "spool-power-cuts",
        passes: "power cut at a random step, three times in a row; writes since the last sync kept, lost, torn by sectors or reordered: every event with Ok is present",
        test: unit_test(
            "spool::tests::power::power_cut_at_any_step_loses_no_event_that_was_acknowledged",
        ),
        full: 10_000,
        quick: 500,
        counts: Counts::Random("histories"),
        processes: 1,
    },
    Trial {
        name: "sink-flips",
        passes: "one bit flipped anywhere in the files of a killed process, with 1, 16 and 256 events at a time of 600 and 200,000 bytes: a sink stores each event or counts it as damaged, and at most one is missing",
        test: Test {
            path: Some("a_flipped_bit_costs_at_most_its_event_which_is_counted"),
            ..file("trial_spool_damage")
        },
        full: 10_000,
        quick: 500,
        counts: Counts::Random("files"),
        processes: 1,
    },
    Trial {
        name: "sink-cuts",
        passes: "the files of a killed process cut at every byte: a sink stores each event before the cut and counts the others",
        test: Test {
            path: Some("a_cut_at_any_byte_costs_only_the_events_behind_it_which_are_counted"),
            ..file("trial_spool_damage")
        },
        full: 10_000_000,
        quick: 500,
        counts: Counts::All("lengths"),
        processes: 1,
    },
    Trial {
        name: "sink-zeroed-pages",
        passes: "each page of the files of killed processes zeroed in turn: a sink stores each event outside the page and counts the others",
        test: Test {
            path: Some("a_zeroed_page_costs_only_the_events_on_it_which_are_counted"),
            ..file("trial_spool_damage")
        },
        full: 10_000_000,
        quick: 300,
        counts: Counts::All("pages"),
        processes: 1,
    },
    Trial {
        name: "spool-owners",
        passes: "two to four processes read, salvage, deliver and fill one spool, healthy or damaged, some of them killed: one owner at a time, the others refused with its path, no event lost or stored twice",
        test: Test {
            package: "jetsink-cli",
            path: Some("several_processes_on_one_spool_lose_nothing"),
            ..file("trial_spool_owners")
        },
        full: 1_000,
        quick: 40,
        counts: Counts::Random("rounds"),
        processes: 2,
    },
    Trial {
        name: "full-disk",
        passes: "one sink over a file system of 24 MiB (ext4 as root, and tmpfs), filled in an outage and delivered, over and over: each outage spools as much as the first, nothing acknowledged is lost, nothing refused is stored",
        test: Test {
            path: Some("each_outage_spools_as_much_as_the_first_on_a_small_file_system"),
            ..file("trial_full_disk")
        },
        full: 10,
        quick: 3,
        counts: Counts::Amount("outages"),
        processes: 1,
    },
    Trial {
        name: "tenants",
        passes: "a replay of many tenants killed half-way: the first event is stored within 2 s of the next start, the whole takes at most 1.5 times the plain replay, each event once",
        test: Test {
            path: Some("tenants_are_served_soon_after_their_replay_was_killed"),
            ..file("trial_spool_subjects")
        },
        full: 100_000,
        quick: 5_000,
        counts: Counts::Amount("tenants"),
        processes: 1,
    },
    Trial {
        name: "silent-subjects",
        passes: "subjects whose stream does not answer, beside a healthy stream, after a killed replay: the healthy stream's events are stored within 2 s",
        test: Test {
            path: Some("silent_stream_delays_no_other_stream"),
            ..file("trial_spool_subjects")
        },
        full: 640,
        quick: 640,
        counts: Counts::Amount("subjects"),
        processes: 1,
    },
    Trial {
        name: "whole-sink",
        passes: "an hour of the whole sink in virtual time, with a scripted broker (acks lost, late, doubled; frozen, cut off, full, leaderless), a disk that fails, processes killed and power cut: every event with Ok is stored once in order or a dead letter, no event with an error is, no single emit exceeds its deadline, drained within 10 minutes of the last fault",
        test: unit_test(
            "tests::trials::sink_hours::an_hour_of_faults_loses_no_acknowledged_event_and_ends_drained",
        ),
        full: 5_000,
        quick: 60,
        counts: Counts::Random("hours"),
        processes: 1,
    },
    Trial {
        name: "kills",
        passes: "a process that emits into a spool is killed with SIGKILL at random moments while a real broker is killed, restarted, frozen and thawed: each event with Ok is stored once, in order",
        test: Test {
            package: "jetsink",
            file: Some("spool_crashes"),
            path: Some("process_killed_at_random_loses_no_acknowledged_event"),
            features: &[],
        },
        full: 1_000,
        quick: 100,
        counts: Counts::Random("kills"),
        processes: 2,
    },
    Trial {
        name: "crashes",
        passes: "the command follows a file into a spool and is ended while it appends, replays and closes, half of the times at named points, its broker killed and frozen meanwhile: each line stored once, in order",
        test: Test {
            package: "jetsink-cli",
            file: Some("trial_crashes"),
            path: None,
            features: &["crash-points"],
        },
        full: 1_000,
        quick: 40,
        counts: Counts::Random("ends"),
        processes: 2,
    },
    Trial {
        name: "gateway-crashes",
        passes: "the gateway with a spool is killed under load while its broker is killed and frozen, and its clients retry: each event stored once, in order per client, no answer after its deadline",
        test: Test {
            package: "jetsink-cli",
            file: Some("trial_serve"),
            path: None,
            features: &[],
        },
        full: 100,
        quick: 8,
        counts: Counts::Random("ends"),
        processes: 1,
    },
    Trial {
        name: "gateway-requests",
        passes: "requests with random damage: the gateway answers on, stores only valid events, each that it accepted, and forwards no other header",
        test: Test {
            package: "jetsink-serve",
            file: Some("trial_requests"),
            path: None,
            features: &[],
        },
        full: 100_000,
        quick: 2_000,
        counts: Counts::Random("requests"),
        processes: 1,
    },
    Trial {
        name: "rotations",
        passes: "the command follows a log of up to 20,000 lines a second that is rotated every 0.05 to 2 s (renamed, with late writers, compressed, removed, copytruncate) while it is stalled or killed and its broker is away: each line stored once, in order, or its loss reported",
        test: Test {
            package: "jetsink-cli",
            file: Some("trial_rotations"),
            path: None,
            features: &[],
        },
        full: 100,
        quick: 8,
        counts: Counts::Random("histories"),
        processes: 2,
    },
    Trial {
        name: "faults-of-one-server",
        passes: "kills, freezes, partitions (reset, black hole, one way, slow), streams deleted and full, under load, with and without a spool: none lost, doubled, out of order or unexpected; no emit takes 3.5 s (its deadline is 2 s, and the machine is busy)",
        test: file("trial_faults"),
        full: 260,
        quick: 10,
        counts: Counts::Random("rounds"),
        processes: 2,
    },
    Trial {
        name: "faults-of-a-cluster",
        passes: "the same with three servers: leader killed, cut off, isolated, lame duck, rolling restart, all cut off, quorum lost",
        test: file("trial_cluster"),
        full: 60,
        quick: 2,
        counts: Counts::Random("rounds"),
        processes: 2,
    },
    Trial {
        name: "soak",
        passes: "a fault 5 s after each recovery: no descriptor, thread or task more than in the first rounds, which warm up, memory within 5 %",
        test: file("trial_soak"),
        full: 300,
        quick: 0,
        counts: Counts::Amount("seconds"),
        processes: 1,
    },
];
