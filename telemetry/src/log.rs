//! The log: plain text lines on standard error, because some commands print documents to standard output.

use podlocal_settings::value::LogLevel;
use tracing_subscriber::filter::LevelFilter;

/// Starts logging at this level; a second call panics. `with_target`: a line names the module that wrote it.
pub fn start(level: LogLevel, with_target: bool) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(with_target)
        .init();
}
