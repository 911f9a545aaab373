//! Decides on a file that a scan has opened: a new generation, one of an earlier run, a copy, or of no interest.

use super::generation::{Descriptor, Generation, Place, Sighting, Source, Time};
use super::history::{History, Other};
use super::identity::Head;
use super::names::Stamp;
use crate::publish::input::decode::Form;

impl<F: Descriptor> History<F> {
    /// Adds a file that [`needs`](Self::needs) named. Returns `false` if it has to be sighted again later.
    pub(super) fn sight(&mut self, sighting: Sighting<F>, now: Time) -> bool {
        let Some(sighting) = self.resume_by_identity(sighting, now) else {
            return true;
        };
        match &sighting.place {
            Place::Elsewhere => true,
            Place::Asked => {
                match self.sought_copy(&sighting) {
                    Some(index) => self.resume(index, sighting, now),
                    None => self.append(sighting, now),
                }
                true
            }
            Place::Rotated { .. } => self.sight_rotated(sighting, now),
        }
    }

    fn sight_rotated(&mut self, sighting: Sighting<F>, now: Time) -> bool {
        let Place::Rotated { stamp, asked } = &sighting.place else {
            return true;
        };
        let is_first_run = self.is_first_run();
        let is_older = self.read_before.is_some_and(|born| {
            sighting.form != Form::Plain || sighting.id.born.is_none_or(|other| other <= born)
        });
        if let Some(index) = self.sought_copy(&sighting) {
            self.resume(index, sighting, now);
        } else if (is_first_run && !asked) || (self.scans == 0 && is_older) {
            self.remember(&sighting, None);
        } else if let Some(index) = self.copied(&sighting) {
            let number = self.generations[index].number;
            self.remember(&sighting, Some(number));
            let generation = &mut self.generations[index];
            generation.stamp = Some(stamp.clone());
            generation.copies.push((sighting.file, sighting.form));
        } else if self.is_copy_of_finished(&sighting) {
            self.remember(&sighting, None);
        } else if !sighting.is_settled && self.may_become_copy(&sighting) {
            return false;
        } else {
            let stamp = stamp.clone();
            let index = self.place_of(&sighting, &stamp);
            self.taken_for_blank += u64::from(self.scans == 0);
            let generation = self.adopt(sighting, now);
            self.generations.insert(index, generation);
        }
        true
    }

    /// Takes up a generation of an earlier run in its own file, or a finished one that has grown.
    fn resume_by_identity(&mut self, sighting: Sighting<F>, now: Time) -> Option<Sighting<F>> {
        let is_its = |g: &Generation<F>| {
            (g.is_sought() && g.id.may_be(sighting.id)) || (g.is_finished && g.id == sighting.id)
        };
        let has_content = |g: &Generation<F>| {
            let is_long_enough = sighting.length.is_none_or(|length| length >= g.offset);
            // Without a known beginning an offset means nothing.
            let is_known = g.offset == 0 || !g.head.is_empty();
            is_known && g.head.is_start_of(&sighting.start) && is_long_enough
        };
        let indices = 0..self.generations.len();
        let mut its = indices.rev().filter(|i| is_its(&self.generations[*i]));
        let Some(first) = its.next() else {
            return Some(sighting);
        };
        let mut its = std::iter::once(first).chain(its);
        if let Some(index) = its.find(|index| has_content(&self.generations[*index])) {
            self.resume(index, sighting, now);
            return None;
        }
        // Truncated and written anew since.
        for generation in &mut self.generations {
            if generation.is_sought() && generation.id.may_be(sighting.id) {
                generation.set_source(Source::Truncated { since: now });
            }
        }
        Some(sighting)
    }

    /// The generation without a source that a file contains.
    fn sought_copy(&self, sighting: &Sighting<F>) -> Option<usize> {
        self.generations.iter().position(|generation| {
            // After the first scan a generation in a file that can't be opened is still sought, by its identity only.
            let is_without_file =
                matches!(generation.source, Source::Sought | Source::Truncated { .. });
            let is_sought = is_without_file && self.scans == 0;
            is_sought && generation.is_copied_to(&sighting.start, sighting.length)
        })
    }

    fn resume(&mut self, index: usize, sighting: Sighting<F>, now: Time) {
        let generation = &mut self.generations[index];
        generation.path = sighting.path;
        generation.head = Head::Bytes(sighting.start);
        generation.set_place(&sighting.place);
        generation.is_compressed = sighting.form != Form::Plain;
        let may_grow = generation.id.may_be(sighting.id) || sighting.place == Place::Asked;
        generation.id = sighting.id;
        let length = sighting.length.unwrap_or(0);
        generation.observe_length(length, now);
        generation.filled = (length > 0).then_some(now);
        if generation.is_finished && !generation.has_grown(length) {
            generation.source = Source::Closed;
            return;
        }
        generation.is_finished = false;
        generation.set_source(match sighting.form {
            Form::Plain if may_grow => Source::File(sighting.file),
            form => Source::Fixed(sighting.file, form),
        });
    }

    /// The unfinished generation that a file is a copy of: one that was truncated, else any.
    fn copied(&self, sighting: &Sighting<F>) -> Option<usize> {
        let matching = |g: &Generation<F>| !g.is_finished && g.head.matches(&sighting.start);
        let truncated =
            |g: &Generation<F>| matches!(g.source, Source::Truncated { .. }) && g.copies.is_empty();
        let generations = self.generations.iter();
        let first = generations
            .clone()
            .position(|g| truncated(g) && matching(g));
        first.or_else(|| generations.clone().position(matching))
    }

    fn is_copy_of_finished(&self, sighting: &Sighting<F>) -> bool {
        let (start, length) = (&sighting.start, sighting.length);
        let mut generations = self.generations.iter();
        generations.any(|g| g.is_finished && g.is_copied_to(start, length))
            || self.others.iter().any(|other| {
                let is_length = other.length.is_none() || other.length == length;
                other.head.matches(start) && is_length
            })
    }

    /// Whether a file that is still being written can be a copy later.
    fn may_become_copy(&self, sighting: &Sighting<F>) -> bool {
        if sighting.start.is_empty() {
            // A generation that nothing was written to is none that a copy is made of.
            return self.unopened <= 0;
        }
        self.knows_start(&sighting.start)
    }

    fn remember(&mut self, sighting: &Sighting<F>, copy_of: Option<u64>) {
        self.others.push(Other {
            id: sighting.id,
            head: Head::Bytes(sighting.start.clone()),
            length: sighting.length,
            copy_of,
        });
    }

    /// The index for a generation that was missed: by birth; a compressed one, whose birth is that of the
    /// compression, by its name.
    fn place_of(&self, sighting: &Sighting<F>, stamp: &Stamp) -> usize {
        let is_older = |other: &Generation<F>| {
            if other.is_at_path {
                // The youngest, also if the file is older than the copies of its content.
                return true;
            }
            let by_birth = !other.is_compressed && sighting.form == Form::Plain;
            match (&other.stamp, sighting.id.born, other.id.born) {
                (_, Some(born), Some(other)) if by_birth => born < other,
                (Some(other), ..) => stamp.by_age(other).is_some_and(|order| order.is_lt()),
                // A file that no notification announced was rotated before this run.
                (None, ..) => other.was_at_path && self.unopened <= 0,
            }
        };
        let unread = self.generations.iter().position(|g| !g.is_finished);
        let unread = unread.unwrap_or(self.generations.len());
        let mut younger = self.generations.iter().skip(unread);
        let older = younger.position(is_older);
        older.map_or(self.generations.len(), |older| unread + older)
    }

    fn append(&mut self, sighting: Sighting<F>, now: Time) {
        let generation = self.adopt(sighting, now);
        self.generations.push_back(generation);
    }

    fn adopt(&mut self, sighting: Sighting<F>, now: Time) -> Generation<F> {
        if self.scans > 0 {
            self.unopened -= 1;
        }
        let number = self.next_number();
        let name = (self.new_name)();
        let mut generation = Generation::new(number, name, sighting.path, sighting.id);
        generation.head = Head::Bytes(sighting.start);
        generation.is_compressed = sighting.form != Form::Plain;
        generation.set_place(&sighting.place);
        generation.added = now;
        generation.grown = now;
        generation.observe_length(sighting.length.unwrap_or(0), now);
        if generation.is_compressed {
            generation.filled = Some(now);
        }
        generation.source = match sighting.form {
            Form::Plain => Source::File(sighting.file),
            form => Source::Fixed(sighting.file, form),
        };
        generation
    }
}
