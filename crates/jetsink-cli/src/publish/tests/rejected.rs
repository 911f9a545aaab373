use super::*;

#[cfg(target_os = "linux")]
fn full() -> RejectedLines {
    RejectedLines::open(PathBuf::from("/dev/full")).unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn buffered_values_that_are_not_written_count_once_whatever_lines_they_have() {
    let mut rejected = full();
    rejected.write(b"{\n1\n}").unwrap();
    rejected.write(b"line").unwrap();
    assert!(rejected.flush().is_err());
    assert_eq!(rejected.not_kept(), 2);
}

#[test]
#[cfg(target_os = "linux")]
fn value_that_fits_no_buffer_counts_beside_the_buffered_ones() {
    let mut rejected = full();
    rejected.write(b"line").unwrap();
    assert!(rejected.write(&[b'x'; 10_000]).is_err());
    assert_eq!(rejected.not_kept(), 2);
}

#[test]
fn written_values_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rejected");
    let mut rejected = RejectedLines::open(path.clone()).unwrap();
    for line in [
        &b"a\nb"[..],
        &[b'x'; 5_000],
        &[b'y'; 5_000],
        &[b'z'; 10_000],
    ] {
        rejected.write(line).unwrap();
    }
    rejected.flush().unwrap();
    assert_eq!(rejected.not_kept(), 0);
    assert_eq!(std::fs::metadata(path).unwrap().len(), 4 + 20_003);
}
