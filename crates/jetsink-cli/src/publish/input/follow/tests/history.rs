//! Histories over folders that exist only here: a file is its content, a descriptor is a shared file.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::rc::Rc;

use super::super::generation::{AtEnd, Readable};
use super::*;
use crate::publish::input::decode::Form;
use crate::publish::input::follow::generation::Sighting;
use crate::publish::input::follow::identity::HEAD;
use crate::publish::input::follow::names::Stamp;
use crate::publish::input::follow::position::SavedTrack;

const BASE: &str = "ev.jsonl";
const WAIT: Time = Time::from_secs(1);

#[derive(Debug, Clone)]
struct FakeFile(Rc<RefCell<Vec<u8>>>);

impl Descriptor for FakeFile {
    fn length(&self) -> u64 {
        self.0.borrow().len() as u64
    }
}

impl FakeFile {
    fn new(content: &str) -> Self {
        Self(Rc::new(RefCell::new(content.into())))
    }

    fn start(&self) -> Vec<u8> {
        self.0.borrow().iter().take(HEAD).copied().collect()
    }
}

#[derive(Debug, Clone)]
struct Entry {
    name: String,
    inode: u64,
    file: FakeFile,
    form: Form,
    is_settled: bool,
}

/// A folder, a history that follows it, and the lines that a reader takes from it.
struct Model {
    entries: Vec<Entry>,
    history: History<FakeFile>,
    next_inode: u64,
    now: Time,
    lines: Vec<String>,
    /// The files that can't be opened.
    denied: Vec<FileId>,
}

impl Model {
    fn new() -> Self {
        Self {
            entries: Vec::new(),
            history: history(),
            next_inode: 1,
            now: Time::ZERO,
            lines: Vec::new(),
            denied: Vec::new(),
        }
    }

    fn create(&mut self, name: &str, content: &str) {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.entries.push(Entry {
            name: name.to_owned(),
            inode,
            file: FakeFile::new(content),
            form: Form::Plain,
            is_settled: true,
        });
        if name == BASE {
            self.history.created();
        }
    }

    fn at(&mut self, name: &str) -> &mut Entry {
        let entry = self.entries.iter_mut().find(|entry| entry.name == name);
        entry.unwrap()
    }

    fn append(&mut self, name: &str, content: &str) {
        let file = self.at(name).file.clone();
        file.0.borrow_mut().extend_from_slice(content.as_bytes());
    }

    fn rename(&mut self, name: &str, to: &str) {
        self.at(name).name = to.to_owned();
    }

    fn copy(&mut self, name: &str, to: &str) {
        let content = String::from_utf8(self.at(name).file.0.borrow().clone()).unwrap();
        self.create(to, &content);
    }

    fn compress(&mut self, name: &str) {
        let to = format!("{name}.gz");
        self.copy(name, &to);
        self.at(&to).form = Form::Gzip;
        self.remove(name);
    }

    fn truncate(&mut self, name: &str) {
        self.at(name).file.0.borrow_mut().clear();
    }

    fn remove(&mut self, name: &str) {
        self.entries.retain(|entry| entry.name != name);
    }

    fn scan(&mut self) {
        self.observe();
        // Time passes between two scans.
        self.now += Time::from_nanos(1);
        let mut found = Vec::new();
        self.history.begin_scan();
        for entry in self.entries.clone() {
            let id = id(entry.inode);
            let place = if entry.name == BASE {
                Place::Asked
            } else if let Some(stamp) = Stamp::of(OsStr::new(BASE), OsStr::new(&entry.name)) {
                let asked = false;
                Place::Rotated { stamp, asked }
            } else if self.history.is_sought(id) {
                Place::Elsewhere
            } else {
                continue;
            };
            let is_needed = self.history.needs(id, entry.file.length());
            if place == Place::Asked {
                self.history.seen_at_path(id, is_needed);
            }
            if !is_needed {
                self.history.seen(id, &place);
                continue;
            }
            if !self.denied.contains(&id) {
                found.push((!self.history.is_sought(id), entry, place));
            }
        }
        found.sort_by_key(|(is_new, entry, _)| {
            let is_known = self.history.knows_start(&entry.file.start());
            (*is_new, entry.form != Form::Plain && !is_known, entry.inode)
        });
        let mut is_incomplete = false;
        for (_, entry, place) in found {
            if !entry.is_settled && !self.history.knows_unread(&entry.file.start()) {
                is_incomplete = true;
                continue;
            }
            let sighting = Sighting {
                path: Path::new(&entry.name).into(),
                id: id(entry.inode),
                place,
                form: entry.form,
                length: Some(entry.file.length()),
                start: entry.file.start(),
                is_settled: true,
                file: entry.file,
            };
            self.history.sight(sighting, self.now);
        }
        let seen: Vec<FileId> = self.entries.iter().map(|entry| id(entry.inode)).collect();
        self.history.wait_for_files(is_incomplete);
        self.history.scanned(self.now, &seen, &self.denied);
        self.history.is_ready = true;
        if !is_incomplete {
            self.history.is_quiet();
        }
        self.observe();
    }

    fn observe(&mut self) {
        for (number, file) in self.history.observed() {
            let (length, start) = (file.length(), file.start());
            self.history.observe(number, length, start, self.now);
        }
    }

    /// Reads all lines that can be read now.
    fn read(&mut self) {
        while let Some(reading) = self.history.next(self.now) {
            let file = match &reading.source {
                Readable::File(file, _) | Readable::Fixed(file, _) => file.clone(),
            };
            let content = file.0.borrow().clone();
            let from = (reading.offset as usize).min(content.len());
            let rest = String::from_utf8(content[from..].to_vec()).unwrap();
            let (mut offset, mut line) = (reading.offset, reading.line);
            let mut sent = None;
            for text in rest
                .split_inclusive('\n')
                .filter(|text| text.ends_with('\n'))
            {
                offset += text.len() as u64;
                line += 1;
                if text != "\n" {
                    self.lines.push(text.trim_end_matches('\n').to_owned());
                    sent = Some((offset, line));
                }
            }
            let sent_end = sent.map(|(offset, _)| offset);
            self.history.read(reading.number, offset, line, sent_end);
            if let Some((offset, line)) = sent {
                self.history.settle(reading.number, offset, line);
            }
            match self.history.at_end(reading.number, self.now) {
                AtEnd::Wait => return,
                AtEnd::Finish | AtEnd::FinishCopy => self.history.finish(reading.number),
            }
        }
    }

    fn step(&mut self) {
        // The second one confirms that nothing older was missed.
        self.scan();
        self.scan();
        self.read();
    }

    fn wait(&mut self) {
        self.now += WAIT;
        self.step();
        self.step();
    }

    /// The run is killed, and another one begins.
    fn restart(&mut self) {
        let text = serde_json::to_string(&SavedTrack::of(&self.history)).unwrap();
        self.history = history();
        let saved: SavedTrack = serde_json::from_str(&text).unwrap();
        saved.restore(&mut self.history);
    }

    #[track_caller]
    fn assert_lines(&self, expected: &[&str]) {
        assert_eq!(self.lines, expected);
        assert_eq!(self.history.losses, []);
    }

    #[track_caller]
    fn take_loss(&mut self) -> Loss {
        assert_eq!(self.history.losses.len(), 1, "{:?}", self.history.losses);
        self.history.losses.remove(0)
    }
}

fn history() -> History<FakeFile> {
    let mut history = History::new(Path::new(BASE).into(), WAIT, || "name".into());
    history.is_saved = true;
    history
}

fn id(inode: u64) -> FileId {
    FileId {
        device: 1,
        inode,
        born: Some(inode),
    }
}

#[test]
fn generations_are_read_in_order_over_quick_renames() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.scan();
    for (generation, line) in ["b", "c", "d"].into_iter().enumerate() {
        model.rename(BASE, &format!("ev.jsonl.{generation}"));
        model.create(BASE, &format!("{line}\n"));
        model.scan();
    }
    for _ in 0..4 {
        model.wait();
    }
    model.assert_lines(&["a", "b", "c", "d"]);
}

#[test]
fn an_opened_file_is_read_after_it_was_removed() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.scan();
    model.remove(BASE);
    model.create(BASE, "b\n");
    model.scan();
    model.wait();
    model.wait();
    model.assert_lines(&["a", "b"]);
}

#[test]
fn late_lines_of_a_rotated_file_come_before_those_of_the_new_file() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.step();
    model.rename(BASE, "ev.jsonl.1");
    model.create(BASE, "");
    model.step();
    model.wait();
    model.append("ev.jsonl.1", "late\n");
    model.append(BASE, "b\n");
    model.step();
    model.now += WAIT / 2;
    model.append("ev.jsonl.1", "later\n");
    model.step();
    model.assert_lines(&["a", "late", "later"]);
    model.wait();
    model.assert_lines(&["a", "late", "later", "b"]);
    model.append("ev.jsonl.1", "latest\n");
    model.step();
    model.assert_lines(&["a", "late", "later", "b", "latest"]);
}

#[test]
fn files_that_were_rotated_before_the_first_run_are_not_read_in_any_form() {
    let mut model = Model::new();
    model.create("ev.jsonl.2", "x\n");
    model.create("ev.jsonl.1", "y\n");
    model.create(BASE, "a\n");
    model.step();
    model.compress("ev.jsonl.2");
    model.rename("ev.jsonl.1", "ev.jsonl.9");
    model.step();
    model.assert_lines(&["a"]);
    model.restart();
    model.step();
    model.assert_lines(&["a"]);
}

#[test]
fn the_rest_of_a_truncated_file_is_read_from_its_copy() {
    for restarts in [false, true] {
        let mut model = Model::new();
        model.create(BASE, "a\nb\n");
        model.step();
        model.append(BASE, "c\n");
        model.copy(BASE, "ev.jsonl.1");
        if !restarts {
            model.scan();
        }
        model.truncate(BASE);
        model.append(BASE, "new\n");
        if restarts {
            model.restart();
        }
        model.step();
        model.step();
        model.wait();
        model.assert_lines(&["a", "b", "c", "new"]);
        model.restart();
        model.step();
        model.assert_lines(&["a", "b", "c", "new"]);
    }
}

#[test]
fn a_copy_that_a_killed_run_has_seen_is_found_again() {
    for compressed in [false, true] {
        let mut model = Model::new();
        model.create(BASE, "a\n");
        model.step();
        model.append(BASE, "b\n");
        if compressed {
            model.rename(BASE, "ev.jsonl.1");
            model.create(BASE, "c\n");
            model.scan();
            model.compress("ev.jsonl.1");
        } else {
            model.copy(BASE, "ev.jsonl.1");
            model.scan();
            model.truncate(BASE);
            model.append(BASE, "c\n");
        }
        model.scan();
        model.restart();
        model.step();
        model.wait();
        model.assert_lines(&["a", "b", "c"]);
    }
}

#[test]
fn copies_of_a_stalled_reader_are_read_in_their_order() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.scan();
    for (number, line) in ["b", "c", "d"].into_iter().enumerate() {
        model.copy(BASE, &format!("ev-2026113000000{number}.jsonl"));
        model.truncate(BASE);
        model.scan();
        model.append(BASE, &format!("{line}\n"));
        model.scan();
    }
    model.wait();
    model.wait();
    model.assert_lines(&["a", "b", "c", "d"]);
}

#[test]
fn copies_that_a_stopped_run_did_not_see_are_read_in_their_order() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.step();
    for (number, line) in ["b", "c", "d"].into_iter().enumerate() {
        model.append(BASE, &format!("{line}\n"));
        model.copy(BASE, &format!("ev-2026113000000{number}.jsonl"));
        model.truncate(BASE);
    }
    model.append(BASE, "e\n");
    model.step();
    for _ in 0..4 {
        model.wait();
    }
    model.assert_lines(&["a", "b", "c", "d", "e"]);
}

#[test]
fn compressions_that_become_complete_in_any_order_are_read_in_theirs() {
    for complete_first in ["ev-20261102.jsonl.gz", "ev-20261103.jsonl.gz"] {
        let mut model = Model::new();
        model.create(BASE, "a\n");
        model.step();
        for (number, line) in ["b", "c", "d"].into_iter().enumerate() {
            let name = format!("ev-2026110{}.jsonl", number + 1);
            model.rename(BASE, &name);
            model.create(BASE, &format!("{line}\n"));
            model.compress(&name);
            model.at(&format!("{name}.gz")).is_settled = false;
            if line == "c" {
                continue; // stopped
            }
            model.step();
        }
        model.at("ev-20261101.jsonl.gz").is_settled = true;
        model.at(complete_first).is_settled = true;
        model.wait();
        for entry in &mut model.entries {
            entry.is_settled = true;
        }
        for _ in 0..4 {
            model.wait();
        }
        model.assert_lines(&["a", "b", "c", "d"]);
    }
}

#[test]
fn lines_of_content_that_was_truncated_unobserved_keep_their_copy() {
    let mut model = Model::new();
    model.create(BASE, "");
    model.step();
    let number = model.history.generations[0].number;
    // The reader has read the first line, and no scan observes it before the next content.
    model.append(BASE, "a\nb\n");
    model.copy(BASE, "ev.jsonl.1");
    model.truncate(BASE);
    model.append(BASE, "c\nd\ne\n");
    for observed_first in [true, false] {
        if observed_first {
            model.observe();
        }
        model.lines = vec!["a".to_owned()];
        model.history.read(number, 2, 1, Some(2));
        let now = model.now;
        model.history.read_start(number, b"a\n".to_vec(), now);
    }
    model.history.settle(number, 2, 1);
    for _ in 0..4 {
        model.wait();
    }
    model.assert_lines(&["a", "b", "c", "d", "e"]);
}

#[test]
fn the_first_content_of_an_empty_file_waits_for_copies_of_older_content() {
    let mut model = Model::new();
    model.create(BASE, "");
    model.step();
    model.append(BASE, "a\n");
    model.copy(BASE, "ev.jsonl.1");
    model.truncate(BASE);
    model.append(BASE, "b\n");
    model.observe();
    model.read();
    assert_eq!(model.lines, Vec::<String>::new());
    model.step();
    model.wait();
    model.assert_lines(&["a", "b"]);
}

#[test]
fn an_offset_without_a_known_beginning_is_no_position() {
    let mut model = Model::new();
    model.create(BASE, "");
    model.step();
    let number = model.history.generations[0].number;
    model.history.read(number, 2, 1, Some(2));
    model.history.settle(number, 2, 1);
    model.append(BASE, "c\nd\n");
    model.restart();
    model.step();
    model.wait();
    assert_eq!(model.lines, ["c", "d"]);
    assert_eq!(model.take_loss().reason, LossReason::Truncated { line: 1 });
}

#[test]
fn a_truncation_without_a_copy_is_a_loss_with_its_bytes() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.step();
    model.append(BASE, "bcd\n");
    model.scan();
    model.truncate(BASE);
    model.append(BASE, "e\n");
    model.step();
    model.wait();
    let loss = model.take_loss();
    assert_eq!(loss.reason, LossReason::Truncated { line: 1 });
    assert_eq!(loss.bytes, Some(4));
    model.assert_lines(&["a", "e"]);
}

#[test]
fn a_copy_that_is_too_short_is_a_loss() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.step();
    model.append(BASE, "b\n");
    model.copy(BASE, "ev.jsonl.1");
    model.append(BASE, "c\n");
    model.scan();
    model.truncate(BASE);
    model.step();
    model.step();
    let loss = model.take_loss();
    assert_eq!(loss.reason, LossReason::ShortCopy { line: 2 });
    assert_eq!(loss.bytes, Some(2));
    model.assert_lines(&["a", "b"]);
}

#[test]
fn a_file_that_was_removed_before_it_was_opened_is_counted() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.step();
    for _ in 0..2 {
        model.remove(BASE);
        model.create(BASE, "lost\n");
    }
    model.remove(BASE);
    model.create(BASE, "b\n");
    model.step();
    let loss = model.take_loss();
    assert_eq!((loss.files, loss.reason), (2, LossReason::Missed));
    model.wait();
    model.assert_lines(&["a", "b"]);
}

#[test]
fn files_that_were_rotated_and_compressed_unseen_are_read_in_their_order() {
    for restarts in [false, true] {
        let mut model = Model::new();
        model.create(BASE, "a\n");
        model.step();
        model.append(BASE, "a2\n");
        for line in ["b", "c", "d", "e"] {
            for number in (1..4).rev() {
                for suffix in ["", ".gz"] {
                    let name = format!("ev.jsonl.{number}{suffix}");
                    if model.entries.iter().any(|entry| entry.name == name) {
                        model.rename(&name, &format!("ev.jsonl.{}{suffix}", number + 1));
                    }
                }
            }
            model.rename(BASE, "ev.jsonl.1");
            model.create(BASE, &format!("{line}\n"));
        }
        for number in 2..5 {
            model.compress(&format!("ev.jsonl.{number}"));
        }
        if restarts {
            model.restart();
        }
        model.step();
        for _ in 0..4 {
            model.wait();
        }
        model.assert_lines(&["a", "a2", "b", "c", "d", "e"]);
    }
}

#[test]
fn a_compression_from_before_the_run_is_older_than_all_that_the_run_opened() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.step();
    model.rename(BASE, "ev-20261101.jsonl");
    model.create(BASE, "b\n");
    model.rename(BASE, "ev-20261102.jsonl");
    model.create(BASE, "c\n");
    model.restart();
    // Nothing else is found by the first scan.
    let unseen = model.entries.remove(1);
    model.scan();
    model.remove(BASE);
    model.create(BASE, "d\n");
    model.scan();
    model.entries.push(unseen);
    model.compress("ev-20261102.jsonl");
    for _ in 0..4 {
        model.wait();
    }
    model.assert_lines(&["a", "b", "c", "d"]);
}

#[test]
fn a_compressed_copy_of_a_read_file_is_not_read_again() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.step();
    model.rename(BASE, "ev.jsonl.1");
    model.create(BASE, "b\n");
    model.step();
    model.wait();
    model.compress("ev.jsonl.1");
    model.step();
    model.restart();
    model.step();
    model.rename("ev.jsonl.1.gz", "ev.jsonl.2.gz");
    model.append(BASE, "c\n");
    model.step();
    model.assert_lines(&["a", "b", "c"]);
}

#[test]
fn a_run_resumes_in_the_same_file_under_any_name() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.step();
    model.append(BASE, "b\n");
    model.rename(BASE, "archive of today");
    model.create(BASE, "c\n");
    model.restart();
    model.step();
    model.wait();
    model.assert_lines(&["a", "b", "c"]);
}

#[test]
fn a_file_that_is_gone_at_the_start_is_a_loss_unless_it_was_read() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.step();
    model.rename(BASE, "ev.jsonl.1");
    model.create(BASE, "b\n");
    model.step();
    model.wait();
    model.remove("ev.jsonl.1");
    model.remove(BASE);
    model.create(BASE, "c\n");
    model.restart();
    model.step();
    let loss = model.take_loss();
    assert_eq!(loss.reason, LossReason::Gone { line: 1 });
    assert_eq!(loss.bytes, None);
    model.assert_lines(&["a", "b", "c"]);
}

#[test]
fn files_that_were_opened_by_a_killed_run_and_are_gone_are_losses_with_their_bytes() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.step();
    model.append(BASE, "unread\n");
    model.scan();
    model.remove(BASE);
    model.create(BASE, "b\n");
    model.scan();
    model.restart();
    model.step();
    let loss = model.take_loss();
    assert_eq!(loss.bytes, Some(7));
    model.assert_lines(&["a", "b"]);
}

#[test]
fn a_file_that_was_empty_when_a_run_ended_is_no_loss_if_it_is_compressed_by_now() {
    for removed in [false, true] {
        let mut model = Model::new();
        model.create(BASE, "a\n");
        model.step();
        model.rename(BASE, "ev.jsonl.1");
        model.create(BASE, "");
        model.step();
        model.append(BASE, "b\n");
        model.rename(BASE, "ev.jsonl.0");
        model.compress("ev.jsonl.0");
        model.create(BASE, "c\n");
        if removed {
            model.remove("ev.jsonl.0.gz");
        }
        model.restart();
        model.step();
        for _ in 0..3 {
            model.wait();
        }
        if removed {
            let loss = model.take_loss();
            assert_eq!(loss.reason, LossReason::Gone { line: 0 });
            model.assert_lines(&["a", "c"]);
        } else {
            model.assert_lines(&["a", "b", "c"]);
        }
    }
}

#[test]
fn a_copy_of_any_length_is_recognised_at_the_start() {
    for line in ["x", &"long ".repeat(1_000)] {
        let mut model = Model::new();
        model.create(BASE, &format!("{line}\n"));
        model.step();
        model.copy(BASE, "elsewhere");
        model.remove(BASE);
        model.rename("elsewhere", BASE);
        model.append(BASE, "b\n");
        model.restart();
        model.step();
        model.assert_lines(&[line, "b"]);
    }
}

#[test]
fn a_run_that_is_killed_before_its_first_line_leaves_rotated_files_to_the_next() {
    let mut model = Model::new();
    model.create("ev.jsonl.9", "older\n");
    model.scan();
    model.create(BASE, "a\n");
    model.rename(BASE, "ev.jsonl.1");
    model.create(BASE, "b\n");
    model.restart();
    model.step();
    model.wait();
    model.assert_lines(&["a", "b"]);
}

#[test]
fn equal_content_in_a_new_file_is_read() {
    let mut model = Model::new();
    model.create(BASE, "same\n");
    model.step();
    model.rename(BASE, "ev.jsonl.1");
    model.create(BASE, "same\n");
    model.step();
    model.wait();
    model.assert_lines(&["same", "same"]);
}

#[test]
fn a_known_file_that_is_moved_back_is_no_loss() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.step();
    model.rename(BASE, "ev.jsonl.1");
    model.create(BASE, "");
    model.step();
    model.remove(BASE);
    model.rename("ev.jsonl.1", BASE);
    model.history.created();
    model.step();
    model.append(BASE, "b\n");
    model.step();
    model.assert_lines(&["a", "b"]);
}

#[test]
fn an_overflow_of_notifications_is_reported() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.step();
    model.history.overflowed();
    assert_eq!(model.take_loss().reason, LossReason::Overflow);
}

#[test]
fn empty_lines_at_the_end_of_a_file_need_no_results() {
    for rotated_first in [true, false] {
        let mut model = Model::new();
        model.create(BASE, "a\n\n");
        model.step();
        if rotated_first {
            model.rename(BASE, "ev.jsonl.1");
            model.create(BASE, "b\n");
            model.step();
            model.wait();
            model.remove("ev.jsonl.1");
        }
        model.restart();
        model.step();
        let expected: &[&str] = if rotated_first { &["a", "b"] } else { &["a"] };
        model.assert_lines(expected);
        // The file was read to its end.
        assert!(
            model
                .history
                .generations
                .iter()
                .all(|g| g.length == g.offset)
        );
    }
}

#[test]
fn generations_that_end_with_an_empty_line_are_forgotten_in_time() {
    let mut model = Model::new();
    for _ in 0..MAX_REMEMBERED + 3 {
        model.create(BASE, "a\n\n");
        model.step();
        model.remove(BASE);
    }
    model.create(BASE, "b\n");
    model.step();
    model.wait();
    model.step();
    let remembered = model.history.generations.len();
    assert!(remembered <= MAX_REMEMBERED, "{remembered}");
}

#[test]
fn file_that_can_not_be_opened_at_the_start_holds_up_no_other_and_is_read_when_it_can_be() {
    let mut model = Model::new();
    model.create(BASE, "a\n");
    model.step();
    model.append(BASE, "b\n");
    model.rename(BASE, "ev.jsonl.1");
    model.create(BASE, "c\n");
    model.restart();
    model.denied = vec![id(1)];
    for _ in 0..2 {
        model.step();
        assert_eq!(model.lines, ["a", "c"]);
    }
    // The position of its unread lines is kept over a restart.
    model.restart();
    model.step();
    model.denied.clear();
    model.step();
    assert_eq!(model.lines, ["a", "c", "b"]);
    assert_eq!(model.history.losses, []);
}
