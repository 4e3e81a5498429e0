//! What was measured, as a table for people.

use std::fmt;

use super::{Content, Leg, Measured, Report, Tool};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for content in &self.contents {
            let Content { corpus, images, blobs, bytes } = content;
            writeln!(f, "{corpus}: {images} images, {blobs} blobs, {:.1} MB", megabytes(*bytes))?;
            writeln!(
                f,
                "  {:<16}{:>8} {:>8} {:>7}  {:>20}  {:>20}  {:>9} {:>9} {:>8}",
                "",
                "seconds",
                "ratio",
                "cpu s",
                "source HEAD/GET/blob",
                "dest. HEAD/GET/write",
                "MB down",
                "MB up",
                "peak MiB"
            )?;
            let of_corpus: Vec<&Measured> =
                self.measured.iter().filter(|measured| measured.corpus == *corpus).collect();
            for (name, leg) in [("cold", cold as fn(&Measured) -> Option<Leg>), ("warm", warm)] {
                let ours = of_corpus.iter().find(|one| one.tool == Tool::Slipway).and_then(|one| leg(one));
                for measured in &of_corpus {
                    line(f, name, measured, leg(measured), ours)?;
                }
            }
        }
        for broken in &self.broken {
            writeln!(f, "{broken}")?;
        }
        Ok(())
    }
}

fn cold(measured: &Measured) -> Option<Leg> {
    measured.cold
}

fn warm(measured: &Measured) -> Option<Leg> {
    measured.warm
}

fn line(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    measured: &Measured,
    leg: Option<Leg>,
    ours: Option<Leg>,
) -> fmt::Result {
    let tool = measured.tool.name();
    let Some(Leg { seconds, processor, memory, source, destination }) = leg else {
        let why = measured.not_run.as_deref().unwrap_or("no reason");
        return writeln!(f, "  {name} {tool:<11} not run: {why}");
    };
    let ratio = ours.map_or(String::new(), |ours| format!("{:.1}x", seconds / ours.seconds));
    let from = format!("{}/{}/{}", source.heads, source.reads, source.blobs);
    let to =
        format!("{}/{}/{}", destination.heads, destination.reads + destination.blobs, destination.writes);
    writeln!(
        f,
        "  {name} {tool:<11}{seconds:>8.2} {ratio:>8} {processor:>7.2}  {from:>20}  {to:>20}  {:>9.2} {:>9.2} {:>8.1}",
        megabytes(source.received + destination.received),
        megabytes(source.sent + destination.sent),
        memory as f64 / f64::from(1 << 20),
    )
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
