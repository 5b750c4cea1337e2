//! Values that are one of a few words.

use super::Expected;

/// The lowest level of messages that are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the usual ones")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// `error`, `warn`, `info`, `debug` or `trace`, in lower case.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        match text {
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err("error, warn, info, debug or trace".to_owned()),
        }
    }

    /// The name, as written in a setting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The address queries inside the cluster domain that the proxy answers NXDOMAIN by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LocalNxdomain {
    /// None.
    Off,
    /// Those for names that no Service or pod can have.
    Impossible,
    /// Also those for names below a namespace or Service that does not exist (RFC 8020).
    Full,
}

impl LocalNxdomain {
    /// `full`, `impossible` or `off`.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        match text {
            "full" => Ok(Self::Full),
            "impossible" => Ok(Self::Impossible),
            "off" => Ok(Self::Off),
            _ => Err("full, impossible or off".to_owned()),
        }
    }

    /// The name, as written in a setting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Impossible => "impossible",
            Self::Full => "full",
        }
    }
}

/// The transport of upstream queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamTransport {
    /// UDP first, then also TCP if no answer over UDP arrives soon.
    Auto,
    /// UDP, and TCP only after a truncated answer.
    Udp,
    /// Only TCP.
    Tcp,
}

impl UpstreamTransport {
    /// `auto`, `udp` or `tcp`.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        match text {
            "auto" => Ok(Self::Auto),
            "udp" => Ok(Self::Udp),
            "tcp" => Ok(Self::Tcp),
            _ => Err("auto, udp or tcp".to_owned()),
        }
    }
}

/// The clients of the proxy. The role changes only the defaults of settings
/// ([`crate::table::SHARED_DEFAULTS`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// One pod, over its loopback.
    Pod,
    /// The proxies of many pods, over the network.
    Shared,
}

impl Role {
    /// `pod` or `shared`.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        match text {
            "pod" => Ok(Self::Pod),
            "shared" => Ok(Self::Shared),
            _ => Err("pod or shared".to_owned()),
        }
    }

    /// The name, as written in a setting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Shared => "shared",
        }
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
