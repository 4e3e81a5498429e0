//! A mirror that is declared and was never made: images are pulled from where they come from, and nobody has checked them.

use std::path::Path;

use super::{Finding, Rule};
use crate::mirror::{Lock, declaration, lock};

/// What is to be said when the workspace declares a mirror and has no lock of it.
pub fn unlocked(root: &Path) -> Option<Finding> {
    let mirror = declaration::load(root).ok()?;
    let line = mirror.rules.first()?.line;
    let is_locked = Lock::load(root).is_ok_and(|lock| !lock.images.is_empty());
    let rule = Rule::MirrorNotLocked;
    (!is_locked).then(|| Finding {
        rule,
        severity: rule.severity(),
        file: declaration::FILE.to_owned(),
        line,
        image: String::new(),
        message: format!(
            "nothing of it is in {}: images of others are not pulled from approved copies",
            lock::FILE
        ),
        fix: "cargo xtask mirror sync".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_mirror_without_a_lock_is_told() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(unlocked(root.path()), None);
        std::fs::create_dir(root.path().join("images")).unwrap();
        let text =
            "[[image]]\nsource = \"docker.io/library/a\"\ndestination = \"r.example/a\"\ntags = [\"1\"]\n";
        std::fs::write(root.path().join(declaration::FILE), text).unwrap();
        let finding = unlocked(root.path()).unwrap();
        assert_eq!((finding.rule, finding.fix.as_str()), (Rule::MirrorNotLocked, "cargo xtask mirror sync"));
        assert_eq!(finding.to_string().split(": ").next(), Some("images/mirror.toml:1"));
        let digest = format!("sha256:{}", "a".repeat(64));
        let lock = format!(
            "version = 1\n[[image]]\nsource = \"docker.io/library/a\"\ndestination = \"r.example/a\"\ntag = \"1\"\ndigest = \"{digest}\"\nmedia-type = \"x\"\nsize = 1\nsince = \"2026-01-01T00:00:00Z\"\n"
        );
        std::fs::write(root.path().join(lock::FILE), lock).unwrap();
        assert_eq!(unlocked(root.path()), None);
    }
}
