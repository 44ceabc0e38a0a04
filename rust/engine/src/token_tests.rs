//! The cache of tokens beside a caller who holds what it keeps.

use super::*;
use std::collections::HashSet;

/// A cache beside the two things it needs: marks that keys keep, and a caller who holds what is kept.
#[derive(Default)]
struct Caller {
    tokens: Tokens,
    marks: Vec<u32>,
    held: HashSet<usize>,
}

/// Tokens of objects one after the other.
fn token(n: usize) -> usize {
    0x7f00_0000_0000 + 80 * n
}

fn slot(n: usize) -> Slot {
    Slot::of_units(n as u32 + 1)
}

impl Caller {
    fn hold(&mut self, token: usize, offered: Token) {
        if let Token::Kept(dropped) = offered {
            assert!(self.held.insert(token), "kept twice");
            if let Some(dropped) = dropped {
                assert!(self.held.remove(&dropped), "dropped, but never kept");
            }
        }
    }

    fn mark(&mut self, key: usize) -> &mut u32 {
        if self.marks.len() <= key {
            self.marks.resize(key + 1, 0);
        }
        &mut self.marks[key]
    }

    /// Counts on a key by a token; true where it was found.
    fn count(&mut self, key: usize, token: usize) -> bool {
        if !self.tokens.skips()
            && let Some(found) = self.tokens.find(token)
        {
            assert_eq!(found, slot(key));
            assert!(self.held.contains(&token), "found, but not held");
            return true;
        }
        let mut kept = *self.mark(key);
        let offered = self.tokens.offer(token, slot(key), |mark| {
            std::mem::replace(&mut kept, mark) == mark
        });
        *self.mark(key) = kept;
        self.hold(token, offered);
        false
    }

    fn read(&mut self, key: usize, token: usize) {
        if !self.tokens.skips() && self.tokens.find(token).is_none() {
            let kept = *self.mark(key);
            let offered = self
                .tokens
                .offer_again(token, slot(key), |mark| kept == mark);
            self.hold(token, offered);
        }
    }

    fn found(&mut self, keys: std::ops::Range<usize>) -> usize {
        let find = |&n: &usize| self.tokens.find(token(n)) == Some(slot(n));
        keys.filter(find).count()
    }

    /// Counts on each of so many keys, the same objects each time.
    fn pass(&mut self, keys: usize) {
        (0..keys).for_each(|n| {
            self.count(n, token(n));
        });
    }

    /// What is kept is what is held: nothing was given back twice, or never.
    fn settle(mut self) {
        let taken = self.tokens.take();
        assert_eq!(taken.len(), self.held.len());
        assert_eq!(taken.into_iter().collect::<HashSet<_>>(), self.held);
        assert_eq!(self.tokens.take(), []);
    }
}

#[test]
fn a_token_that_came_once_is_found_while_there_is_room() {
    let mut caller = Caller::default();
    caller.pass(5000);
    assert_eq!(caller.found(0..5000), 5000);
    caller.settle();
}

#[test]
fn hot_tokens_are_found_and_cold_ones_push_few_out() {
    let mut caller = Caller::default();
    (0..3).for_each(|_| caller.pass(10_000));
    for n in 0..200_000 {
        caller.count(10_000 + n, token(1 << 24) + 64 * n);
        if n % 20 == 0 {
            let hot = n / 20 % 10_000;
            caller.count(hot, token(hot));
        }
    }
    assert!(!caller.tokens.is_large());
    let found = caller.found(0..10_000);
    assert!(found > 9000, "{found}");
    caller.settle();
}

#[test]
fn many_tokens_that_come_again_make_it_grow_until_it_has_them_all() {
    let mut caller = Caller::default();
    (0..12).for_each(|_| caller.pass(300_000));
    let found = caller.found(0..300_000);
    assert!(found > 290_000, "{found}");
    // Seven eighths of the entries of 65,536 lines.
    assert!(caller.tokens.shape.doublings() <= 5);
    caller.settle();
}

#[test]
fn it_stops_growing_and_goes_on_finding() {
    let mut caller = Caller::default();
    (0..10).for_each(|_| caller.pass(2_500_000));
    assert_eq!(caller.tokens.shape.doublings(), DOUBLINGS_MAX);
    let found = caller.found(0..2_500_000);
    assert!(found > 1_500_000, "{found}");
    assert!(caller.held.len() <= WAYS * caller.tokens.shape.lines());
    caller.settle();
}

#[test]
fn fresh_objects_of_known_keys_neither_make_it_grow_nor_fill_it() {
    let mut caller = Caller::default();
    for pass in 0..5 {
        for n in 0..300_000 {
            caller.count(n, token(pass * 300_000 + n));
        }
    }
    assert!(!caller.tokens.is_large());
    caller.settle();
}

#[test]
fn in_a_large_one_fresh_objects_are_not_kept_and_soon_hardly_looked_for() {
    let mut caller = Caller::default();
    (0..12).for_each(|_| caller.pass(300_000));
    let before = caller.held.len();
    let mut looked_for = 0;
    for n in 0..100_000 {
        looked_for += usize::from(!caller.tokens.skips());
        caller.count(n, token((1 << 24) + n));
    }
    assert!(
        looked_for < 100_000 / SKIPPED as usize + 5000,
        "{looked_for}"
    );
    // One mark in fifteen is that of the object before, by chance.
    assert!(caller.held.len() < before + 100_000 / 10);
    let (mut found, first) = (0, 100_000);
    (first..200_000).for_each(|n| found += usize::from(caller.count(n, token(n))));
    assert!(
        found > 90_000,
        "those that come again are looked for again: {found}"
    );
    caller.settle();
}

#[test]
fn a_read_keeps_what_was_counted_by_the_same_object() {
    let mut caller = Caller::default();
    caller.pass(200_000);
    for n in 200_000..210_000 {
        caller.read(n, token(n));
    }
    assert_eq!(caller.found(200_000..210_000), 0);
    (0..20).for_each(|_| (0..200_000).for_each(|n| caller.read(n, token(n))));
    let found = caller.found(0..200_000);
    assert!(found > 190_000, "{found}");
    caller.settle();
}

#[test]
fn a_sweep_gives_back_what_is_not_needed_in_a_large_cache_only() {
    let mut caller = Caller::default();
    let mut dropped = Vec::new();
    caller.pass(5000);
    assert_eq!(caller.tokens.slices(), 0);
    caller.tokens.sweep(usize::MAX, |_| false, &mut dropped);
    assert_eq!((dropped.len(), caller.found(0..5000)), (0, 5000));

    (0..12).for_each(|_| caller.pass(300_000));
    let is_needed = |token: usize| (token - 0x7f00_0000_0000).is_multiple_of(160);
    for _ in 0..ROUNDS * caller.tokens.slices() {
        caller.tokens.sweep(SWEPT_LINES, is_needed, &mut dropped);
    }
    for token in &dropped {
        assert!(caller.held.remove(token), "given back twice, or never kept");
    }
    // Those that the last doubling has not moved yet are looked over when they are.
    let left = caller
        .held
        .iter()
        .filter(|token| !is_needed(**token))
        .count();
    assert_eq!(left, 0);
    assert_eq!(caller.found(0..300_000), caller.held.len());
    assert!(caller.held.len() > 140_000);
    caller.pass(300_000);
    caller.settle();
}

#[test]
fn what_is_no_address_is_not_kept() {
    let mut caller = Caller::default();
    for odd in [8, 1 << 48, usize::MAX] {
        assert!(!caller.count(1, odd) && !caller.count(1, odd));
    }
    caller.settle();
}

#[test]
fn misses_are_counted_beyond_their_last_number() {
    let mut caller = Caller::default();
    caller.pass(40_000);
    caller.tokens.misses = u32::MAX;
    for n in 40_000..40_100 {
        let token = token(n);
        let offered = caller.tokens.offer_first(Some(token), slot(n));
        caller.hold(token, offered);
        caller.count(n, token);
    }
    caller.settle();
}
