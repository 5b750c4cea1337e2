//! The Markdown files of the repository, and what stands in them that can be wrong: commands, links, headings.
//!
//! | info string of a fenced block | what it is |
//! |---|---|
//! | `sh` | commands that a test runs, from the root of the repository |
//! | `sh cluster` | commands that need a cluster; `tests/cluster/documents.rs` runs them |
//! | `sh online` | commands that need a cluster with images from the Internet, which a test cluster may not have |
//! | `sh ci=STEP,STEP` | commands that these steps of `.ci/run` give |
//! | `sh long` | commands that take minutes; a test looks whether their programs and flags are there |
//! | a language and `output` | exactly what the `sh` block before it prints |
//! | any other language, or none | no commands |
//!
//! What is marked in another way is a mistake, as is a prompt: who copies a block must be able to paste it.

pub mod command;
mod links;

use std::collections::BTreeSet;
use std::path::PathBuf;

use podlocal_harness::repository::root;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::failure::{Failure, Tried};

/// Folders that hold no documents of ours.
const FOREIGN: [&str; 3] = ["target", "node_modules", "findings"];

/// What a line of a block without commands does not begin with. Most of what programs print does not begin so, either.
const COMMANDS: [&str; 6] = ["kubectl ", "cargo ", "curl ", "dig ", "docker ", "sudo "];

/// One Markdown file.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// From the root of the repository.
    pub path: String,
    /// The fenced blocks, in their order.
    pub blocks: Vec<Block>,
    /// Code inside of a sentence or a table: the line, and the code.
    pub spans: Vec<(usize, String)>,
    /// The line, and where a link or an image leads.
    pub links: Vec<(usize, String)>,
    /// What `#` may name: the headings, as GitHub spells them.
    pub anchors: BTreeSet<String>,
}

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    /// What it is, or why that cannot be said.
    pub kind: Result<Kind, String>,
    /// What stands in it.
    pub text: String,
}

/// What a block is; see the table above.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table says what each is")]
pub enum Kind {
    Run,
    Cluster,
    Online,
    Ci(Vec<String>),
    Long,
    Output,
    Text,
}

impl Kind {
    /// Of an info string; or what is wrong with it.
    fn of(info: &str) -> Result<Self, String> {
        let mut words = info.split_whitespace();
        let (language, mark) = (words.next().unwrap_or_default(), words.next());
        if words.next().is_some() {
            return Err(format!("{info:?}: expected a language and one word at most"));
        }
        match (language, mark) {
            ("bash" | "shell" | "console" | "zsh" | "sh-session" | "shell-session", _) => Err(format!(
                "{language:?}: expected sh for commands, without prompts, and text for what they print"
            )),
            ("sh", None) => Ok(Self::Run),
            ("sh", Some("cluster")) => Ok(Self::Cluster),
            ("sh", Some("online")) => Ok(Self::Online),
            ("sh", Some("long")) => Ok(Self::Long),
            ("sh", Some(mark)) => match mark.strip_prefix("ci=") {
                Some(steps) => Ok(Self::Ci(steps.split(',').map(str::to_owned).collect())),
                None => Err(format!("{mark:?} behind sh: expected cluster, online, long or ci=STEP")),
            },
            (_, Some("output")) => Ok(Self::Output),
            (_, None) => Ok(Self::Text),
            (_, Some(mark)) => Err(format!("{mark:?} behind {language}: expected output, or nothing")),
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
            for entry in entries.tried(|| format!("reading the folder {}", folder.display()))? {
                let entry = entry.tried(|| format!("reading the folder {}", folder.display()))?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = folder.join(&name);
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let is_hidden = name.starts_with('.') && name != ".ci";
                if is_folder && !is_hidden && !FOREIGN.contains(&name.as_str()) {
                    folders.push(path);
                } else if !is_folder && path.extension().is_some_and(|ending| ending == "md") {
                    let text = std::fs::read_to_string(root().join(&path));
                    let text = text.tried(|| format!("reading {}", path.display()))?;
                    documents.push(Self::of(&path.to_string_lossy(), &text));
                }
            }
        }
        documents.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(documents)
    }

    /// The document with that text.
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
                    document.spans.push((line(range.start), code.to_string()));
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

    /// The README, and then the pages in the order of docs/README.md, each once: as a reader follows them.
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

    /// Blocks that do not say where their commands run, hold a prompt, or are the output of nothing; a line each.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut last_commands = None;
        for block in &self.blocks {
            let mut mistake = |what: &str| mistakes.push(format!("{}:{}: {what}", self.path, block.line));
            match &block.kind {
                Err(what) => mistake(what),
                Ok(Kind::Output) if last_commands != Some(&Kind::Run) => {
                    mistake("output of what? the block with commands before it is not run here");
                }
                Ok(Kind::Output | Kind::Text) => {}
                Ok(kind) => last_commands = Some(kind),
            }
            let is_command = |line: &str| COMMANDS.iter().any(|command| line.starts_with(command));
            if block.kind == Ok(Kind::Text) && block.text.lines().any(is_command) {
                mistake(
                    "a command in a block of text: mark it sh, sh cluster, sh online, sh ci=STEP or sh long",
                );
            }
            if block.text.lines().any(|line| line.trim_start().starts_with("$ ")) {
                mistake("a prompt: commands go into a block marked sh, what they print into one marked text");
            }
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Result<Kind, String>> {
        Document::of("x.md", text).blocks.into_iter().map(|block| block.kind).collect()
    }

    #[test]
    fn a_block_is_what_its_info_string_says() {
        let cases = [
            ("sh", Kind::Run),
            ("sh cluster", Kind::Cluster),
            ("sh online", Kind::Online),
            ("sh ci=test,gang", Kind::Ci(vec!["test".to_owned(), "gang".to_owned()])),
            ("sh long", Kind::Long),
            ("yaml output", Kind::Output),
            ("", Kind::Text),
            ("rust", Kind::Text),
        ];
        for (info, kind) in cases {
            assert_eq!(kinds(&format!("```{info}\nx\n```\n")), [Ok(kind)], "{info}");
        }
        for info in ["sh clutser", "sh cluster long", "bash", "console", "yaml outptu"] {
            assert!(kinds(&format!("```{info}\nx\n```\n"))[0].is_err(), "{info}");
        }
    }

    #[test]
    fn a_prompt_and_output_of_nothing_are_mistakes_with_their_line() {
        let mistakes = |text: &str| Document::of("x.md", text).mistakes();
        assert_eq!(mistakes("```sh\ntrue\n```\n\nIt prints:\n\n```text output\n```\n"), [""; 0]);
        assert!(mistakes("```text\nkubectl get pods\n```\n")[0].starts_with("x.md:1: a command in a block"));
        assert!(mistakes("a\n\n```\n$ true\n```\n")[0].starts_with("x.md:3: a prompt"));
        assert!(
            mistakes("```sh cluster\ntrue\n```\n```text output\n```\n")[0].starts_with("x.md:4: output of")
        );
    }

    #[test]
    fn links_spans_and_headings_are_found_with_their_lines_but_not_inside_of_blocks() {
        let text =
            "# The `sh` blocks, in full\n\n[a](b.md#c) `true` ![i](i.svg)\n\n```text\n# no [x](y)\n```\n";
        let document = Document::of("x.md", text);
        assert_eq!(document.anchors, BTreeSet::from(["the-sh-blocks-in-full".to_owned()]));
        assert_eq!(document.links, [(3, "b.md#c".to_owned()), (3, "i.svg".to_owned())]);
        assert_eq!(document.spans, [(1, "sh".to_owned()), (3, "true".to_owned())]);
        assert_eq!(document.blocks[0].text, "# no [x](y)\n");
    }
}
