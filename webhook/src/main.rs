//! `podlocal-webhook`: settings, log, bind, run; each way to end has its own exit code.

use std::num::NonZero;
use std::process::ExitCode;

use podlocal_telemetry::log;
use podlocal_webhook::app::cert_controller;
use podlocal_webhook::app::{self, ShutdownResult, StartError};
use podlocal_webhook::config::{self, CertController, Check, Command, Inject, ParseError, Serve};
use podlocal_webhook::{check, offline};

/// The maximum number of threads that answer admission reviews, however large the node is: each thread takes
/// memory for its stack and its part of the allocator.
const MOST_WORKERS: usize = 4;

/// Exit code: the program cannot start, or a document cannot be read.
const EXIT_FAILED: u8 = 1;

/// Exit code: a second signal interrupted the drain.
const EXIT_INTERRUPTED: u8 = 2;

/// Exit code of `check --strict`: the report contains a problem.
const EXIT_PROBLEMS: u8 = 3;

/// Exit code: the arguments or settings are invalid, `EX_USAGE` of sysexits(3).
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let command = config::parse(std::env::args_os().skip(1), |file| std::fs::read_to_string(file));
    match command {
        Ok(Command::Serve(settings)) => serve(*settings),
        Ok(Command::CertController(settings)) => cert_controller(*settings),
        Ok(Command::Inject(settings)) => inject(&settings),
        Ok(Command::Check(settings)) => check(&settings),
        // A closed pipe is a failure.
        Err(ParseError::Help(help)) => {
            help.print().map_or(ExitCode::from(EXIT_FAILED), |()| ExitCode::SUCCESS)
        }
        Err(errors) => {
            eprintln!("podlocal-webhook: {errors}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Answers admission reviews until a signal.
fn serve(settings: Serve) -> ExitCode {
    log::start(settings.common.log.log_level, true);
    let ended = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_WORKERS))
        .enable_all()
        .build()
        .map_err(StartError::Runtime)
        .and_then(|runtime| runtime.block_on(app::run(settings)));
    match ended {
        Ok(ShutdownResult::Drained) => ExitCode::SUCCESS,
        Ok(ShutdownResult::Interrupted) => ExitCode::from(EXIT_INTERRUPTED),
        Err(error) => not_started(&error),
    }
}

/// Manages the webhook's certificate until a signal.
fn cert_controller(settings: CertController) -> ExitCode {
    log::start(settings.log.log_level, true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime
        .map_err(StartError::Runtime)
        .and_then(|runtime| runtime.block_on(cert_controller::run(settings)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => not_started(&error),
    }
}

/// Injects documents: prints them to standard output, and the remarks to standard error.
fn inject(settings: &Inject) -> ExitCode {
    match offline::run(settings) {
        Ok(printed) => {
            for remark in &printed.remarks {
                eprintln!("{remark}");
            }
            print(&printed.documents)
        }
        Err(unreadable) => {
            eprintln!("{unreadable}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Reports what injection would change in documents or in the pods of a cluster.
fn check(settings: &Check) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report = match runtime.map(|runtime| runtime.block_on(check::run(settings))) {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => return failed(&error.what, &error.next),
        Err(error) => return not_started(&StartError::Runtime(error)),
    };
    let printed = if settings.json {
        print(&format!("{:#}\n", check::json::document(&report, settings)))
    } else {
        print(&check::text::page(&report, settings))
    };
    match printed {
        ExitCode::SUCCESS if !report.is_whole => ExitCode::from(EXIT_FAILED),
        ExitCode::SUCCESS if settings.strict && !report.is_fine() => ExitCode::from(EXIT_PROBLEMS),
        printed => printed,
    }
}

fn not_started(error: &StartError) -> ExitCode {
    failed(&error.to_string(), error.next_step())
}

/// Prints the error and the next step.
fn failed(what: &str, next: &str) -> ExitCode {
    eprintln!("podlocal-webhook: {what}\nnext: {next}");
    ExitCode::from(EXIT_FAILED)
}

/// Prints to standard output; a closed pipe is a failure, not a panic.
fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_FAILED),
    }
}
