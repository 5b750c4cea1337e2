//! Measures the work for a message, in steps: a label, a pointer, a record or an option that is looked at.
//! Counted only in debug builds and fuzz targets: tests compare it with the length of the message. A duration
//! would differ from machine to machine.

#[cfg(any(debug_assertions, fuzzing))]
mod count {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    pub(in super::super) fn step() {
        STEPS.set(STEPS.get() + 1);
    }

    /// Counts the steps that this thread makes in `work`.
    pub fn steps_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
        let before = STEPS.get();
        let done = work();
        (STEPS.get() - before, done)
    }
}

#[cfg(not(any(debug_assertions, fuzzing)))]
mod count {
    #[inline(always)]
    pub(in super::super) fn step() {}

    /// Always 0 steps: this build does not count.
    pub fn steps_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
        (0, work())
    }
}

pub use count::steps_of;

pub(super) use count::step;
