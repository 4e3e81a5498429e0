//! Which images a Containerfile pulls: `FROM`, `COPY --from`, `ADD --from` and `RUN --mount=…,from=…`, with the defaults of
//! `ARG` filled in. Stages of the file itself, numbers and `scratch` are not pulled. And what fetches a compiler past those images: a Go command
//! that is allowed to, `rustup`.

use std::collections::HashMap;

use super::{Mention, Place};

/// Every image in `text`, in order.
pub(super) fn mentions(file: &str, text: &str) -> Vec<Mention> {
    let mut reader = Reader::default();
    for (line, instruction) in instructions(text) {
        reader.read(file, line, &instruction);
    }
    reader.mentions
}

#[derive(Default)]
struct Reader {
    /// `ARG`s before the first `FROM`: the only ones a `FROM` sees.
    arguments: HashMap<String, Option<String>>,
    /// Names of the stages so far, in lower case.
    stages: Vec<String>,
    in_stage: bool,
    mentions: Vec<Mention>,
}

impl Reader {
    fn read(&mut self, file: &str, line: usize, instruction: &str) {
        let (keyword, rest) = instruction.split_once(char::is_whitespace).unwrap_or((instruction, ""));
        let keyword = keyword.to_ascii_uppercase();
        if let ("ARG" | "ENV" | "RUN", Some(written)) = (keyword.as_str(), fetches_a_compiler(rest)) {
            let (file, image) = (file.to_owned(), Ok(written));
            self.mentions.push(Mention { file, line, place: Place::Compiler, image });
        }
        match keyword.as_str() {
            "ARG" if !self.in_stage => self.argument(rest),
            "FROM" => self.from(file, line, rest),
            "COPY" | "ADD" => {
                let flags = rest.split_whitespace().take_while(|word| word.starts_with("--"));
                for image in flags.filter_map(|flag| flag.strip_prefix("--from=")) {
                    self.mention(file, line, image);
                }
            }
            "RUN" => {
                let flags = rest.split_whitespace().take_while(|word| word.starts_with("--"));
                let mounts = flags.filter_map(|flag| flag.strip_prefix("--mount="));
                for image in
                    mounts.flat_map(|mount| mount.split(',')).filter_map(|key| key.strip_prefix("from="))
                {
                    self.mention(file, line, image);
                }
            }
            _ => {}
        }
    }

    fn argument(&mut self, rest: &str) {
        for word in rest.split_whitespace() {
            let (name, default) = match word.split_once('=') {
                Some((name, default)) => (name, Some(unquoted(default))),
                None => (word, None),
            };
            let default = default.and_then(|default| self.expand(default).ok());
            self.arguments.insert(name.to_owned(), default);
        }
    }

    fn from(&mut self, file: &str, line: usize, rest: &str) {
        self.in_stage = true;
        let mut words = rest.split_whitespace().filter(|word| !word.starts_with("--"));
        let Some(image) = words.next() else { return };
        self.mention(file, line, image);
        if let (Some(keyword), Some(name)) = (words.next(), words.next())
            && keyword.eq_ignore_ascii_case("as")
        {
            self.stages.push(name.to_lowercase());
        }
    }

    fn mention(&mut self, file: &str, line: usize, written: &str) {
        let image = self.expand(unquoted(written));
        if let Ok(image) = &image {
            let is_stage = self.stages.contains(&image.to_lowercase());
            if is_stage || image == "scratch" || image.bytes().all(|byte| byte.is_ascii_digit()) {
                return;
            }
        }
        self.mentions.push(Mention { file: file.to_owned(), line, place: Place::Containerfile, image });
    }

    /// Replaces `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:+other}`; the error names the argument without a value.
    fn expand(&self, written: &str) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = written;
        while let Some((before, after)) = rest.split_once('$') {
            expanded.push_str(before);
            let (name, modifier, tail) = match after.strip_prefix('{').and_then(|body| body.split_once('}')) {
                Some((body, tail)) => {
                    let end = body.find(|c: char| !is_name(c)).unwrap_or(body.len());
                    (&body[..end], &body[end..], tail)
                }
                None => {
                    let end = after.find(|c: char| !is_name(c)).unwrap_or(after.len());
                    (&after[..end], "", &after[end..])
                }
            };
            let value = self.arguments.get(name).cloned().flatten().filter(|value| !value.is_empty());
            let value = match (value, modifier.split_at_checked(2)) {
                (Some(_), Some((":+", other))) => other.to_owned(),
                (None, Some((":+", _))) => String::new(),
                (Some(value), _) => value,
                (None, Some((":-", default))) => self.expand(default)?,
                (None, _) => return Err(format!("the argument `{name}` of `{written}` has no default")),
            };
            expanded.push_str(&value);
            rest = tail;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }
}

/// The words that let a compiler be fetched while an image is built.
fn fetches_a_compiler(rest: &str) -> Option<String> {
    // Go fetches what `auto` or a version asks for, and nothing with `local` or `path`.
    let is_fetched = |value: &str| value.contains("auto") || value.starts_with("go");
    let words: Vec<&str> = rest.split(|c: char| c.is_whitespace() || ";&|()".contains(c)).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).map(unquoted).collect();
    words.iter().enumerate().find_map(|(index, word)| {
        let next = words.get(index + 1).copied().unwrap_or_default();
        match word.split_once('=') {
            Some(("GOTOOLCHAIN", value)) => {
                is_fetched(unquoted(value)).then(|| format!("GOTOOLCHAIN={}", unquoted(value)))
            }
            None if *word == "GOTOOLCHAIN" => is_fetched(next).then(|| format!("GOTOOLCHAIN={next}")),
            _ if word.contains("sh.rustup.rs") => Some((*word).to_owned()),
            None if *word == "rustup" && ["toolchain", "install", "update", "default"].contains(&next) => {
                Some(format!("rustup {next}"))
            }
            _ => None,
        }
    })
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn unquoted(text: &str) -> &str {
    let inner = |quote: char| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

/// Instructions with the line they begin at: continuation lines joined, comments and here-documents left out.
fn instructions(text: &str) -> Vec<(usize, String)> {
    let escape = if escape_is_backtick(text) { '`' } else { '\\' };
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    let mut here: Vec<String> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if let Some(end) = here.first() {
            if trimmed == end {
                here.remove(0);
            }
            continue;
        }
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let (content, continued) = match trimmed.strip_suffix(escape) {
            Some(content) => (content.trim_end(), true),
            None => (trimmed, false),
        };
        match found.last_mut().filter(|_| open) {
            Some((_, instruction)) => {
                instruction.push(' ');
                instruction.push_str(content);
            }
            None => found.push((index + 1, content.to_owned())),
        }
        open = continued;
        if !open && let Some((_, instruction)) = found.last() {
            here = here_documents(instruction);
        }
    }
    found
}

fn escape_is_backtick(text: &str) -> bool {
    let directives = text.lines().map(str::trim).take_while(|line| line.starts_with('#'));
    directives
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .any(|(name, value)| name.trim().eq_ignore_ascii_case("escape") && value.trim() == "`")
}

/// The words that end the here-documents an instruction begins.
fn here_documents(instruction: &str) -> Vec<String> {
    let keyword = instruction.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if !matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") {
        return Vec::new();
    }
    let words = instruction.split_whitespace().filter_map(|word| word.strip_prefix("<<"));
    words
        .map(|word| unquoted(word.trim_start_matches('-')).to_owned())
        .filter(|word| !word.is_empty() && word.chars().all(is_name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found: Vec<String> = mentions("Containerfile", text)
            .into_iter()
            .map(|mention| {
                format!("{}: {}", mention.line, mention.image.unwrap_or_else(|error| format!("! {error}")))
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn stages_and_scratch_are_not_pulled() {
        check(
            "FROM --platform=$BUILDPLATFORM quay.io/a/b:1 AS Build\nRUN x\nFROM build AS more\nFROM scratch\nCOPY --from=0 /a /\nCOPY --chown=1 --from=build /a /\nCOPY --from=quay.io/c/d /x /y\n",
            &["1: quay.io/a/b:1", "7: quay.io/c/d"],
        );
    }

    #[test]
    fn arguments_have_their_defaults() {
        check(
            "ARG REGISTRY=quay.io\nARG IMAGE=\"${REGISTRY}/team/go\"\nARG TAG\nFROM $IMAGE:1 AS a\nFROM ${IMAGE}:${TAG:-2}\nFROM ${IMAGE}:$TAG\nFROM x${TAG:+-$TAG}\n",
            &[
                "4: quay.io/team/go:1",
                "5: quay.io/team/go:2",
                "6: ! the argument `TAG` of `${IMAGE}:$TAG` has no default",
                "7: x",
            ],
        );
    }

    #[test]
    fn an_argument_of_a_stage_does_not_reach_a_from() {
        check(
            "ARG BASE=one\nFROM $BASE\nARG BASE=two\nFROM ${BASE}\nFROM ${OTHER}\n",
            &["2: one", "4: one", "5: ! the argument `OTHER` of `${OTHER}` has no default"],
        );
    }

    #[test]
    fn what_fetches_a_compiler_is_seen() {
        check(
            "FROM a\nENV GOTOOLCHAIN=auto GOFLAGS=-mod=mod\nENV GOTOOLCHAIN go1.26.1\nARG GOTOOLCHAIN=\"local+auto\"\nRUN x && GOTOOLCHAIN=go1.25.0 go build\nRUN curl https://sh.rustup.rs | sh\nRUN rustup default 1.95 && cargo build\n",
            &[
                "1: a",
                "2: GOTOOLCHAIN=auto",
                "3: GOTOOLCHAIN=go1.26.1",
                "4: GOTOOLCHAIN=local+auto",
                "5: GOTOOLCHAIN=go1.25.0",
                "6: https://sh.rustup.rs",
                "7: rustup default",
            ],
        );
        check(
            "FROM a\nENV GOTOOLCHAIN=local\nRUN rustup show && go build -o /go1 # rustup\nLABEL x=GOTOOLCHAIN=auto\n",
            &["1: a"],
        );
    }

    #[test]
    fn lines_go_on_and_here_documents_are_skipped() {
        check(
            "# syntax=docker/dockerfile:1\nFROM \\\n  # a comment in between\n  quay.io/a/b\nRUN --mount=type=bind,from=quay.io/tools/c,target=/t <<EOF\nFROM not/an/image\nEOF\nfrom two\n",
            &["2: quay.io/a/b", "5: quay.io/tools/c", "8: two"],
        );
    }
}
