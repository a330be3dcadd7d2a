//! Rules of the house that the compiler does not keep: which module may know which, and sizes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// What each module may import of this crate. `net`, `api` and `cli` stand at the top.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("message", &[]),
    ("store", &[]),
    ("ahead", &[]),
    ("event", &["message", "presence", "store"]),
    ("transaction", &["ahead"]),
    ("auth", &["message"]),
    ("presence", &["ahead", "auth", "store"]),
    ("routing", &["presence"]),
    ("call", &["message", "presence", "store", "transaction"]),
    (
        "registrar",
        &["message", "presence", "store", "transaction"],
    ),
    (
        "proxy",
        &[
            "auth",
            "message",
            "registrar",
            "transaction",
            "presence",
            "routing",
            "call",
            "event",
            "store",
        ],
    ),
    ("bench", &["auth", "message"]),
    ("engine", &["message", "presence", "proxy", "store"]),
    (
        "config",
        &[
            "auth",
            "event",
            "message",
            "presence",
            "routing",
            "proxy",
            "registrar",
            "store",
            "transaction",
        ],
    ),
];
const LONGEST_FILE: usize = 600;
const LONGEST_FUNCTION: usize = 72;

fn sources(below: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The lines of a source file before its tests.
fn code_of(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let tests = ["\n#[cfg(test)]\nmod tests", "\n#[cfg(test)]\n#["];
    let end = tests
        .iter()
        .filter_map(|head| text.find(head))
        .min()
        .unwrap_or(text.len());
    text.get(..end)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn module_of(path: &Path) -> String {
    let below = path.strip_prefix(root().join("src")).unwrap();
    let first = below
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn fail_on(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn imports_point_downwards_only() {
    let mut found = Vec::new();
    for path in sources(&root().join("src")) {
        let module = module_of(&path);
        let Some((_, known)) = MAY_KNOW.iter().find(|(name, _)| *name == module) else {
            continue;
        };
        for (number, line) in code_of(&path).iter().enumerate() {
            let code = line.split("//").next().unwrap();
            for (_, rest) in code
                .match_indices("crate::")
                .map(|(at, m)| (at, &code[at + m.len()..]))
            {
                let used: String = rest
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                if used != module && !used.is_empty() && !known.contains(&used.as_str()) {
                    found.push(format!(
                        "{}:{}: {module} knows {used}",
                        path.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    fail_on(&found, "an import points upwards");
}

#[test]
fn every_module_says_what_it_is_for() {
    let missing: Vec<_> = sources(&root().join("src"))
        .iter()
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("//!"))
        .map(|path| path.display().to_string())
        .collect();
    fail_on(&missing, "a file does not begin with its purpose");
}

#[test]
fn files_and_functions_are_of_readable_size() {
    let mut found = Vec::new();
    for path in sources(&root().join("src")) {
        let lines = code_of(&path);
        let name = path.display();
        if lines.len() > LONGEST_FILE {
            found.push(format!("{name}: {} lines", lines.len()));
        }
        for (start, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_function = [
                "fn ",
                "pub fn ",
                "pub(super) fn ",
                "pub(crate) fn ",
                "async fn ",
                "pub async fn ",
                "pub(super) async fn ",
                "const fn ",
                "pub const fn ",
            ]
            .iter()
            .any(|head| line.trim_start().starts_with(head));
            // A trait's function without a body may be declared over several lines.
            let declared = lines.iter().skip(start);
            let is_declared_only = declared
                .map(|line| line.trim_end())
                .find(|line| line.ends_with(['{', ';', '}']))
                .is_some_and(|line| line.ends_with(';'));
            if !is_function || is_declared_only {
                continue;
            }
            let end = format!("{}}}", " ".repeat(indent));
            let length = lines
                .iter()
                .skip(start)
                .position(|line| *line == end)
                .unwrap_or(0)
                + 1;
            if length > LONGEST_FUNCTION {
                found.push(format!(
                    "{name}:{}: a function of {length} lines",
                    start + 1
                ));
            }
        }
    }
    fail_on(&found, "too large to read");
}

#[test]
fn lints_are_switched_off_only_with_a_reason_and_nothing_is_left_over() {
    let mut found = Vec::new();
    for path in sources(&root().join("src")) {
        for (number, line) in code_of(&path).iter().enumerate() {
            let leftovers = ["todo!(", "unimplemented!(", "dbg!(", "TODO", "FIXME"];
            if line.contains("#[allow(") || leftovers.iter().any(|word| line.contains(word)) {
                found.push(format!(
                    "{}:{}: {}",
                    path.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    fail_on(
        &found,
        "`expect` with a reason says why; leftovers are not handed in",
    );
}

#[test]
fn the_map_names_every_module() {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        if path.join("mod.rs").is_file() {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(
                map.contains(&format!("//! | [`{name}`]")),
                "src/lib.rs does not map {name}"
            );
        }
    }
}
