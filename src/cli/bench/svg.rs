//! Plots as inline SVG: axes, lines and bars, coloured by the page's style.

use std::fmt::Write;

/// The size of a plot with its labels.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
/// Room for the labels left, right, above and below.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// How many colours the page has for runs.
pub(super) const COLOURS: usize = 8;

/// One curve.
pub(super) struct Line {
    /// Which run, for its colour.
    pub run: usize,
    pub points: Vec<(f64, f64)>,
}

/// One axis: values, and where they are told.
pub(super) struct Axis {
    pub from: f64,
    pub to: f64,
    pub marks: Vec<(f64, String)>,
    pub name: String,
}

impl Axis {
    /// An axis from zero to at least `most`, with round marks.
    pub(super) fn linear(name: &str, most: f64) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let step = round_step(most / 5.0);
        let count = (most / step).ceil().max(1.0) as u32;
        Self {
            from: 0.0,
            to: step * f64::from(count),
            marks: (0..=count)
                .map(|index| step * f64::from(index))
                .map(|value| (value, short(value)))
                .collect(),
            name: name.to_owned(),
        }
    }

    /// An axis of powers of ten that holds both; its values are logarithms.
    pub(super) fn powers(name: &str, least: f64, most: f64) -> Self {
        let from = least.max(1e-3).log10().floor();
        let to = most.max(1e-3).log10().ceil().max(from + 1.0);
        let marks = (from as i32..=to as i32)
            .map(|power| (f64::from(power), short(10_f64.powi(power))))
            .collect();
        Self {
            from,
            to,
            marks,
            name: name.to_owned(),
        }
    }

    fn share(&self, value: f64) -> f64 {
        ((value - self.from) / (self.to - self.from).max(1e-12)).clamp(0.0, 1.0)
    }
}

/// Curves over two axes.
pub(super) fn lines(x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let mut svg = frame(x, y);
    for line in lines {
        let points: Vec<_> = line
            .points
            .iter()
            .map(|(px, py)| format!("{:.1},{:.1}", at_x(x, *px), at_y(y, *py)))
            .collect();
        let _ = write!(
            svg,
            "<polyline class=\"line c{}\" points=\"{}\"/>",
            line.run % COLOURS,
            points.join(" ")
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Bars of stacked parts, one for each run: its name, and parts with their names.
pub(super) fn bars(name: &str, runs: &[(String, Vec<(&str, f64)>)]) -> String {
    let sum = |parts: &[(&str, f64)]| parts.iter().map(|(_, value)| value).sum::<f64>();
    let most = runs.iter().map(|(_, parts)| sum(parts)).fold(0.0, f64::max);
    let y = Axis::linear(name, most);
    let x = Axis {
        from: 0.0,
        to: runs.len() as f64,
        marks: Vec::new(),
        name: String::new(),
    };
    let mut svg = frame(&x, &y);
    for (run, (label, parts)) in runs.iter().enumerate() {
        let left = at_x(&x, run as f64 + 0.2);
        let width = at_x(&x, run as f64 + 0.8) - left;
        let mut below = 0.0;
        for (place, (part, value)) in parts.iter().enumerate() {
            let (bottom, top) = (at_y(&y, below), at_y(&y, below + value));
            below += value;
            let _ = write!(
                svg,
                "<rect class=\"bar c{} part{place}\" x=\"{left:.1}\" y=\"{top:.1}\" \
                 width=\"{width:.1}\" height=\"{:.1}\"><title>{}: {} {value:.2}</title></rect>",
                run % COLOURS,
                bottom - top,
                escaped(label),
                escaped(part),
            );
        }
        let _ = write!(
            svg,
            "<text class=\"mark\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{} · {below:.1}</text>",
            left + width / 2.0,
            HEIGHT - BOTTOM + 16.0,
            escaped(label),
        );
    }
    svg.push_str("</svg>");
    svg
}

fn frame(x: &Axis, y: &Axis) -> String {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    for (value, text) in &y.marks {
        let at = at_y(y, *value);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"mark\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
            LEFT - 6.0,
            at + 4.0,
        );
    }
    for (value, text) in &x.marks {
        let at = at_x(x, *value);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text class=\"mark\" text-anchor=\"middle\" x=\"{at:.1}\" y=\"{:.1}\">{text}</text>",
            bottom + 16.0,
        );
    }
    let _ = write!(
        svg,
        "<text class=\"name\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
         <text class=\"name\" text-anchor=\"middle\" transform=\"translate(14 {:.1}) rotate(-90)\">{}</text>",
        f64::midpoint(LEFT, right),
        HEIGHT - 4.0,
        escaped(&x.name),
        f64::midpoint(TOP, bottom),
        escaped(&y.name),
    );
    svg
}

fn at_x(axis: &Axis, value: f64) -> f64 {
    LEFT + axis.share(value) * (WIDTH - LEFT - RIGHT)
}

fn at_y(axis: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - axis.share(value) * (HEIGHT - TOP - BOTTOM)
}

/// The next of 1, 2, 5, 10, 20, … that is not smaller.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= least * 0.999)
        .unwrap_or(power * 10.0)
}

/// A number as short as a mark wants it.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        large if large >= 1e6 => (value / 1e6, "M"),
        large if large >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

/// Text that means nothing to a browser.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_hold_all_values() {
        let axis = Axis::linear("calls/s", 23_400.0);
        let texts: Vec<_> = axis.marks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["0", "5k", "10k", "15k", "20k", "25k"]);
        let axis = Axis::powers("µs", 35.0, 2_100.0);
        let texts: Vec<_> = axis.marks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["10", "100", "1k", "10k"]);
        assert!(Axis::linear("x", 0.0).to > 0.0);
    }

    #[test]
    fn points_lie_inside_the_frame() {
        let (x, y) = (Axis::linear("x", 10.0), Axis::linear("y", 10.0));
        let line = Line {
            run: 9,
            points: vec![(-5.0, 0.0), (5.0, 5.0), (99.0, 99.0)],
        };
        let svg = lines(&x, &y, &[line]);
        assert!(svg.contains("c1\" points=\"70.0,260.0 "), "{svg}");
        assert!(svg.ends_with(" 684.0,12.0\"/></svg>"), "{svg}");
    }

    #[test]
    fn text_of_others_is_escaped() {
        assert_eq!(escaped("a<b>&\"\u{1b}"), "a&lt;b&gt;&amp;&quot;\u{fffd}");
        let svg = bars(
            "µs",
            &[("<x>".to_owned(), vec![("user", 1.0), ("system", 2.0)])],
        );
        assert!(svg.contains("&lt;x&gt;") && !svg.contains("<x>"));
    }
}
