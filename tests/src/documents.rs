//! Checks the Markdown files of the repository: commands, links, headings, figures.
//!
//! The word after the fence of a block says whether and where its commands run; CONTRIBUTING.md, "Commands in
//! documents", has the table. Any other mark is an error, and so is a prompt, because readers copy and paste
//! whole blocks.

mod links;
pub mod results;

use std::collections::BTreeSet;
use std::path::PathBuf;

use podlocal_harness::repository::root;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use podlocal_harness::failure::{Failure, WithContext};

/// Folders without documents of this repository.
const FOREIGN: [&str; 3] = ["target", "node_modules", "findings"];

/// Beginnings of lines that show a command. A block without commands must not have them; the output of
/// programs rarely does.
const COMMANDS: [&str; 6] = ["kubectl ", "cargo ", "curl ", "dig ", "docker ", "sudo "];

/// One Markdown file.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// From the root of the repository.
    pub path: String,
    /// The fenced blocks, in their order.
    pub blocks: Vec<Block>,
    /// Code spans in sentences and tables.
    pub spans: Vec<String>,
    /// Links and images: the line number, and the target.
    pub links: Vec<(usize, String)>,
    /// The anchors of the headings, as GitHub spells them.
    pub anchors: BTreeSet<String>,
}

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    /// Its kind, or the error in its info string.
    pub kind: Result<Kind, String>,
    /// Its contents.
    pub text: String,
}

/// The kind of a block; see the table in CONTRIBUTING.md.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table says what each is")]
pub enum Kind {
    Run,
    Cluster,
    Ci,
    NotRun,
    Output,
    Text,
}

impl Kind {
    /// The kind for an info string, or the error in it.
    fn of(info: &str) -> Result<Self, String> {
        let mut words = info.split_whitespace();
        let (language, mark) = (words.next().unwrap_or_default(), words.next());
        if words.next().is_some() {
            return Err(format!("{info:?}: expected a language and at most one word"));
        }
        match (language, mark) {
            ("bash" | "shell" | "console" | "zsh" | "sh-session" | "shell-session", _) => Err(format!(
                "{language:?}: expected sh for commands, without prompts, and text for what they print"
            )),
            ("sh", None) => Ok(Self::Run),
            ("sh", Some("cluster")) => Ok(Self::Cluster),
            ("sh", Some("long" | "online")) => Ok(Self::NotRun),
            ("sh", Some("ci")) => Ok(Self::Ci),
            ("sh", Some(mark)) => Err(format!("{mark:?} after sh: expected ci, cluster, online or long")),
            (_, Some("output")) => Ok(Self::Output),
            (_, None) => Ok(Self::Text),
            (_, Some(mark)) => Err(format!("{mark:?} after {language}: expected output, or nothing")),
        }
    }
}

impl Document {
    /// Every document of the repository, by its path.
    pub fn all() -> Result<Vec<Self>, Failure> {
        let mut documents = Vec::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(root().join(&folder));
            for entry in entries.with_context(|| format!("reading the folder {}", folder.display()))? {
                let entry = entry.with_context(|| format!("reading the folder {}", folder.display()))?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = folder.join(&name);
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let is_hidden = name.starts_with('.') && name != ".ci";
                if is_folder && !is_hidden && !FOREIGN.contains(&name.as_str()) {
                    folders.push(path);
                } else if !is_folder && path.extension().is_some_and(|ending| ending == "md") {
                    let text = std::fs::read_to_string(root().join(&path));
                    let text = text.with_context(|| format!("reading {}", path.display()))?;
                    documents.push(Self::of(&path.to_string_lossy(), &text));
                }
            }
        }
        documents.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(documents)
    }

    /// Parses the text of a document.
    pub fn of(path: &str, text: &str) -> Self {
        let mut document = Self { path: path.to_owned(), ..Self::default() };
        let line = |at: usize| text[..at].matches('\n').count() + 1;
        let mut heading: Option<String> = None;
        let mut block: Option<Block> = None;
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let kind = match kind {
                        CodeBlockKind::Fenced(info) => Kind::of(&info),
                        CodeBlockKind::Indented => Ok(Kind::Text),
                    };
                    block = Some(Block { line: line(range.start), kind, text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => document.blocks.extend(block.take()),
                Event::Text(part) => {
                    if let Some(block) = &mut block {
                        block.text.push_str(&part);
                    } else if let Some(heading) = &mut heading {
                        heading.push_str(&part);
                    }
                }
                Event::Code(code) => {
                    document.spans.push(code.to_string());
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    links::add_anchor(&mut document.anchors, &heading.take().unwrap_or_default());
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push((line(range.start), dest_url.to_string()));
                }
                _ => {}
            }
        }
        document
    }

    /// The README, and then the pages in the order of docs/README.md, each once.
    pub fn in_reading_order(mut all: Vec<Self>) -> Vec<Self> {
        let index = all.iter().find(|document| document.path == "docs/README.md");
        let links = index.into_iter().flat_map(|index| &index.links);
        let paths = links.map(|(_, link)| link.split('#').next().unwrap_or_default());
        let pages = paths.map(|path| match path.strip_prefix("../") {
            Some(above) => above.to_owned(),
            None => format!("docs/{path}"),
        });
        let order: Vec<_> = std::iter::once("README.md".to_owned()).chain(pages).collect();
        let place = |document: &Self| order.iter().position(|path| *path == document.path);
        all.retain(|document| place(document).is_some());
        all.sort_by_key(place);
        all
    }

    /// The blocks of one kind.
    pub fn blocks_of(&self, is_wanted: impl Fn(&Kind) -> bool) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(move |block| block.kind.as_ref().is_ok_and(&is_wanted))
    }

    /// One line for each block that does not say where its commands run, contains a prompt, or is the output
    /// of no block.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut last_commands = None;
        for block in &self.blocks {
            let mut mistake = |what: &str| mistakes.push(format!("{}:{}: {what}", self.path, block.line));
            match &block.kind {
                Err(what) => mistake(what),
                Ok(Kind::Output) if last_commands != Some(&Kind::Run) => {
                    mistake("output without a preceding sh block that a test runs");
                }
                Ok(Kind::Output | Kind::Text) => {}
                Ok(kind) => last_commands = Some(kind),
            }
            let is_command = |line: &str| COMMANDS.iter().any(|command| line.starts_with(command));
            if block.kind == Ok(Kind::Text) && block.text.lines().any(is_command) {
                mistake(
                    "a command in a text block: mark the block sh, sh cluster, sh online, sh ci or sh long",
                );
            }
            if block.text.lines().any(|line| line.trim_start().starts_with("$ ")) {
                mistake(
                    "a prompt: put commands into a block marked sh, and their output into one marked text",
                );
            }
        }
        mistakes
    }
}
