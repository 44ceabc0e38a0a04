//! The file mapping. Unsafe code of this crate is here and in `words`.
//!
//! A large range of addresses is reserved once; the file is mapped into it piece by piece as it grows, so that no word
//! ever moves. Words are atomics; every change goes through the one [`Map`] by `&mut`, so a text borrowed from it by
//! `&` cannot change while it is borrowed, whatever offsets are passed. [`View`] only loads.
//!
//! What Rust cannot check: that no other process writes to or truncates the file. The journal's lock keeps our own
//! processes off it; who edits a locked file by other means gets wrong counts or SIGBUS, as with any mapped file.

use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::process::Pid;

/// A slot is a u32 of 8-byte units: further a journal cannot reach.
pub(crate) const ADDRESS_BYTES_MAX: usize = 32 << 30;
/// So much of the file is brought into memory at once: about 20 µs.
const POPULATED_BYTES: usize = 256 << 10;
/// Of a huge page.
pub(crate) const HUGE_BYTES: usize = 2 << 20;
/// The file is mapped by multiples of this, which every page size divides.
const PAGE_BYTES_MAX: usize = 64 << 10;
/// Below this (a tight `ulimit -v`) there is no sense in trying.
const ADDRESS_BYTES_MIN: usize = 64 << 20;

/// The reserved addresses; unmapped when the last of [`Map`] and its [`View`]s goes.
struct Region {
    base: NonNull<u8>,
    reserved: usize,
    /// Bytes of the file that are mapped; grows only.
    mapped: AtomicUsize,
    maker: Pid,
}

// SAFETY: the region is plain memory at a fixed address; it is shared as atomics (or as bytes under the rule on top).
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    #[inline]
    fn word(&self, offset: usize, mapped: usize) -> Option<&AtomicU64> {
        // `mapped` is a multiple of 8, so an aligned offset below it has all of its 8 bytes inside.
        if offset >= mapped || !offset.is_multiple_of(8) {
            return None;
        }
        // SAFETY: inside the mapped part (above), aligned, never unmapped while `self` lives, any bit pattern is a u64.
        Some(unsafe { AtomicU64::from_ptr(self.base.add(offset).cast().as_ptr()) })
    }

    #[inline]
    fn half(&self, offset: usize, mapped: usize) -> Option<&AtomicU32> {
        if offset >= mapped || !offset.is_multiple_of(4) {
            return None;
        }
        // SAFETY: as in `word`, of 4 bytes. What is stored and loaded by halves is not loaded by words meanwhile, but for
        // texts, which are stored before anybody knows of their record.
        Some(unsafe { AtomicU32::from_ptr(self.base.add(offset).cast().as_ptr()) })
    }

    /// Has the kernel bring pages, as if they were written to.
    fn bring(&self, from: usize, to: usize) {
        let to = to.min(self.mapped.load(Ordering::Acquire));
        if from >= to {
            return;
        }
        let from = from - from % PAGE_BYTES_MAX;
        // SAFETY: `from < to <= mapped`: inside the mapped part.
        let start = unsafe { self.base.add(from) };
        // A kernel that does not know it brings pages one by one, when they are used.
        // SAFETY: the range is mapped as long as `self` lives, and the advice changes no byte of it.
        let _ = unsafe {
            rustix::mm::madvise(
                start.as_ptr().cast::<c_void>(),
                to - from,
                Advice::LinuxPopulateWrite,
            )
        };
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // A fork does not inherit the mapping (MADV_DONTFORK): something else may be at these addresses by now.
        if rustix::process::getpid() == self.maker {
            // SAFETY: the range was reserved by `Map::reserve`, nobody else can reach it any more. Failure leaks it.
            let _ =
                unsafe { rustix::mm::munmap(self.base.as_ptr().cast::<c_void>(), self.reserved) };
        }
    }
}

/// The writing side: one per journal.
pub(crate) struct Map {
    region: Arc<Region>,
    /// A copy of the region's, so that the hot path needs no atomic.
    mapped: usize,
    /// Up to here pages were asked for.
    populated: usize,
    /// When so many of these bytes are left, the next ones are asked for.
    ahead: usize,
    /// Tests only: how many stores are left until the process "dies"; later ones are lost.
    #[cfg(test)]
    pub(crate) stores_left: StoresLeft,
}

impl Map {
    /// Reserves addresses, as many as the process may have (32 GiB where nothing limits them); maps nothing.
    pub(crate) fn reserve() -> io::Result<Self> {
        Self::reserve_most(ADDRESS_BYTES_MAX)
    }

    /// As [`Map::reserve`], so many at most.
    pub(crate) fn reserve_most(bytes_max: usize) -> io::Result<Self> {
        let mut reserved = bytes_max;
        loop {
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
            // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other memory.
            match unsafe {
                rustix::mm::mmap_anonymous(null_mut(), reserved, ProtFlags::empty(), flags)
            } {
                Ok(address) => {
                    let Some(base) = NonNull::new(address.cast::<u8>()) else {
                        return Err(io::Error::other("mapped at address 0"));
                    };
                    let region = Region {
                        base,
                        reserved,
                        mapped: AtomicUsize::new(0),
                        maker: rustix::process::getpid(),
                    };
                    dont_fork(base, reserved)?;
                    return Ok(Self {
                        region: Arc::new(region),
                        mapped: 0,
                        populated: 0,
                        ahead: 0,
                        #[cfg(test)]
                        stores_left: StoresLeft::default(),
                    });
                }
                Err(_) if reserved > ADDRESS_BYTES_MIN => reserved /= 2,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// How many bytes can ever be mapped.
    pub(crate) fn limit(&self) -> usize {
        self.region.reserved
    }

    pub(crate) fn mapped(&self) -> usize {
        self.mapped
    }

    /// Maps the file up to `to` (a multiple of the page size, blocks reserved by the caller).
    pub(crate) fn extend(&mut self, file: BorrowedFd<'_>, to: usize) -> io::Result<()> {
        self.extend_from(file, self.mapped, to)
    }

    /// As [`Map::extend`], with what the file has from an offset on (a multiple of the page size).
    pub(crate) fn extend_from(
        &mut self,
        file: BorrowedFd<'_>,
        offset: usize,
        to: usize,
    ) -> io::Result<()> {
        if to > self.region.reserved || to <= self.mapped {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let bytes = to - self.mapped;
        // SAFETY: `mapped < to <= reserved`: still inside the reserved range.
        let start = unsafe { self.region.base.add(self.mapped) };
        // SAFETY: MAP_FIXED replaces only addresses of our own reservation that were never given out: all references
        // lead below `mapped`.
        unsafe {
            rustix::mm::mmap(
                start.as_ptr().cast::<c_void>(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::FIXED,
                file,
                offset as u64,
            )?;
        }
        dont_fork(start, bytes)?;
        self.mapped = to;
        self.region.mapped.store(to, Ordering::Release);
        Ok(())
    }

    /// Whether the address of an offset is that of a huge page.
    pub(crate) fn is_huge_at(&self, offset: usize) -> bool {
        (self.region.base.as_ptr() as usize + offset).is_multiple_of(HUGE_BYTES)
    }

    /// Asks for huge pages from an offset on; the kernel may have none.
    pub(crate) fn advise_huge(&self, from: usize) {
        let Some(bytes) = self.mapped.checked_sub(from).filter(|bytes| *bytes > 0) else {
            return;
        };
        // SAFETY: `from < mapped`: inside the mapped part, and the advice changes no byte of it.
        let _ = unsafe {
            let start = self.region.base.add(from).as_ptr().cast::<c_void>();
            rustix::mm::madvise(start, bytes, Advice::LinuxHugepage)
        };
    }

    /// Brings no pages up to an offset: they are not used by this mapping.
    pub(crate) fn skip(&mut self, to: usize) {
        self.populated = self.populated.max(to);
    }

    /// Whether pages up to an offset, and some more behind it, were asked for.
    #[inline]
    pub(crate) fn is_populated(&self, to: usize) -> bool {
        to + self.ahead <= self.populated
    }

    /// Has the kernel bring pages up to an offset, and some more: many at once take it half the time. The next ones will
    /// be asked for when `ahead` bytes of them are left. The pages that somebody else is to bring, if any.
    #[cold]
    pub(crate) fn populate(&mut self, to: usize, ahead: bool) -> Option<(usize, usize)> {
        let (from, kept) = (self.populated, if ahead { POPULATED_BYTES } else { 0 });
        let end = (to + kept)
            .next_multiple_of(POPULATED_BYTES)
            .min(self.mapped);
        if end <= from {
            return None; // all of the file that there is
        }
        (self.populated, self.ahead) = (end, kept);
        if ahead {
            return Some((from, end));
        }
        self.region.bring(from, end);
        None
    }

    /// The word at an offset; `None` outside of the mapped part and where unaligned.
    #[inline]
    pub(crate) fn load(&self, offset: usize) -> Option<u64> {
        self.region
            .word(offset, self.mapped)
            .map(|word| word.load(Ordering::Relaxed))
    }

    /// Stores a word after everything that was stored before. Outside of the mapped part it does nothing: callers have
    /// made room or loaded the word first.
    #[inline]
    pub(crate) fn store(&mut self, offset: usize, value: u64) {
        #[cfg(test)]
        if !self.stores_one() {
            return;
        }
        let word = self.region.word(offset, self.mapped);
        debug_assert!(word.is_some(), "store at {offset} of {}", self.mapped);
        if let Some(word) = word {
            word.store(value, Ordering::Release);
        }
    }

    /// Tests only: whether the process is alive to store one more time.
    #[cfg(test)]
    pub(crate) fn stores_one(&mut self) -> bool {
        self.stores_left.take_one()
    }

    /// The half word at an offset; `None` outside of the mapped part and where unaligned.
    #[inline]
    pub(crate) fn load_half(&self, offset: usize) -> Option<u32> {
        self.region
            .half(offset, self.mapped)
            .map(|half| half.load(Ordering::Relaxed))
    }

    /// As [`Map::store`], of half a word.
    #[inline]
    pub(crate) fn store_half(&mut self, offset: usize, value: u32) {
        #[cfg(test)]
        if !self.stores_one() {
            return;
        }
        if let Some(half) = self.region.half(offset, self.mapped) {
            half.store(value, Ordering::Release);
        }
    }

    /// Stores a text that nobody knows of yet, 4 bytes behind a multiple of 8: by words, the rest of the first and of the
    /// last one zeros.
    #[inline]
    pub(crate) fn store_text(&mut self, offset: usize, text: &[u8]) {
        let first = text.first_chunk::<4>().copied();
        let first = first.map_or_else(|| word_of(text) as u32, u32::from_le_bytes);
        self.store(offset - 4, u64::from(first) << 32);
        let mut at = offset + 4;
        let (words, tail) = text.get(4..).unwrap_or(&[]).as_chunks::<8>();
        for word in words {
            self.store(at, u64::from_le_bytes(*word));
            at += 8;
        }
        if !tail.is_empty() {
            let last = text.last_chunk::<8>().map(|last| {
                let others = u64::BITS - 8 * tail.len() as u32;
                u64::from_le_bytes(*last) >> others
            });
            self.store(at, last.unwrap_or_else(|| word_of(tail)));
        }
    }

    /// Bytes as they stand; empty outside of the mapped part.
    #[inline]
    pub(crate) fn bytes(&self, offset: usize, count: usize) -> &[u8] {
        if offset > self.mapped || count > self.mapped - offset {
            return &[];
        }
        // SAFETY: inside the mapped part, u8 has no alignment and no invalid pattern. The bytes cannot change while
        // borrowed: all stores of this process need `&mut self`, and views only load.
        unsafe { std::slice::from_raw_parts(self.region.base.add(offset).as_ptr(), count) }
    }

    /// Asks the processor to fetch the line at an offset; never fails.
    #[inline]
    pub(crate) fn prefetch(&self, offset: usize) {
        #[cfg(target_arch = "x86_64")]
        if offset < self.mapped {
            // SAFETY: a prefetch has no effect on memory; the address is inside the mapping.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                _mm_prefetch::<_MM_HINT_T0>(self.region.base.add(offset).as_ptr().cast());
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = offset;
    }

    /// All words that are mapped now, for who has the journal by `&mut`.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: so many words are mapped and stay so while `self` lives; any bit pattern is a u64.
        unsafe {
            std::slice::from_raw_parts(
                self.region.base.cast().as_ptr(),
                self.mapped / size_of::<u64>(),
            )
        }
    }

    pub(crate) fn view(&self) -> View {
        View {
            region: Arc::clone(&self.region),
        }
    }
}

/// Tests only: how many stores of all mappings of a journal are left.
#[cfg(test)]
#[derive(Clone)]
pub(crate) struct StoresLeft(Arc<AtomicU64>);

#[cfg(test)]
impl Default for StoresLeft {
    fn default() -> Self {
        StoresLeft(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

#[cfg(test)]
impl StoresLeft {
    pub(crate) fn set(&self, left: u64) {
        self.0.store(left, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn take_one(&self) -> bool {
        let left = self.get();
        self.set(left.saturating_sub(1));
        left > 0
    }
}
/// Less than eight bytes as a word.
fn word_of(bytes: &[u8]) -> u64 {
    let shifted = bytes.iter().rev();
    shifted.fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Keeps a range out of forked children: a child must not keep the journal's lock alive, nor count in it.
fn dont_fork(start: NonNull<u8>, bytes: usize) -> io::Result<()> {
    // SAFETY: the range is our own mapping; the advice changes what fork() copies, nothing in this process.
    unsafe {
        rustix::mm::madvise(
            start.as_ptr().cast::<c_void>(),
            bytes,
            Advice::LinuxDontFork,
        )
    }?;
    Ok(())
}

/// The reading side, for any thread.
#[derive(Clone)]
pub(crate) struct View {
    region: Arc<Region>,
}

impl View {
    #[inline]
    pub(crate) fn load(&self, offset: usize) -> Option<u64> {
        let mapped = self.region.mapped.load(Ordering::Acquire);
        self.region
            .word(offset, mapped)
            .map(|word| word.load(Ordering::Acquire))
    }

    /// Has the kernel bring pages.
    pub(crate) fn bring(&self, from: usize, to: usize) {
        self.region.bring(from, to);
    }

    /// All words that are mapped now. To store in them is for those who have the journal by `&mut`.
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let count = self.region.mapped.load(Ordering::Acquire) / size_of::<u64>();
        // SAFETY: so many words are mapped and stay so while `self` lives; any bit pattern is a u64.
        unsafe { std::slice::from_raw_parts(self.region.base.cast().as_ptr(), count) }
    }

    /// Appends bytes at a multiple of 4 to `out`; none outside of the mapped part. A copy, by atomic loads: nothing
    /// keeps a caller from asking for bytes that are being stored.
    pub(crate) fn copy(&self, offset: usize, count: usize, out: &mut Vec<u8>) {
        let mapped = self.region.mapped.load(Ordering::Acquire);
        let halves = (0..count.div_ceil(4)).map(|n| self.region.half(offset + n * 4, mapped));
        let from = out.len();
        for half in halves {
            let Some(half) = half else {
                out.truncate(from);
                return;
            };
            out.extend_from_slice(&half.load(Ordering::Relaxed).to_le_bytes());
        }
        out.truncate(from + count);
    }
}

/// The caches that a line is fetched into: all, or all but the first.
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T0 as NEAR, _MM_HINT_T1 as FAR};
#[cfg(not(target_arch = "x86_64"))]
const NEAR: i32 = 0;
#[cfg(not(target_arch = "x86_64"))]
const FAR: i32 = 1;

/// Asks the processor to fetch the line of a word.
#[inline]
pub(crate) fn prefetch_word(word: *const u64) {
    prefetch::<NEAR>(word);
}

/// As [`prefetch_word`], into the second cache only: many more words can be on their way there than into the first.
#[inline]
pub(crate) fn prefetch_far(word: *const u64) {
    prefetch::<FAR>(word);
}

#[inline]
fn prefetch<const INTO: i32>(word: *const u64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect on memory, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<INTO>(word.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = word;
}
