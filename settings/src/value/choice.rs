//! Values that are one of a few words.

use super::Expected;

/// Enums whose values are words, with their parsers.
macro_rules! choices {
    ($($(#[$enum_doc:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$enum_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// The words, as written in a setting.
            pub const NAMES: &'static [&'static str] = &[$($word),*];

            /// One of [`Self::NAMES`], in lower case.
            pub fn parse(text: &str) -> Result<Self, Expected> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(one_of(Self::NAMES)),
                }
            }

            /// The word, as written in a setting.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    )*};
}

choices! {
    /// The lowest level of messages that are logged.
    #[allow(missing_docs, reason = "the names are the usual ones")]
    pub enum LogLevel {
        Error = "error",
        Warn = "warn",
        Info = "info",
        Debug = "debug",
        Trace = "trace",
    }

    /// The address queries inside the cluster domain that the proxy answers NXDOMAIN by itself, from the most
    /// to none.
    pub enum LocalNxdomain {
        /// Those for names that no Service or pod can have, and those for names below a namespace or Service
        /// that does not exist (RFC 8020).
        Full = "full",
        /// Only those for names that no Service or pod can have.
        Impossible = "impossible",
        /// None.
        Off = "off",
    }

    /// The transport of upstream queries.
    pub enum UpstreamTransport {
        /// UDP first, then also TCP if no answer over UDP arrives soon.
        Auto = "auto",
        /// UDP, and TCP only after a truncated answer.
        Udp = "udp",
        /// Only TCP.
        Tcp = "tcp",
    }

    /// The clients of the proxy. The role changes only the defaults of settings
    /// ([`crate::table::Setting::shared`]).
    pub enum Role {
        /// One pod, over its loopback.
        Pod = "pod",
        /// The proxies of many pods, over the network.
        Shared = "shared",
    }
}

/// The words as a sentence has them: `auto, udp or tcp`.
pub fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [words @ .., last] => format!("{} or {last}", words.join(", ")),
    }
}

/// The number of worker threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// One for each core that the process may use.
    Auto,
    /// This number.
    Fixed(u16),
}

impl Workers {
    /// The maximum.
    pub const MAX: u16 = 64;

    /// `auto`, or a number from 1 to 64.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        match super::number::<u16>(text) {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(count @ 1..=Self::MAX) => Ok(Self::Fixed(count)),
            _ => Err(format!("auto, or a number of threads from 1 to {}", Self::MAX)),
        }
    }
}
