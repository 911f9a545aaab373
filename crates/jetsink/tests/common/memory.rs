//! How much memory this process holds, and a process in which that means something.

/// With an arena for each thread glibc keeps some 2 to 9 MiB more, now in one and then in another: that
/// is no growth, and would hide some.
const ONE_ARENA: (&str, &str) = ("MALLOC_ARENA_MAX", "1");

/// The system gets each freed block of this size back at once. By default the limit rises with the freed blocks.
const LARGE_BLOCKS: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "65536");

/// Resident memory, in KiB.
pub fn resident() -> u64 {
    of_status("VmRSS:")
}

/// The most resident memory since [`reset_peak`], in KiB.
pub fn peak() -> u64 {
    of_status("VmHWM:")
}

/// Lets [`peak`] begin with the resident memory of now, and returns that.
pub fn reset_peak() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    resident()
}

fn of_status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// Runs one test of this file alone in a process with one memory arena; the variable marks the child.
///
/// # Panics
/// If the test fails.
pub fn run_in_a_child(test: &str, variable: &str) {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(variable, "1")
        .envs([ONE_ARENA, LARGE_BLOCKS])
        .status()
        .unwrap();
    assert!(child.success(), "{child}; what it saw is above");
}
