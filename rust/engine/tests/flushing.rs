//! A signer that fails in the middle of a flush, in whatever way: everything stays dirty, and the next flush has it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use crdtstats_core::cid::HashKind;
use crdtstats_core::identity::{Identity, SignError, Signer};
use crdtstats_core::judge::Rules;
use crdtstats_core::node;
use crdtstats_core::peer_id::PeerId;
use crdtstats_core::replica::Config;
use crdtstats_engine::{Amount, Engine};
use crdtstats_journal::Generation;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// Enough for several blocks: some are signed before all slots were read.
const KEYS: u64 = 20_000;

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("crdtstats-engine-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn engine(directory: &Directory, me: &Identity) -> Engine {
    let rules = Rules {
        topic: "/crdtstats/1/test".into(),
        native: true,
    };
    let config = Config {
        rules,
        hash: HashKind::Blake3,
        announce_interval_ms: 10_000,
    };
    let engine = Engine::new(config, me.peer_id().clone(), 0, 1);
    let generation = Generation([0x73; 16]);
    engine.start(&directory.0, generation, [5; 16], 1).unwrap();
    engine
}

fn count_one_on_each(engine: &Engine) {
    for n in 0..KEYS {
        let key = format!("a/{n}");
        engine.add(None, &key, Amount::ONE, None).unwrap();
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fails {
    ByPanic,
    ByError,
    /// Before anything is read.
    AtOnce,
}

struct Failing<'a> {
    me: &'a Identity,
    how: Fails,
    signatures_left: Cell<u32>,
}

impl Signer for Failing<'_> {
    fn peer_id(&self) -> &PeerId {
        assert_ne!(self.how, Fails::AtOnce, "the signer is gone");
        self.me.peer_id()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let left = self.signatures_left.get();
        self.signatures_left.set(left.saturating_sub(1));
        match (left, self.how) {
            (0, Fails::ByError) => Err(SignError::new("no".into())),
            (0, _) => panic!("the signer is gone"),
            _ => Ok(self.me.sign(message)),
        }
    }
}

#[test]
fn what_a_failed_flush_took_is_in_the_next_one() {
    let me = Identity::from_seed([9; 32]);
    for (how, signatures) in [
        (Fails::ByPanic, 0),
        (Fails::ByPanic, 2),
        (Fails::ByError, 0),
        (Fails::ByError, 2),
        (Fails::AtOnce, 0),
    ] {
        let directory = Directory::new(&format!("{how:?}-{signatures}"));
        let engine = engine(&directory, &me);
        count_one_on_each(&engine);
        let failing = Failing {
            me: &me,
            how,
            signatures_left: Cell::new(signatures),
        };
        let failed = catch_unwind(AssertUnwindSafe(|| {
            engine.begin_flush(&failing, false, true)
        }));
        assert!(failed.is_ok_and(|flushed| flushed.is_err()) == (how == Fails::ByError));
        assert_eq!(engine.dirty_len() as u64, KEYS);
        // Counted once more before and after: each key once.
        engine.add(None, "a/7", Amount::ONE, None).unwrap();
        let plan = engine.begin_flush(&me, false, true).unwrap().unwrap();
        assert_eq!((plan.slots as u64, plan.is_partial), (KEYS, false));
        let mut values = BTreeMap::new();
        for built in &plan.flush.unwrap().blocks {
            for element in node::decode(&built.block).unwrap().delta.elements {
                let path = element.key.strip_prefix("/STATS/incr/").unwrap();
                let before = values.insert(path.to_owned(), element.value_u64());
                assert_eq!(before, None);
            }
        }
        assert_eq!(values.len() as u64, KEYS);
        assert_eq!(values.values().sum::<u64>(), KEYS + 1);
        engine.flush_stored().unwrap();
        assert!(!engine.is_dirty());
    }
}
