//! Sections are short: who waits first spins, then lets others run, then naps.

#[cfg(not(loom))]
const SPINS: u32 = 1024;
#[cfg(not(loom))]
const YIELDS: u32 = 256;
#[cfg(not(loom))]
const NAP: std::time::Duration = std::time::Duration::from_micros(20);

#[derive(Default)]
pub(crate) struct Waiting {
    #[cfg(not(loom))]
    tries: u32,
}

impl Waiting {
    #[cfg(not(loom))]
    pub fn wait(&mut self) {
        self.tries = self.tries.saturating_add(1);
        match self.tries {
            0..=SPINS => std::hint::spin_loop(),
            tries if tries <= SPINS + YIELDS => std::thread::yield_now(),
            _ => std::thread::sleep(NAP),
        }
    }

    #[cfg(loom)]
    pub fn wait(&mut self) {
        loom::thread::yield_now();
    }
}
