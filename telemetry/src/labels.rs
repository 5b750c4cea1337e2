//! Closed sets of names, for labels of metrics and fields of log lines. No value comes from a packet or a
//! review, so no traffic creates a time series.

/// The labels of a metric. Each value has a time series, which is present at zero from the start.
pub trait Labels: Copy + PartialEq + 'static {
    /// Every value.
    fn all() -> impl Iterator<Item = Self>;

    /// The position in [`Labels::all`].
    fn index(self) -> usize {
        Self::all().position(|other| other == self).unwrap_or(usize::MAX)
    }

    /// The name of each label, with its text for this value.
    fn pairs(self) -> Vec<(&'static str, &'static str)>;
}

/// Two labels: every combination of their values.
impl<A: Labels, B: Labels> Labels for (A, B) {
    fn all() -> impl Iterator<Item = Self> {
        A::all().flat_map(|first| B::all().map(move |second| (first, second)))
    }

    fn index(self) -> usize {
        self.0.index() * B::all().count() + self.1.index()
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        [self.0.pairs(), self.1.pairs()].concat()
    }
}

/// Declares an enum, with the stable name of each variant. With `as "task"` it is also the label `task` of a
/// metric.
#[macro_export]
macro_rules! named {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident $(as $label:literal)? {
            $($(#[$of_variant:meta])* $variant:ident = $text:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility enum $name {
            $($(#[$of_variant])* $variant,)+
        }

        impl $name {
            /// Every variant.
            $visibility const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name in metric labels and log fields.
            $visibility const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        $(
            impl $crate::Labels for $name {
                fn all() -> impl Iterator<Item = Self> {
                    Self::ALL.iter().copied()
                }

                fn index(self) -> usize {
                    self as usize
                }

                fn pairs(self) -> Vec<(&'static str, &'static str)> {
                    vec![($label, self.label())]
                }
            }
        )?
    };
}
