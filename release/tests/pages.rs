//! The man pages and the completions are complete, and the programs that read them accept them.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::{fs, iter};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use podlocal_settings::table::TABLE;

#[allow(dead_code, reason = "`main` is for the example")]
#[path = "../examples/pages/main.rs"]
mod pages;

/// The text typed after the name of a program, and the completions that `bash` must offer; those that it must
/// not offer begin with `!`.
const COMPLETED: &[(&str, &str, &[&str])] = &[
    ("podlocal-sidecar", "--cache-", &["--cache-size", "!--listen"]),
    ("podlocal-sidecar", "", &["serve", "await", "health", "!lookup", "--listen", "--help", "!help"]),
    ("podlocal-sidecar", "serve --", &["--listen", "!--json"]),
    ("podlocal-sidecar", "serve --role ", &["pod", "shared"]),
    ("podlocal-sidecar", "await --ready-", &["--ready-timeout"]),
    ("podlocal-inspect", "", &["lookup", "stats", "--help", "!help"]),
    ("podlocal-inspect", "lookup --", &["--trace", "--json", "--resolv-conf", "--admin-port", "!--watch"]),
    ("podlocal-inspect", "stats --", &["--watch", "--names", "--json", "!--trace"]),
    ("podlocal-webhook", "in", &["inject", "!serve"]),
    ("podlocal-webhook", "inject --o", &["--output", "!--listen"]),
    ("podlocal-webhook", "inject --output ", &["yaml", "json"]),
    ("podlocal-webhook", "inject --log-level d", &["debug", "!info"]),
    (
        "podlocal-webhook",
        "check --",
        &["--as-if-enabled", "--strict", "--verbose", "--json", "--file", "!--listen"],
    ),
    ("podlocal-webhook", "serve --tls-", &["--tls-cert", "--tls-key"]),
];

/// The number of files in the folder of the man pages: one for each program, and one for each of their
/// commands.
const MAN_PAGES: usize = PROGRAMS + 4 + 2 + 4;

/// The number of programs, and of files in the folder of each shell.
const PROGRAMS: usize = 3;

/// Checks of files by the programs that read them: the folder, the program, its Debian package, its
/// arguments.
const CHECKS: &[(&str, &str, &str, &[&str])] = &[
    ("man/man1", "man", "man-db", &["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]),
    ("man/man1", "mandoc", "mandoc", &["-Tlint", "-W", "warning"]),
    ("bash-completion/completions", "bash", "bash", &["-n"]),
    ("zsh/site-functions", "zsh", "zsh", &["-n"]),
    ("fish/vendor_completions.d", "fish", "fish", &["-n"]),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.list {
        let _ = fs::remove_dir_all(folder()); // of an earlier run
        pages::write_all(&folder(), "2026-01-31").expect("writes");
    }
    let mut trials = vec![
        Trial::test("every_flag_and_command_is_in_the_man_page_and_all_completions", || {
            pages::programs().into_iter().try_for_each(whole)
        }),
        Trial::test("bash_completes_commands_flags_and_values", || {
            COMPLETED.iter().try_for_each(|(program, typed, offered)| completes(program, typed, offered))
        }),
    ];
    for (place, program, package, flags) in CHECKS {
        trials.push(Trial::ignorable_test(format!("{program} takes {place}"), move || {
            checked(&share(place), program, package, flags)
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages")
}

fn share(place: impl AsRef<Path>) -> PathBuf {
    folder().join("share").join(place)
}

/// The flags and commands of a program are in its man pages and in every completion; its other arguments, its
/// examples, and the settings that it reads from annotations are in the man pages.
fn whole(mut program: clap::Command) -> Result<(), Failed> {
    program.build();
    let name = program.get_name();
    let read = |file: String| fs::read_to_string(share(&file)).map_err(|error| format!("{file}: {error}"));
    let mut man = read(format!("man/man1/{name}.1"))?;
    for command in program.get_subcommands() {
        man += &read(format!("man/man1/{name}-{}.1", command.get_name()))?;
    }
    let scripts = [
        read(format!("bash-completion/completions/{name}"))?,
        read(format!("zsh/site-functions/_{name}"))?,
        read(format!("fish/vendor_completions.d/{name}.fish"))?,
    ];
    let in_man = |text: &str| man.contains(&text.replace('-', "\\-"));
    let in_scripts = |spellings: &[&str]| {
        scripts.iter().all(|script| spellings.iter().any(|spelling| script.contains(spelling)))
    };
    let all = || iter::once(&program).chain(program.get_subcommands());
    let arguments = || all().flat_map(clap::Command::get_arguments);
    let flags = arguments().filter_map(|argument| argument.get_long()).map(|flag| {
        // fish spells a long flag `-l name`.
        let is_in_scripts = in_scripts(&[&format!("--{flag}"), &format!("-l {flag}")]);
        (flag.to_owned(), is_in_scripts && in_man(&format!("--{flag}\\fR")))
    });
    let commands = program.get_subcommands().map(clap::Command::get_name);
    let commands = commands.map(|name| (name.to_owned(), in_man(name) && in_scripts(&[name])));
    let others = arguments().filter(|argument| argument.is_positional());
    let others = others.flat_map(|argument| argument.get_value_names().into_iter().flatten());
    let notes: Vec<_> =
        all().filter_map(|command| command.get_after_help()).map(ToString::to_string).collect();
    let examples =
        notes.iter().flat_map(|notes| notes.lines()).map(str::trim).filter(|line| line.contains(name));
    let settings = TABLE.iter().filter(|setting| name == "podlocal-webhook" && setting.is_annotation());
    let texts = others.map(ToString::to_string).chain(examples.map(str::to_owned));
    let texts = texts.chain(settings.map(|setting| setting.name.to_owned()));
    let texts = texts.map(|text| {
        let is_there = in_man(&text);
        (text, is_there)
    });
    match flags.chain(commands).chain(texts).find(|(_, is_there)| !is_there) {
        Some((what, _)) => Err(format!("{name}: {what} is missing in the man page or a completion").into()),
        None => Ok(()),
    }
}

/// Lets bash complete the text after the program's name, as when Tab is pressed.
fn completes(program: &str, typed: &str, offered: &[&str]) -> Result<(), Failed> {
    let script = r#"
        source "$1"; words=($2 $3)
        if [[ -z $3 || $3 = *' ' ]]; then words+=(''); fi
        COMP_WORDS=("${words[@]}"); COMP_CWORD=$((${#words[@]} - 1))
        registered=$(complete -p "$2"); registered=${registered#*-F }
        "${registered%% *}" "$2" "${words[-1]}" "${words[-2]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let file = share("bash-completion/completions").join(program);
    let output = run(Command::new("bash").args(["-c", script, "bash"]).arg(file).args([program, typed]));
    let reply = String::from_utf8_lossy(&output.stdout).into_owned();
    let replies: Vec<_> = reply.lines().collect();
    for word in offered {
        let is_offered = replies.contains(&word.trim_start_matches('!'));
        if is_offered == word.starts_with('!') {
            return Err(format!("{program} {typed}<Tab>: {word} expected, got {}", text(&output)).into());
        }
    }
    Ok(())
}

/// Every file of the folder passes the check without output.
fn checked(folder: &Path, program: &str, package: &str, flags: &[&str]) -> Result<Completion, Failed> {
    let missing =
        || Ok(Completion::ignored_with(format!("there is no {program}; install Debian's {package}")));
    let files: Vec<PathBuf> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    let expected = if folder.ends_with("man1") { MAN_PAGES } else { PROGRAMS };
    if files.len() != expected {
        return Err(format!("expected {expected} files, found {files:?}").into());
    }
    for file in files {
        let mut command = Command::new(program);
        command.args(flags).arg(&file).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80").env("MANROFFSEQ", "");
        let output = match command.output() {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return missing(),
            Err(error) => return Err(error.to_string().into()),
        };
        // mandoc reports to standard output; man prints the page there.
        let remarks = if program == "man" { output.stderr.clone() } else { output.stdout.clone() };
        if !output.status.success() || !remarks.is_empty() {
            return Err(format!("{}: {}", file.display(), text(&output)).into());
        }
    }
    Ok(Completion::Completed)
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()))
}

fn text(output: &Output) -> String {
    let of = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(2000).collect::<String>();
    format!("{}\n{}\n{}", output.status, of(&output.stdout), of(&output.stderr))
}
