//! Closed sets that end up as metric labels: an enum, its names and its place in an array of
//! counters, declared once so that they cannot drift apart.

/// Declares an enum whose variants have a label and count up from 0.
macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every variant, in order of its index.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// How many variants there are: the length of an array indexed by them.
            pub const COUNT: usize = Self::ALL.len();

            /// The name used in metrics, logs and JSON.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// Place in an array of [`Self::COUNT`] counters.
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

pub(super) use closed_set;
