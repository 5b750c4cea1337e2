//! How much work a message makes, in steps: a label, a pointer, a record or an option that is looked at. Counted in tests and
//! fuzz targets alone, which hold it against the length of the message; a time would be another one on every machine.

#[cfg(any(test, fuzzing))]
mod count {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    pub(in super::super) fn step() {
        STEPS.set(STEPS.get() + 1);
    }

    /// The steps that this thread makes meanwhile.
    pub fn steps_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
        let before = STEPS.get();
        let done = work();
        (STEPS.get() - before, done)
    }
}

#[cfg(not(any(test, fuzzing)))]
mod count {
    #[inline(always)]
    pub(in super::super) fn step() {}

    /// Counts nothing: none.
    pub fn steps_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
        (0, work())
    }
}

pub use count::steps_of;

pub(super) use count::step;
