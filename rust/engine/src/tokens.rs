//! A short way to a slot for callers who name the same key object again and again.
//!
//! A token is any number but 0 that stands for one immutable key as long as the caller keeps that key alive; the Python
//! binding uses the address of a `str`. What the cache drops is handed back, so that the caller can let go of it.
//!
//! It begins small, for tokens as they come. Where it is full it looks at a mark that each key keeps of the token that
//! missed last: the same mark says that the same token came again, which a larger cache would have found. Many of those
//! make it grow, by doubling its lines, and a grown one takes in what came again only: tokens that come once, or are new
//! each time, neither make it grow nor fill it.

use crate::token_line::{Entry, Line, WAYS};
use crate::token_place::{Place, Shape};
use crdtstats_journal::{LINE_HALVES, MARK_MAX, Slot, Words};

/// How often the lines are doubled at most. At first they are 256 KiB, so that they stay in the processor's second cache
/// beside what they lead to; in the end 16 MiB, for 1.8 million tokens.
const DOUBLINGS_MAX: u32 = 6;
const LINE_WORDS: usize = LINE_HALVES / 2;

/// In a full line one miss out of so many puts an entry in: keys that come once push few out that come often.
const PATIENCE: u32 = 16;
/// So many entries for each line are nearly all that fit.
const CROWDED: usize = WAYS - 1;
/// So many misses are judged together, and so many of them must have come again. By chance one of [`MARK_MAX`] has.
const JUDGED: u32 = 1024;
const AGAIN_MIN: u32 = JUDGED / 4;
/// Lines of the cache before that a miss moves: no writer waits until all of them are moved.
const LINES_MOVED: usize = 4;

/// After so many tokens that had not come before, each that did making up for some, one out of some is looked for. By
/// chance one of [`MARK_MAX`] seems to have come.
const STRANGERS: u32 = 64;
const STRANGERS_MAX: u32 = STRANGERS + 2 * STRANGERS_AGAINST_ONE;
const STRANGERS_AGAINST_ONE: u32 = 8;
const SKIPPED: u32 = 8;

/// Lines that a caller looks over at once, for [`Tokens::sweep`]: 1,792 entries.
pub(crate) const SWEPT_LINES: usize = 256;
/// A grown cache is looked over once in so many rounds: of the largest one 16 slices in each.
const ROUNDS: usize = 64;

/// What became of a token that was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token {
    /// It is not kept, and stands for nothing.
    Forgotten,
    /// It is kept: the caller holds its key from now on, and lets go of that of the token whose place it took.
    Kept(Option<usize>),
}

/// The cache before the last doubling, on the way into the one after: empty where it was moved.
struct Before {
    lines: Words,
    shape: Shape,
    moved: usize,
}

pub(crate) struct Tokens {
    /// None before the first token is kept.
    lines: Words,
    shape: Shape,
    used: usize,
    before: Option<Before>,
    misses: u32,
    judged: u32,
    again: u32,
    strangers: u32,
    skipped: u32,
    /// The line that is looked over next.
    hand: usize,
}

impl Default for Tokens {
    fn default() -> Self {
        Tokens {
            lines: Words::none(),
            shape: Shape::default(),
            used: 0,
            before: None,
            misses: 0,
            judged: 0,
            again: 0,
            strangers: 0,
            skipped: 0,
            hand: 0,
        }
    }
}

/// The mark that a key keeps of a token; never 0, which is none. Not linear: objects of the same keys that were made again
/// lie at one distance from those before, and must not leave the same marks.
fn mark_of(tag: u32) -> u32 {
    let mixed = (tag ^ tag >> 15).wrapping_mul(0x9e37_79b1);
    1 + (mixed >> 16) % MARK_MAX
}

impl Tokens {
    #[inline(always)]
    pub fn find(&mut self, token: usize) -> Option<Slot> {
        let place = self.shape.place(token)?;
        let line = self.lines.lines_mut().get_mut(place.line)?;
        if let Some(way) = line.way(place.tag, place.way) {
            line.hit(way);
            if self.strangers != 0 {
                self.strangers = 0;
            }
            return Some(line.slot(way));
        }
        self.before.as_ref()?;
        self.find_before(place)
    }

    #[cold]
    fn find_before(&mut self, place: Place) -> Option<Slot> {
        self.split(place.line / 2);
        let line = self.lines.lines_mut().get_mut(place.line)?;
        let way = line.way(place.tag, place.way)?;
        line.hit(way);
        Some(line.slot(way))
    }

    /// Whether not to look for the next token, or the next few: a large cache is far away, and none were found for long.
    #[inline]
    pub fn skips(&mut self) -> bool {
        self.strangers >= STRANGERS && self.skips_next()
    }

    #[cold]
    fn skips_next(&mut self) -> bool {
        self.skipped = (self.skipped + 1) % SKIPPED;
        self.is_skipping()
    }

    #[inline]
    fn is_skipping(&self) -> bool {
        self.strangers >= STRANGERS && self.skipped != 0
    }

    /// Notes a token that was looked for and has not come before, as far as is known.
    #[inline]
    pub fn note_stranger(&mut self) {
        if self.is_large() && !self.is_skipping() {
            self.strangers = (self.strangers + 1).min(STRANGERS_MAX);
        }
    }

    /// Whether looking for many tokens pays for [`Tokens::prefetch`].
    #[inline]
    pub fn is_large(&self) -> bool {
        self.shape.doublings() > 0
    }

    /// Asks the processor to fetch what [`Tokens::find`] reads.
    #[inline]
    pub fn prefetch(&self, token: usize) {
        if let Some(place) = self.shape.place(token) {
            self.lines.prefetch_line(place.line);
        }
    }

    /// Keep a token that was not found, where that may be worth it. `has_mark` says whether the last one that missed left
    /// this mark on the key, and may leave it.
    pub fn offer(&mut self, token: usize, slot: Slot, has_mark: impl FnOnce(u32) -> bool) -> Token {
        if self.is_skipping() {
            return Token::Forgotten;
        }
        let kept = self.keep(token, slot, has_mark);
        kept.map_or(Token::Forgotten, Token::Kept)
    }

    /// The mark that a key which this token names first is to have; 0 where the token is none.
    #[inline]
    pub fn first_mark(&self, token: usize) -> u32 {
        let place = self.shape.place(token);
        place.map_or(0, |place| mark_of(place.tag))
    }

    /// As [`Tokens::offer`], of a token whose key is new and has got [`Tokens::first_mark`]: it cannot have come before.
    #[inline]
    pub fn offer_first(&mut self, token: Option<usize>, slot: Slot) -> Token {
        let Some(token) = token else {
            self.note_stranger();
            return Token::Forgotten;
        };
        if self.is_skipping() {
            return Token::Forgotten;
        }
        // Only what comes again is kept in a large one.
        let is_crowded = self.used >= self.lines.lines().len() * CROWDED;
        let is_left = is_crowded && !self.misses.wrapping_add(1).is_multiple_of(PATIENCE);
        if self.is_large() || is_left {
            // As it would be in a full line, without looking at it.
            self.misses = self.misses.wrapping_add(u32::from(!self.is_large()));
            self.strangers = (self.strangers + 1).min(STRANGERS_MAX);
            self.judge(false);
            return Token::Forgotten;
        }
        self.offer(token, slot, |_| false)
    }

    /// As [`Tokens::offer`], of a token that is kept only where it has left its mark before: no other mark is left.
    pub fn offer_again(
        &mut self,
        token: usize,
        slot: Slot,
        has_mark: impl FnOnce(u32) -> bool,
    ) -> Token {
        if self.is_skipping() {
            return Token::Forgotten;
        }
        match self.shape.place(token) {
            Some(place) if has_mark(mark_of(place.tag)) => self.offer(token, slot, |_| true),
            _ => {
                self.note_stranger();
                Token::Forgotten
            }
        }
    }

    fn keep(
        &mut self,
        token: usize,
        slot: Slot,
        has_mark: impl FnOnce(u32) -> bool,
    ) -> Option<Option<usize>> {
        if self.lines.is_empty() {
            self.lines = Words::zeroed(LINE_WORDS * self.shape.lines()).ok()?;
        }
        let place = self.shape.place(token)?;
        let has_room = || self.lines.lines().get(place.line)?.free(place.way);
        if self.is_large() || has_room().is_none() {
            let is_again = has_mark(mark_of(place.tag));
            self.judge(is_again);
            if is_again {
                self.strangers = self.strangers.saturating_sub(STRANGERS_AGAINST_ONE);
            } else if self.is_large() {
                self.note_stranger();
                return None;
            }
        }
        let Place { line: at, tag, way } = self.shape.place(token)?; // it may have grown
        self.split(at / 2);
        let line = self.lines.lines_mut().get_mut(at)?;
        if line.way(tag, way).is_some() {
            return None; // a batch named it twice
        }
        let credit = 1;
        let entry = Entry { tag, slot, credit };
        if let Some(way) = line.free(way) {
            line.put(way, entry);
            self.used += 1;
            return Some(None);
        }
        self.misses = self.misses.wrapping_add(1);
        if !self.misses.is_multiple_of(PATIENCE) {
            return None;
        }
        let spent = line.spent();
        line.age();
        let dropped = line.entry(spent?);
        line.put(spent?, entry);
        Some(dropped.map(|entry| self.shape.token(at, entry.tag)))
    }

    /// Notes a miss that a larger cache would not have had if the token came again, and grows where there are many.
    fn judge(&mut self, is_again: bool) {
        if self.before.is_some() {
            (0..LINES_MOVED).for_each(|_| self.split_next());
        }
        self.judged += 1;
        self.again += u32::from(is_again);
        if self.judged < JUDGED {
            return;
        }
        let are_many = self.again >= AGAIN_MIN;
        (self.judged, self.again) = (0, 0);
        let is_half_full = self.used >= WAYS * self.shape.lines() / 2;
        if are_many
            && is_half_full
            && self.before.is_none()
            && self.shape.doublings() < DOUBLINGS_MAX
        {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        let shape = self.shape.doubled();
        let Ok(larger) = Words::zeroed(LINE_WORDS * shape.lines()) else {
            return; // small is slower, and no more
        };
        let lines = std::mem::replace(&mut self.lines, larger);
        let shape = std::mem::replace(&mut self.shape, shape);
        let moved = 0;
        self.before = Some(Before {
            lines,
            shape,
            moved,
        });
    }

    #[inline]
    fn split_next(&mut self) {
        let Some(before) = &mut self.before else {
            return;
        };
        let parent = before.moved;
        before.moved += 1;
        let is_last = before.moved >= before.lines.lines().len();
        self.split(parent);
        if is_last {
            self.before = None;
        }
    }

    /// Moves a line of the cache before into two of this one, which are empty until then: nothing is dropped.
    fn split(&mut self, parent: usize) {
        let Some(Before { lines, shape, .. }) = &mut self.before else {
            return;
        };
        let Some(old) = lines.lines_mut().get_mut(parent) else {
            return;
        };
        for entry in (0..WAYS).filter_map(|way| old.entry(way)) {
            let Some(place) = self.shape.place(shape.token(parent, entry.tag)) else {
                continue;
            };
            if let Some(line) = self.lines.lines_mut().get_mut(place.line)
                && let Some(way) = line.free(place.way)
            {
                line.put(way, entry);
            }
        }
        (0..WAYS).for_each(|way| old.clear(way));
    }

    /// How often [`Tokens::sweep`] is to be called in a round. A small cache is left as it is.
    pub fn slices(&self) -> usize {
        let lines = self.lines.lines().len();
        if self.is_large() {
            lines.div_ceil(ROUNDS * SWEPT_LINES)
        } else {
            0
        }
    }

    /// Looks over the next lines, and drops what is not needed.
    pub fn sweep(
        &mut self,
        count: usize,
        is_needed: impl Fn(usize) -> bool,
        dropped: &mut Vec<usize>,
    ) {
        if !self.is_large() {
            return;
        }
        let all = self.lines.lines().len();
        for _ in 0..count.min(all) {
            let at = self.hand % all;
            self.hand = at + 1;
            let Some(line) = self.lines.lines_mut().get_mut(at) else {
                return;
            };
            for way in 0..WAYS {
                let Some(entry) = line.entry(way) else {
                    continue;
                };
                let token = self.shape.token(at, entry.tag);
                if !is_needed(token) {
                    line.clear(way);
                    self.used -= 1;
                    dropped.push(token);
                }
            }
        }
    }

    /// Every token that is kept; none is afterwards.
    pub fn take(&mut self) -> Vec<usize> {
        let tokens = std::mem::take(self);
        let mut taken = Vec::with_capacity(tokens.used);
        let mut take = |lines: &Words, shape: Shape| {
            for (at, line) in lines.lines().iter().enumerate() {
                let entries = (0..WAYS).filter_map(|way| line.entry(way));
                taken.extend(entries.map(|entry| shape.token(at, entry.tag)));
            }
        };
        take(&tokens.lines, tokens.shape);
        if let Some(before) = &tokens.before {
            take(&before.lines, before.shape);
        }
        taken
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
