//! The man pages and the completions are complete, and the programs that read them accept them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::Arc;

use clap::CommandFactory as _;
use libtest_mimic::{Completion, Failed, Trial};
use podlocal_settings::table::TABLE;
use podlocal_sidecar::cli;
use tempfile::TempDir;

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
    let arguments = libtest_mimic::Arguments::from_args();
    let folder = TempDir::new().expect("a folder");
    let pages = folder.path().join("share");
    if !arguments.list {
        // `cargo test` builds all examples; this builds it if the test runs alone. For the whole workspace,
        // because another selection would enable other features of the dependencies, and rebuild them.
        let built = run(Command::new(env!("CARGO")).args([
            "build",
            "--quiet",
            "--locked",
            "--workspace",
            "--example",
            "pages",
        ]));
        assert!(built.status.success(), "{}", text(&built));
        let program = std::env::current_exe().expect("this program");
        let directory = program.ancestors().nth(2).expect("cargo's directory of the profile");
        let output = run(Command::new(directory.join("examples/pages"))
            .args([folder.path().as_os_str(), "2026-01-31".as_ref()]));
        assert!(output.status.success(), "{}", text(&output));
    }
    let programs = || {
        [
            Described::sidecar(),
            Described::of(podlocal_inspect::arguments::Arguments::command()),
            Described::webhook(),
        ]
    };
    let pages = Arc::new(pages);
    let mut trials = vec![
        Trial::test("every_flag_and_command_is_in_the_man_page_and_all_completions", {
            let pages = Arc::clone(&pages);
            move || programs().iter().try_for_each(|program| whole(program, &pages))
        }),
        Trial::test("bash_completes_commands_flags_and_values", {
            let pages = Arc::clone(&pages);
            move || {
                COMPLETED
                    .iter()
                    .try_for_each(|(program, typed, offered)| completes(&pages, program, typed, offered))
            }
        }),
    ];
    for (place, program, package, flags) in CHECKS {
        let folder = pages.join(place);
        trials.push(Trial::ignorable_test(format!("{program} takes {place}"), move || {
            checked(&folder, program, package, flags)
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What the pages and the completions of a program must name.
struct Described {
    name: String,
    commands: Vec<String>,
    flags: Vec<String>,
    /// Texts that only the man pages have: other arguments, settings and examples.
    texts: Vec<String>,
}

impl Described {
    fn sidecar() -> Self {
        let flags = TABLE.iter().filter(|setting| setting.is_for_sidecar());
        let name = "podlocal-sidecar";
        Self {
            name: name.to_owned(),
            commands: cli::COMMANDS.map(|(_, command, _)| command.to_owned()).to_vec(),
            flags: flags.map(|setting| setting.name.to_owned()).collect(),
            texts: lines_with(name, cli::NOTES),
        }
    }

    fn webhook() -> Self {
        let mut webhook = Self::of(podlocal_webhook::config::Arguments::command());
        let settings = TABLE.iter().filter(|setting| setting.is_annotation());
        webhook.texts.extend(settings.map(|setting| setting.name.to_owned()));
        webhook
    }

    fn of(mut program: clap::Command) -> Self {
        program.build();
        let name = program.get_name().to_owned();
        let all = || std::iter::once(&program).chain(program.get_subcommands());
        let (positional, flags): (Vec<_>, Vec<_>) =
            all().flat_map(clap::Command::get_arguments).partition(|argument| argument.is_positional());
        let names =
            positional.into_iter().flat_map(|argument| argument.get_value_names().into_iter().flatten());
        let notes = all().filter_map(|command| command.get_after_help());
        let examples = notes.flat_map(|notes| lines_with(&name, &notes.to_string()));
        Self {
            commands: program.get_subcommands().map(|command| command.get_name().to_owned()).collect(),
            flags: flags.into_iter().filter_map(|flag| flag.get_long()).map(str::to_owned).collect(),
            texts: names.map(ToString::to_string).chain(examples).collect(),
            name: name.clone(),
        }
    }
}

/// The lines with the name of a program: its examples.
fn lines_with(name: &str, notes: &str) -> Vec<String> {
    notes.lines().map(str::trim).filter(|line| line.contains(name)).map(str::to_owned).collect()
}

fn whole(program: &Described, pages: &Path) -> Result<(), Failed> {
    let name = &program.name;
    let read =
        |file: String| fs::read_to_string(pages.join(&file)).map_err(|error| format!("{file}: {error}"));
    let mut man = read(format!("man/man1/{name}.1"))?;
    for command in &program.commands {
        man += &read(format!("man/man1/{name}-{command}.1"))?;
    }
    let scripts = [
        read(format!("bash-completion/completions/{name}"))?,
        read(format!("zsh/site-functions/_{name}"))?,
        read(format!("fish/vendor_completions.d/{name}.fish"))?,
    ];
    let escaped = |text: &str| text.replace('-', "\\-");
    let in_scripts = |spellings: &[String]| {
        let is_in = |script: &String| spellings.iter().any(|spelling| script.contains(spelling));
        scripts.iter().all(is_in)
    };
    // fish spells a long flag `-l name`.
    let flags = program.flags.iter().map(|flag| {
        let is_there = in_scripts(&[format!("--{flag}"), format!("-l {flag}")]);
        (flag, is_there && man.contains(&format!("{}\\fR", escaped(&format!("--{flag}")))))
    });
    let commands = program.commands.iter().map(|command| {
        (command, man.contains(&escaped(command)) && in_scripts(std::slice::from_ref(command)))
    });
    let texts = program.texts.iter().map(|text| (text, man.contains(&escaped(text))));
    match flags.chain(commands).chain(texts).find(|(_, is_there)| !is_there) {
        Some((what, _)) => Err(format!("{name}: {what} is missing in the man page or a completion").into()),
        None => Ok(()),
    }
}

/// Lets bash complete the text after the program's name, as when Tab is pressed.
fn completes(pages: &Path, program: &str, typed: &str, offered: &[&str]) -> Result<(), Failed> {
    let script = r#"
        source "$1"; words=($2 $3)
        if [[ -z $3 || $3 = *' ' ]]; then words+=(''); fi
        COMP_WORDS=("${words[@]}"); COMP_CWORD=$((${#words[@]} - 1))
        registered=$(complete -p "$2"); registered=${registered#*-F }
        "${registered%% *}" "$2" "${words[-1]}" "${words[-2]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let file = pages.join("bash-completion/completions").join(program);
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
