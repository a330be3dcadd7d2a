//! `pointsman export`: write all subscribers as JSON Lines.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{CliError, Exit, Outcome};
use super::{DONE, Setting};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman export people.jsonl
  pointsman export | gzip > people.jsonl.gz
  pointsman export --with-credentials server.jsonl   (keep it as secret as the passwords)")]
pub(super) struct Export {
    /// The file to write; standard output without it. It is replaced only when all is written
    file: Option<PathBuf>,
    /// Also the digests of passwords, so that `import` elsewhere loses none
    #[arg(long)]
    with_credentials: bool,
}

impl Export {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        let path = match self.with_credentials {
            true => "/api/v1/export?credentials=true",
            false => "/api/v1/export",
        };
        let mut lines = BufReader::new(setting.client()?.stream(path, None)?);
        let Some(path) = &self.file else {
            let mut out = BufWriter::new(io::stdout().lock());
            return match copy(&mut lines, &mut out) {
                Ok(_) => DONE,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => DONE,
                Err(error) => Err(CliError::failed(format!("export: {error}"))),
            };
        };
        let count = replace(path, self.with_credentials, &mut lines)
            .map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
        eprintln!("{count} subscribers written to {}", path.display());
        Ok(Exit::Done)
    }
}

/// Writes beside the file and takes its place at the end, so that a broken export loses nothing.
fn replace(path: &Path, is_secret: bool, lines: &mut impl BufRead) -> io::Result<u64> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let mut out = BufWriter::new(create(&part, is_secret)?);
    let written = copy(lines, &mut out).and_then(|count| {
        out.get_ref().sync_all()?;
        fs::rename(&part, path)?;
        Ok(count)
    });
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

/// A new file; one with digests is for its owner only.
fn create(path: &Path, is_secret: bool) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if is_secret && path.exists() {
        fs::remove_file(path)?;
    }
    let mode = if is_secret { 0o600 } else { 0o666 };
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(mode);
    options.open(path)
}

fn copy(lines: &mut impl BufRead, out: &mut impl Write) -> io::Result<u64> {
    let mut count = 0;
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        out.write_all(&line)?;
        line.clear();
        count += 1;
    }
    out.flush()?;
    Ok(count)
}
