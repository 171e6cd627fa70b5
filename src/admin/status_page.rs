//! The status page: the state of the process on one HTML page without external resources.

use std::fmt::{self, Write as _};

use super::process::AdminProcess;
use crate::credentials::SourceStatus;
use crate::telemetry::{ClientConnectionCounts, OperationSnapshot, RejectedRequest, RequestOutcome};
use crate::time::Timestamp;
use crate::transport::PoolStatsSnapshot;

/// Returns the page as HTML.
pub(super) fn html(process: &dyn AdminProcess) -> String {
    let mut page = String::with_capacity(8 * 1024);
    // Writing to a `String` cannot fail.
    let _ = write(&mut page, process);
    page
}

fn write(page: &mut String, process: &dyn AdminProcess) -> fmt::Result {
    let counters = process.counters();
    head(page, process)?;
    certificates(page, process)?;
    sources(page, process)?;
    routes(page, process)?;
    traffic(page, process)?;
    refusals(page, &counters.last_refusals())?;
    page.push_str("</html>\n");
    Ok(())
}

fn head(page: &mut String, process: &dyn AdminProcess) -> fmt::Result {
    let counters = process.counters();
    let ClientConnectionCounts { opened, closed } = counters.connections();
    let (class, state) = match process.ready() {
        Ok(()) => ("good", "ready".to_owned()),
        Err(reason) => ("bad", format!("not ready: {reason}")),
    };
    write!(page, "{HEAD}<h1>oss-signing-proxy <small>{}</small></h1>", env!("CARGO_PKG_VERSION"))?;
    write!(
        page,
        "<p class={class}>{}</p><p>{} · {} · {} requests in flight · {} client connections</p>",
        EscapedHtml(&state),
        process.now().rfc3339(),
        reloaded(process),
        counters.total().in_flight,
        opened - closed
    )
}

fn certificates(page: &mut String, process: &dyn AdminProcess) -> fmt::Result {
    let now = process.now();
    for certificate in process.certificates() {
        let class = if certificate.warning(now).is_some() { "bad" } else { "good" };
        write!(
            page,
            "<p class={class}>certificate of {}: {}</p>",
            EscapedHtml(&certificate.listener),
            validity(certificate.expires, now)
        )?;
    }
    Ok(())
}

/// Formats the validity of a certificate.
fn validity(expires: Timestamp, now: Timestamp) -> String {
    let time = expires.rfc3339();
    match expires.unix_s() - now.unix_s() {
        ..=0 => format!("expired {time}"),
        seconds => format!("expires {time}, in {} days", seconds / 86_400),
    }
}

fn sources(page: &mut String, process: &dyn AdminProcess) -> fmt::Result {
    let now = process.now();
    page.push_str(
        "<h2>Credentials</h2><table><tr><th>source<th>state<th>provider<th>expires<th>last error</tr>",
    );
    for source in process.sources() {
        let class = if source.stage.signs() { "good" } else { "bad" };
        let ends = source.expires.map_or_else(|| "no known expiry".to_owned(), |at| until(at, now));
        let ends = if source.provider.is_some() { ends } else { "–".to_owned() };
        write!(
            page,
            "<tr><td>{}<td class={class}>{}<td>{}<td>{}<td>{}</tr>",
            EscapedHtml(&source.name),
            source.stage,
            EscapedHtml(source.provider.as_deref().unwrap_or("–")),
            EscapedHtml(&ends),
            EscapedHtml(&problem(&source))
        )?;
    }
    page.push_str("</table>");
    Ok(())
}

/// Returns the last error of a credential source, or the reason why it has not responded yet.
fn problem(source: &SourceStatus) -> String {
    match (&source.last_error, source.has_answered, source.asking_for) {
        (Some(error), ..) => error.clone(),
        (None, false, Some(asking)) => format!("no response for {} s", asking.as_secs()),
        (None, false, None) => "not requested yet".to_owned(),
        (None, true, _) => "–".to_owned(),
    }
}

fn routes(page: &mut String, process: &dyn AdminProcess) -> fmt::Result {
    page.push_str("<h2>Routes</h2><table><tr><th>route<th>endpoint<th>region<th>signature<th>source</tr>");
    for route in process.routes() {
        let wanted = route.wanted.map_or(String::new(), |wanted| format!(": {wanted}"));
        write!(
            page,
            "<tr><td>{}{}<td>{}<td>{}<td>{}<td>{}</tr>",
            EscapedHtml(&route.name),
            EscapedHtml(&wanted),
            EscapedHtml(&route.endpoint),
            EscapedHtml(&route.region),
            route.signature,
            EscapedHtml(route.source.as_deref().unwrap_or("none (unsigned)"))
        )?;
    }
    page.push_str("</table>");
    Ok(())
}

fn traffic(page: &mut String, process: &dyn AdminProcess) -> fmt::Result {
    let total = process.counters().total();
    page.push_str("<h2>Traffic</h2><table><tr><th>operation");
    for outcome in RequestOutcome::ALL {
        let name = match outcome {
            RequestOutcome::Status(_) => outcome.name(),
            RequestOutcome::Broken => "broken",
            RequestOutcome::Cut => "cut",
            RequestOutcome::None => "client left",
        };
        write!(page, "<th>{name}")?;
    }
    page.push_str("<th>mean duration</tr>");
    for row in &total.operations {
        operation(page, row)?;
    }
    let figures = process.upstream();
    let sum = |of: fn(&PoolStatsSnapshot) -> u64| figures.iter().map(of).sum::<u64>();
    write!(
        page,
        "</table><p>{} in · {} out · upstream connections: {} in use, {} idle, {} opened, {} failed, {} requests queued</p>",
        bytes(total.bytes_in),
        bytes(total.bytes_out),
        sum(|stats| stats.in_use),
        sum(|stats| stats.idle),
        sum(|stats| stats.dialled),
        sum(|stats| stats.failed),
        sum(|stats| stats.waiting)
    )
}

fn refusals(page: &mut String, last: &[RejectedRequest]) -> fmt::Result {
    page.push_str("<h2>Last rejected requests</h2>");
    if last.is_empty() {
        page.push_str("<p>none</p>");
        return Ok(());
    }
    page.push_str("<table><tr><th>time<th>code<th>operation<th>request id</tr>");
    for refused in last {
        let when = refused.at.rfc3339();
        let operation = refused.operation.unwrap_or("–");
        write!(
            page,
            "<tr><td>{when}<td>{}<td>{operation}<td><code>{}</code></tr>",
            refused.code, refused.id
        )?;
    }
    page.push_str("</table>");
    Ok(())
}

fn operation(page: &mut String, row: &OperationSnapshot) -> fmt::Result {
    write!(page, "<tr><td>{}", row.operation.map_or("unknown", crate::oss::Operation::name))?;
    for (outcome, count) in row.outcomes {
        let class = if matches!(outcome, RequestOutcome::Status(5) | RequestOutcome::Broken) && count > 0 {
            " class=bad"
        } else {
            ""
        };
        write!(page, "<td{class}>{count}")?;
    }
    #[expect(clippy::cast_precision_loss, reason = "it is shown to three digits")]
    let mean_ms = row.duration.sum_s() * 1000.0 / row.duration.count().max(1) as f64;
    write!(page, "<td>{mean_ms:.1} ms</tr>")
}

fn reloaded(process: &dyn AdminProcess) -> String {
    let reloads = process.counters().reloads();
    let since = reloads.at.map_or_else(|| "startup".to_owned(), Timestamp::rfc3339);
    match reloads.last {
        Some(false) => format!("configuration applied at {since}; the last reload failed"),
        Some(true) | None => format!("configuration applied at {since}"),
    }
}

fn until(at: Timestamp, now: Timestamp) -> String {
    let time = at.rfc3339();
    match at.unix_s() - now.unix_s() {
        ..=0 => format!("expired {time}"),
        seconds @ ..120 => format!("in {seconds} s"),
        seconds @ ..7200 => format!("in {} min, {time}", seconds / 60),
        seconds => format!("in {} h, {time}", seconds / 3600),
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is shown to one digit")]
fn bytes(count: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", count as f64 / size as f64),
        None => format!("{count} B"),
    }
}

/// A text whose markup characters are escaped on display.
struct EscapedHtml<'a>(&'a str);

impl fmt::Display for EscapedHtml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The start of the page, which refreshes itself every five seconds.
const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=5>\
<meta name=viewport content=\"width=device-width\"><title>oss-signing-proxy</title><style>\
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#222;background:#fff}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3em .8em .3em 0;border-bottom:1px solid #ddd;\
vertical-align:top}td:last-child{overflow-wrap:anywhere}h2{margin-top:1.6em;font-size:1.1em}small{color:#777;font-weight:normal}\
.good{color:#17692d}.bad{color:#b3261e;font-weight:600}@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}\
th,td{border-color:#444}.good{color:#7bd88f}.bad{color:#ff8a80}}</style>";

#[cfg(test)]
mod tests {
    use super::{EscapedHtml, bytes};

    #[test]
    fn nothing_that_is_shown_is_markup() {
        assert_eq!(EscapedHtml("<a href=\"x\">'&").to_string(), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }

    #[test]
    fn bytes_are_told_in_a_unit_that_fits() {
        assert_eq!([bytes(0), bytes(1536), bytes(5 << 30)], ["0 B", "1.5 KiB", "5.0 GiB"]);
    }
}
