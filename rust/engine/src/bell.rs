//! Wakes the flusher: rung when the first count after a flush comes in, and by whoever has something for it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// One sleeper, any number of ringers. A ring before the wait is not lost.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<bool>,
    wake: Condvar,
}

impl Bell {
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_one();
    }

    /// Wait until it rings or `timeout` is over. True where it rang.
    pub fn wait(&self, timeout: Duration) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake.wait_timeout_while(rung, timeout, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut rung)
    }
}
